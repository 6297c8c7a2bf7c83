"""npm's videodb 0.2.0, unpatched, through calls 1-3, 5 and 9: what it sends, what it makes of the answers, and how it is told of errors."""

import pytest
from rig_browser import node


@pytest.fixture(scope="module")
def told(server):
    return node("node_account.js", server.url, server.key)


def test_call_1_goes_by_the_real_id_of_the_default_collection(told):
    assert told["creating"] == ["GET /collection/default", f"POST /collection/{told['collection']}/capture/session"]
    made = told["made"]
    assert made["id"].startswith("cap-") and made["status"] == "created" and made["endUserId"] == "node-account"
    assert made["collectionId"] == told["collection"] and made["createdAt"].endswith("Z")


def test_call_3_is_asked_twice_and_names_the_true_collection(told):
    session = told["made"]["id"]
    assert told["getting"] == [f"GET /collection/{name}/capture/session/{session}" for name in ("default", told["collection"])]
    got = told["got"]
    assert (got["id"], got["status"], got["endUserId"], got["collectionId"]) == (session, "starting", "node-account", told["collection"])
    assert got["metadata"] == {"cameraView": {"isWide": True}}, "every key of an answer comes out in camel case"


def test_traps_4_and_5_streams_go_by_their_category(told):
    streams = told["got"]["streams"]
    # This SDK takes the category for the name; one app tests for `mic`.
    assert [(s["name"], s["channelId"], s["mediaTypes"]) for s in streams] == [("mic", "mic", ["audio"]), ("screen", "screen", ["video"])]
    assert all(s["id"].startswith("rts-") and s["collectionId"] == told["collection"] and s["status"] == "connected" for s in streams)
    assert told["categories"] == {"mic": ["mic"], "screen": ["screen"], "camera": [], "mics": []}


def test_call_2_is_filtered_and_paged(told):
    first, second = told["made"]["id"], told["second"]
    assert told["mine"] == [second, first] and told["starting"] == [first]
    assert told["first"] == [second] and told["next"] == [first]
    assert second in told["inCollection"] and first not in told["inCollection"]
    assert told["viaCollection"] == {"cameraView": {"isWide": True}}


def test_call_9_opens_a_socket_for_a_key_and_for_a_token(told):
    assert told["connection"] and told["limitedConnection"] and told["connection"] != told["limitedConnection"]
    frame = told["frame"]
    assert (frame["channel"], frame["event"]) == ("capture_session", "capture_session.created"), "frames are not put into camel case"
    assert frame["capture_session_id"] == told["made"]["id"] and told["token"].startswith("st-")


def test_errors_have_the_class_that_the_sdk_gives_them(told):
    errors = told["errors"]
    assert errors["401"]["class"] == "AuthenticationError"
    for status in (400, 403, 404):
        error = errors[str(status)]
        assert (error["class"], error["status"]) == ("InvalidRequestError", status) and error["told"], error
    assert errors["400 list"]["status"] == 400 and "asleep" in errors["400 list"]["told"]
    assert "cap-nobody" in errors["404"]["told"]
