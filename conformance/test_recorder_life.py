"""The recorder's whole life with a real server: one process and one cached token for several sessions (realtime §7.3, as bloom uses it),
and an end of it that the server hears of at once (call 8)."""

import asyncio
import json
import os
import subprocess
import time

import pytest
from rig_server import binaries
from rig_session import made, minted, status_of, until
from stage import frames
from stage.stage import Stage, die_with_parent
from videodb.capture import CaptureClient


@pytest.fixture(scope="module")
def desktop():
    with Stage() as stage:
        yield stage.desktop


def test_one_process_and_one_token_serve_sessions_in_a_row(desktop, server, api, conn, monkeypatch):
    for name, value in desktop.items():
        monkeypatch.setenv(name, value)
    token, sessions = minted(api, expires_in=86_400).token, [made(api) for _ in range(3)]

    async def run() -> None:
        client = CaptureClient(client_token=token, base_url=server.url)
        try:
            channels = await client.list_channels()
            chosen = [channels.mics.default, channels.displays.default]
            for channel in chosen:
                channel.store = True
            for session in sessions:
                await client.start_session(capture_session_id=session, channels=chosen)
                await asyncio.to_thread(until, api, session, "active")
                await client.stop_session()
        finally:
            await asyncio.wait_for(client.shutdown(), 10)

    asyncio.run(asyncio.wait_for(run(), 60))
    videos = set()
    for session in sessions:
        until(api, session, "exported")
        videos.add(conn.get_capture_session(session).exported_video_id)
    assert len(videos) == 3 and None not in videos


def test_the_end_of_stdin_stops_the_session_at_the_server(desktop, server, api):
    session, token = made(api), minted(api).token
    recorder = subprocess.Popen(
        [binaries() / "vitascope-capture"], env=os.environ | desktop, text=True, bufsize=1,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=die_with_parent,
    )  # fmt: skip
    start = {"sessionId": session, "uploadToken": token, "channels": [{"channel_id": "mic:default", "type": "audio", "store": True}]}
    for number, (command, params) in enumerate([("init", {"apiUrl": server.url}), ("startRecording", start)]):
        request = {"command": command, "commandId": str(number), "params": params}
        recorder.stdin.write(f"videodb_recorder|{json.dumps(request)}\n")
        while f'"commandId":"{number}"' not in (line := recorder.stdout.readline()):
            assert line
        assert '"success"' in line, line
    assert until(api, session, "active") == "active"
    recorder.stdin.close()
    assert recorder.wait(5) == 0
    # The server would wait 15 s for a publisher that has vanished; it was told.
    began = time.monotonic()
    assert status_of(api, session) in ("stopping", "stopped", "exported")
    until(api, session, "exported", timeout=10)
    assert time.monotonic() - began < 10
    recorder.stdout.close()


def test_a_camera_is_listed_apart_and_recorded_as_one(desktop, server, api, conn, monkeypatch, folder):
    """Contract §7.5: listed last and in no `all()`; its rtstream is of the category `camera`. Here another program fills a pipe with pictures."""
    for name, value in desktop.items():
        monkeypatch.setenv(name, value)
    pipe = folder / "camera"
    os.mkfifo(pipe)
    monkeypatch.setenv("VITASCOPE_CAPTURE_CAMERAS", str(pipe))
    film = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-re", "-f", "lavfi", "-i", "testsrc2=s=320x240:r=10:d=60"]
    camera = subprocess.Popen([*film, "-c:v", "mjpeg", "-f", "mjpeg", pipe], stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
    session, token = made(api), minted(api).token

    async def run() -> None:
        client = CaptureClient(client_token=token, base_url=server.url)
        try:
            channels = await client.list_channels()
            (found,) = channels.cameras
            assert found.id == f"camera:{pipe}" and found.id not in {c.id for c in channels.all()}
            found.store = True
            await client.start_session(capture_session_id=session, channels=[found])
            await asyncio.to_thread(until, api, session, "active")
            await asyncio.sleep(1.5)
            await client.stop_session()
        finally:
            await asyncio.wait_for(client.shutdown(), 10)

    try:
        asyncio.run(asyncio.wait_for(run(), 40))
    finally:
        camera.kill()
        camera.wait()
    until(api, session, "exported")
    seen = conn.get_capture_session(session)
    assert len(seen.get_rtstream("camera")) == 1
    video = conn.get_collection("default").get_video(seen.exported_video_id)
    assert len(frames.read(video.stream_url)) >= 10
