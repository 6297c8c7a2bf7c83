"""A disk that fills up stops recording before anything is damaged: in order below `min_free`, and without harm where it is full to the last byte.

Each test has a file system of its own, in memory; where none can be mounted (not root) the tests say so and are skipped.
"""

import os
import subprocess
import time
from pathlib import Path

import pytest
from rig_publish import Publisher
from rig_server import Server, binaries
from rig_session import MIC, SCREEN, SESSIONS, made, minted, started, until
from rig_wire import Rtsp, Wire, is_error, is_success
from stage import frames

pytestmark = pytest.mark.timeout(120)
MB = 1 << 20


@pytest.fixture
def small_disk(folder):
    """A file system of 64 MB."""
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=False)


@pytest.fixture
def serve(small_disk):
    servers = []

    def begin(min_free: str) -> tuple[Server, Wire]:
        server = Server(small_disk, VITASCOPE_MIN_FREE=min_free)
        # What it says must not need room on the disk that is full.
        server.log = small_disk.parent / "server.log"
        servers.append(server)
        server.start()
        return server, Wire(server.url, server.key)

    yield begin
    for server in servers:
        if server.running:
            server.kill()


def free(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def fill(disk: Path, leave: int) -> Path:
    filler = disk / "filler"
    with open(filler, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, free(disk) - leave)
    return filler


def checked(server: Server) -> None:
    done = subprocess.run([str(binaries() / "vitascope"), "check", "--deep"], env=server.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_below_min_free_recording_stops_in_order_and_begins_again_when_there_is_room(serve, small_disk, receiver, folder, measured):
    server, api = serve("24MB")
    session, recorder = made(api, callback_url=receiver.url + "/disk"), minted(api)
    assert is_success(recorder("POST", "/capture/session/start", {"session_id": session, "channels": [MIC, SCREEN]}))
    urls = {c["channel_id"]: c["rtsp_url"] for c in recorder("GET", f"/capture/session/{session}").data["channels"]}
    publishers = [Publisher(urls["display:1"], "video", folder), Publisher(urls["mic:default"], "audio", folder)]
    assert until(api, session, "active") == "active"
    time.sleep(3)  # What is recorded is time itself.
    late = made(api)
    filler, filled = fill(small_disk, 12 * MB), time.monotonic()
    stopping = receiver.wait(session, "capture_session.stopping", timeout=10)
    measured("a disk below min_free: recording stops after", time.monotonic() - filled, "s", "about 1")
    assert stopping.body["data"]["reason"]["code"] == "disk_full", stopping.body
    exported = receiver.wait(session, "capture_session.exported", "capture_session.failed", timeout=20)
    assert exported.event == "capture_session.exported", exported.body
    seen = frames.sequence(frames.read(exported.body["data"]["stream_url"]))
    assert seen.whole and seen.first == 0 and frames.film_time(seen.last) >= 2.5, seen
    assert api("GET", f"{SESSIONS}/{session}").data["error"]["code"] == "disk_full"
    for publisher in publishers:
        publisher.kill()

    start = {"session_id": late, "channels": [SCREEN]}
    refused = recorder("POST", "/capture/session/start", start)
    assert is_error(refused, 507) and "disk is nearly full" in refused.json["message"], refused
    with Rtsp(urls["display:1"]) as door:
        assert door.announce() == 503
    filler.unlink()
    limit = time.monotonic() + 10
    while not is_success(answer := recorder("POST", "/capture/session/start", start)):
        assert time.monotonic() < limit, answer
        time.sleep(0.1)
    checked(server)


def test_a_full_disk_damages_nothing(serve, small_disk, folder, measured):
    """ENOSPC in the middle of a write: what was written before is whole, and once there is room again the session is exported."""
    server, api = serve("0")
    session, _, urls = started(api, MIC, SCREEN)
    publishers = [Publisher(urls["display:1"], "video", folder), Publisher(urls["mic:default"], "audio", folder)]
    assert until(api, session, "active") == "active"
    time.sleep(3)
    filler = fill(small_disk, 200 << 10)
    limit = time.monotonic() + 20
    while any(p.running for p in publishers):
        assert time.monotonic() < limit, "the disk never became full"
        time.sleep(0.1)
    time.sleep(2)  # The server tries to write down what happened, and cannot.
    assert api("GET", "/health").status == 200
    filler.unlink()
    freed = time.monotonic()
    assert until(api, session, "exported", "failed", timeout=30) == "exported", server.tail()
    measured("a full disk has room again: exported after", time.monotonic() - freed, "s", "< 30")
    view = api("GET", f"{SESSIONS}/{session}").data
    seen = frames.sequence(frames.read(view["stream_url"]))
    assert seen.whole and seen.first == 0 and frames.film_time(seen.last) >= 2.5, seen
    checked(server)
