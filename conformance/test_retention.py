"""Retention beside a live recording, and what the SDK sees of it: a server with a small cap is killed while it lets go, and is whole afterwards;
names and the flag that keeps a video for ever (`PATCH /video/{id}`, `PATCH /audio/{id}`), with the official client where it has the call."""

import subprocess
import time

import pytest
import videodb
from rig_publish import Publisher
from rig_server import Server, binaries
from rig_session import MIC, SCREEN, SESSIONS, started, until
from rig_wire import Wire, is_success
from stage import frames

pytestmark = pytest.mark.timeout(120)


def record(api: Wire, folder, seconds: float, *channels: dict) -> str:
    """A session of so many seconds; it ends exported."""
    session, _, urls = started(api, *channels)
    publishers = [Publisher(urls[c["channel_id"]], c["type"], folder) for c in channels]
    assert until(api, session, "active") == "active"
    time.sleep(seconds)  # What is recorded is time itself.
    for publisher in publishers:
        publisher.end()
    assert is_success(api("POST", f"/capture/session/{session}/stop", {}))
    until(api, session, "exported")
    return session


def check(server: Server) -> subprocess.CompletedProcess:
    return subprocess.run([str(binaries() / "vitascope"), "check", "--deep"], env=server.environment, capture_output=True, text=True, timeout=60)


def test_a_small_cap_lets_go_of_the_oldest_and_a_crash_in_between_damages_nothing(folder):
    server = Server(folder, VITASCOPE_RETENTION_GB="off")
    server.start()
    try:
        api = Wire(server.url, server.key)
        old, new = record(api, folder, 3, SCREEN), record(api, folder, 3, SCREEN)
        videos = [api("GET", f"{SESSIONS}/{s}").data["exported_video_id"] for s in (old, new)]
        stored = api("GET", "/collection/default").data["stored_bytes"]
        assert stored > 0
        server.kill()
        # Room for all but a little: the older video has to go as a whole. It is killed as it does so.
        server.env["VITASCOPE_RETENTION_GB"] = f"{stored * 0.9 / 1e9:.9f}"
        server.start()
        server.kill()
        server.start()
        limit = time.monotonic() + 20
        while api("GET", f"/video/{videos[0]}").status == 200:
            assert time.monotonic() < limit, "the older video is still there"
            time.sleep(0.1)
        kept = api("GET", f"/video/{videos[1]}").data
        assert frames.sequence(frames.read(kept["stream_url"])).whole
        assert api("GET", "/collection/default").data["stored_bytes"] <= stored * 0.9
        assert api("GET", f"{SESSIONS}/{old}").data["status"] == "exported", "the session itself stays"
        checked = check(server)
        assert checked.returncode == 0 and "waiting" in checked.stdout, checked.stdout + checked.stderr
    finally:
        if server.running:
            server.kill()


def test_a_video_is_renamed_and_kept_for_ever(api, conn, folder):
    session = record(api, folder, 2, SCREEN)
    shown = api("GET", f"{SESSIONS}/{session}").data
    assert shown["keep"] is False
    video = conn.get_collection().get_video(shown["exported_video_id"])
    video.update(name="A name of its own")
    found = conn.get_collection().get_video(video.id)
    assert found.name == "A name of its own"
    kept = api("PATCH", f"/video/{video.id}", {"keep": True}).data
    assert kept["keep"] is True and kept["name"] == "A name of its own"
    assert api("PATCH", f"/video/{video.id}", {"name": ""}).status == 400
    stream = shown["rtstreams"][0]["id"]
    assert api("PATCH", f"/rtstream/{stream}", {"keep": True}).data["keep"] is True
    listed = next(r for r in api("GET", "/rtstream?limit=100").data["results"] if r["id"] == stream)
    assert listed["keep"] is True and listed["bytes"] > 0 and listed["bytes_per_hour"] > 0 and listed["kept_from"] is None
    # The SDK reads all of it, with the keys that it does not know.
    assert conn.get_collection().get_rtstream(stream).id == stream
    assert isinstance(conn.get_collection(), videodb.collection.Collection)


def test_an_audio_is_renamed_and_kept_for_ever(api, conn, folder):
    session = record(api, folder, 2, MIC)
    audio = api("GET", f"{SESSIONS}/{session}").data["exported_video_id"]
    assert audio.startswith("a-")
    changed = api("PATCH", f"/audio/{audio}", {"name": "What was said", "keep": True}).data
    assert (changed["name"], changed["keep"]) == ("What was said", True)
    assert conn.get_collection().get_audio(audio).name == "What was said"
