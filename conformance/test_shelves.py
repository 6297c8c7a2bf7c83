"""Collections, the caller, slow answers and the player's files: small calls that every app makes sooner or later."""

import urllib.error
import urllib.request

import pytest
from rig_wire import is_error, is_success


def test_a_collection_is_made_renamed_and_deleted(conn, api):
    made_here = conn.create_collection(name="shelf", description="for a test")
    assert made_here.id.startswith("c-") and made_here.name == "shelf"
    renamed = conn.update_collection(made_here.id, name="board", description="renamed")
    assert (renamed.name, renamed.description) == ("board", "renamed")
    made_here.make_public()
    assert api("GET", f"/collection/{made_here.id}").data["is_public"] is True
    made_here.delete()
    assert is_error(api("GET", f"/collection/{made_here.id}"), 404)


def test_a_collection_goes_with_what_it_holds_and_the_default_stays(conn, api):
    held = conn.create_collection(name="held", description="")
    made = api("POST", f"/collection/{held.id}/capture/session", {"end_user_id": "u"})
    assert is_success(made)
    held.delete()
    assert is_error(api("GET", f"/collection/{held.id}"), 404)
    assert is_error(api("GET", f"/capture/session/{made.data['session_id']}"), 404)
    assert is_error(api("DELETE", "/collection/default"), 400)


def test_who_am_i(api):
    user = api("GET", "/user").data
    assert user["user_id"].startswith("u-") and user["default_collection"] in user["collections"]


def test_an_unknown_job_is_not_found(api):
    assert is_error(api("GET", "/async-response/job-nobody"), 404)


def test_lists_are_lists_when_they_are_empty(api):
    assert api("GET", "/rtstream?limit=1&name=nothing-of-this-name").data["results"] == []
    empty = api("POST", "/collection", {"name": "empty"}).data["id"]
    assert api("GET", f"/video?collection_id={empty}").data["videos"] == []


def test_the_server_says_what_it_is(api):
    assert is_success(api("GET", "/")) and api("GET", "/").data["service"] == "VideoDB Server"


@pytest.mark.parametrize("path, status", [("/console/hls.min.js", 200), ("/console/../config", 404), ("/watch?v=nothing", 404), ("/embed?v=", 404)])
def test_the_players_files(server, path, status):
    try:
        with urllib.request.urlopen(server.url + path, timeout=10) as answer:
            found = answer.status
    except urllib.error.HTTPError as error:
        found = error.code
    assert found == status
