"""What bites clients of the capture API, one test a row of the contract's list (realtime §0). Where the trap is in an SDK, it is the SDK that walks into it."""

import urllib.error
import urllib.request

import pytest
from rig_session import MIC, SCREEN, SESSIONS, made, minted, started
from rig_wire import is_error, is_success


@pytest.fixture
def begun(api):
    """A session with a microphone and a screen, started by a recorder."""
    return started(api, MIC, SCREEN)[0]


class TestShapes:
    def test_trap_1_create_holds_session_id_and_no_id(self, api, conn):
        data = api("POST", SESSIONS, {"end_user_id": "u"}).data
        assert data["session_id"].startswith("cap-") and "id" not in data
        # With both, this raises TypeError.
        assert conn.create_capture_session(end_user_id="u", metadata={"k": 1}).id.startswith("cap-")

    def test_trap_2_listed_sessions_hold_id(self, api, conn, begun):
        for session in api("GET", SESSIONS).data["sessions"]:
            assert session["id"] == session["session_id"]
        assert begun in [s.id for s in conn.list_capture_sessions()]

    def test_trap_3_a_session_holds_both_and_never_null_for_a_list(self, api, conn, begun):
        for session in (made(api), begun):
            data = api("GET", f"{SESSIONS}/{session}").data
            assert data["id"] == data["session_id"] == session
            assert isinstance(data["channels"], list) and isinstance(data["rtstreams"], list) and isinstance(data["metadata"], dict)
            seen = conn.get_capture_session(session)
            assert len(seen.channels) == len(seen.rtstreams) == (2 if session == begun else 0)

    def test_trap_4_create_names_no_rtstreams_and_elsewhere_each_has_both_ids(self, api, conn, begun):
        assert not api("POST", SESSIONS, {"end_user_id": "u"}).data.get("rtstreams")
        for stream in api("GET", f"{SESSIONS}/{begun}").data["rtstreams"]:
            assert stream["id"] == stream["rtstream_id"]
        assert all(s.id.startswith("rts-") for s in conn.get_capture_session(begun).rtstreams)

    def test_trap_5_a_stream_names_its_category_and_a_channel_its_device(self, conn, begun):
        seen = conn.get_capture_session(begun)
        assert [c.id for c in seen.channels] == ["mic:default", "display:1"] and [c.id for c in seen.displays] == ["display:1"]
        for category, name in (("mic", "mic:default"), ("screen", "display:1"), ("SCREEN", "display:1")):
            assert [s.name for s in seen.get_rtstream(category)] == [name]
        assert seen.get_rtstream("display:1") == []


class TestPaths:
    def test_trap_6_a_session_is_found_under_any_collection(self, api, conn):
        apart = conn.create_collection("apart", "for one session")
        session = apart.create_capture_session(end_user_id="u").id
        for name in ("default", apart.id, "c-nobody"):
            assert conn.get_capture_session(session, collection_id=name).status == "created"
        # The true one is told, so that whoever asks again under it finds it too.
        assert api("GET", f"{SESSIONS}/{session}").data["collection_id"] == apart.id
        # Lists do go by collection.
        assert session in [s.id for s in apart.list_capture_sessions()] and session not in [s.id for s in conn.list_capture_sessions()]

    @pytest.mark.parametrize("dressed", ["{}", "{}/", "/{}", "//{}//"])
    def test_trap_7_no_slash_matters_and_nothing_is_redirected(self, api, dressed):
        session, recorder = made(api), minted(api)
        start = {"session_id": session, "channels": [MIC]}
        calls = [
            (api, "POST", SESSIONS, {"end_user_id": "u"}), (api, "GET", SESSIONS, None), (api, "GET", f"{SESSIONS}/{session}", None),
            (api, "POST", "/capture/session/token", {}), (recorder, "POST", "/capture/session/start", start),
            (recorder, "GET", f"/capture/session/{session}", None), (recorder, "POST", f"/capture/session/{session}/stop", None),
            (recorder, "GET", "/collection/default/websocket", None), (api, "GET", "/user/api_key", None), (api, "GET", "/user", None),
        ]  # fmt: skip
        for who, method, path, body in calls:
            answer = who(method, dressed.format(path), body)
            assert is_success(answer) and "location" not in answer.headers, (method, path, answer)

    def test_trap_7_with_a_base_url_that_ends_in_a_slash(self, server):
        import videodb

        conn = videodb.connect(api_key=server.key, base_url=server.url + "/")
        session = conn.create_capture_session(end_user_id="u")
        assert conn.get_capture_session(session.id).status == "created"
        assert conn.generate_client_token(60).startswith("st-") and conn.connect_websocket().url.startswith("ws://")

    def test_trap_8_every_success_says_so_and_none_seems_to_be_under_way(self, api, begun):
        recorder = minted(api)
        token = minted(api).token
        session = made(api)
        own = api.As(api("POST", "/user/api_key").data["api_key"])
        calls = [
            (api, "POST", SESSIONS, {"end_user_id": "u"}), (api, "GET", SESSIONS, None), (api, "GET", f"{SESSIONS}/{begun}", None),
            (api, "POST", "/capture/session/token", {}), (api, "GET", f"/capture/session/{begun}", None),
            (recorder, "POST", "/capture/session/start", {"session_id": session, "channels": [MIC]}), (recorder, "GET", f"/capture/session/{session}", None),
            (recorder, "POST", f"/capture/session/{session}/stop", None), (recorder, "GET", "/collection/default/websocket", None),
            (api, "GET", "/user", None), (api, "GET", "/user/api_key", None), (api, "GET", "/collection", None), (api, "GET", "/collection/default", None),
            (api, "DELETE", f"/capture/session/token/{token}", None), (api, "PUT", "/user/api-key-collections", {"api_key": own.token, "collection_ids": ["default"]}),
            (api, "DELETE", f"/user/api_key/{own.token}", None),
        ]  # fmt: skip
        for who, method, path, body in calls:
            answer = who(method, path, body)
            assert answer.status == 200 and answer.json["success"] is True and "status" not in answer.json, (method, path, answer)
            assert answer.json["data"] is not None, "both SDKs reach into it unasked"


class TestValues:
    def test_trap_15_null_is_absent_everywhere(self, api):
        nulls = {"callback_url": None, "ws_connection_id": None, "metadata": None}
        for unset in (nulls, dict.fromkeys(nulls, None) | {"callback_url": "", "ws_connection_id": ""}):
            session = api("POST", SESSIONS, {"end_user_id": "u"} | unset).data["session_id"]
            data = api("GET", f"{SESSIONS}/{session}").data
            assert (data["callback_url"], data["ws_connection_id"], data["metadata"]) == (None, None, {})
        token = api("POST", "/capture/session/token", {"expires_in": None, "user_id": None}).data
        assert token["expires_in"] == 86400
        channel = {"channel_id": "mic:default", "channel_name": None, "type": None, "store": None, "is_primary": None}
        unset = {"primary_video_channel_id": None, "ws_connection_id": None, "callback_url": None}
        assert is_success(api.As(token["token"])("POST", "/capture/session/start", {"session_id": session, "channels": [channel]} | unset))
        (stored,) = api("GET", f"{SESSIONS}/{session}").data["channels"]
        assert stored.pop("health")["state"] == "waiting"
        assert [stored] == [
            {"channel_id": "mic:default", "name": "mic:default", "type": "audio", "store": True, "is_primary": False}
        ]

    def test_trap_15_what_is_required_is_not_null(self, api):
        for body in ({"end_user_id": None}, {"end_user_id": ""}, {}):
            assert is_error(api("POST", SESSIONS, body), 400)
        for body in ({"session_id": None, "channels": [MIC]}, {"session_id": made(api), "channels": None}):
            assert is_error(api("POST", "/capture/session/start", body), 400)

    def test_trap_18_bearer_is_as_good_for_whoever_speaks_openai(self, server, api):
        def told(authorization: str | None) -> int:
            headers = {"content-type": "application/json"} | ({"authorization": authorization} if authorization else {})
            asked = urllib.request.Request(server.url + "/chat/completions", b"{}", headers, method="POST")
            try:
                with urllib.request.urlopen(asked, timeout=10) as answer:
                    return answer.status
            except urllib.error.HTTPError as refused:
                return refused.code

        assert {told(None), told("Bearer sk-wrong"), told("Bearer"), told(f"Basic {server.key}")} == {401}
        assert told(f"Bearer {server.key}") == told(f"bearer {server.key}") != 401
        assert is_success(api.As(None)("GET", "/user", headers={"authorization": f"Bearer {server.key}"}))


class TestLists:
    """Call 2: filters, pages, and what is none."""

    def test_all_seven_states_are_taken(self, api, conn, begun):
        for state in ("created", "starting", "active", "stopping", "stopped", "exported", "failed"):
            listed = api("GET", f"{SESSIONS}?status={state}").data
            assert {s["status"] for s in listed["sessions"]} <= {state} and "next_page" in listed
        assert begun in [s.id for s in conn.list_capture_sessions(status="starting")]

    @pytest.mark.parametrize("query", ["status=asleep", "limit=0", "limit=-1", "limit=1.5", "limit=many", "limit=nan", "cursor=x", "cursor=m-1"])
    def test_bad_values_are_refused(self, api, query):
        assert is_error(api("GET", f"{SESSIONS}?{query}"), 400)

    @pytest.mark.parametrize("query", ["", "status=&end_user_id=&cursor=", "limit=1000", "limit=100000", "limit=5.0", "unknown=1"])
    def test_what_is_not_said_is_not_filtered(self, api, query):
        session = made(api)
        assert api("GET", f"{SESSIONS}?{query}").data["sessions"][0]["id"] == session, "newest first"

    def test_pages_of_one_user_hold_each_session_once(self, api):
        mine = [made(api, end_user_id="pages") for _ in range(5)]
        made(api, end_user_id="somebody else")
        got, cursor = [], ""
        while cursor is not None:
            page = api("GET", f"{SESSIONS}?end_user_id=pages&status=created&limit=2&cursor={cursor}").data
            got.append([s["id"] for s in page["sessions"]])
            cursor = page["next_page"]
        assert got == [[mine[4], mine[3]], [mine[2], mine[1]], [mine[0]]]
