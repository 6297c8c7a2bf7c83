"""Records a desktop with the official SDK, in the shape of its Python quickstart: create a session, give a client token to the capture
client, choose channels, follow the webhooks, read live words from a WebSocket, stop, and get the video.

Nothing in here knows Vitascope but the base URL. By itself:

    VIDEO_DB_API_KEY=sk-… VITASCOPE_CAPTURE_BIN=target/release/vitascope-capture python tools/demo/quickstart.py http://127.0.0.1:8484 30
"""

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import videodb
from videodb.capture import CaptureClient


class Plain:
    """Tells what happens, one line each. The demo has a prettier one."""

    def session(self, session: object) -> None:
        print("session", session.id)

    def state(self, at: float, state: str, data: dict) -> None:
        print("state  ", state, data.get("error", ""))

    def words(self, at: float, frame: dict) -> None:
        if frame["data"]["is_final"]:
            print("heard  ", frame["data"]["text"])


class Webhooks:
    """A receiver on loopback that hands each webhook to the event loop."""

    def __init__(self) -> None:
        loop, self.arrived = asyncio.get_running_loop(), asyncio.Queue()
        queue = self.arrived

        class Door(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook = json.loads(self.rfile.read(int(self.headers["content-length"])))
                loop.call_soon_threadsafe(queue.put_nowait, (time.time(), hook))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'{"received": true}')

            def log_message(self, *_: object) -> None:
                pass

        self._door = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self._door.server_port}/webhook"
        threading.Thread(target=self._door.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._door.shutdown()
        self._door.server_close()


async def record(base_url: str, api_key: str, show: Plain, while_recording: Callable[[], Awaitable[None]]) -> object:
    """One session from its creation to its video. It records until `while_recording` is over."""
    conn = videodb.connect(api_key=api_key, base_url=base_url)
    webhooks = Webhooks()
    session = await asyncio.to_thread(conn.create_capture_session, end_user_id="demo", callback_url=webhooks.url, metadata={"app": "quickstart"})
    show.session(session)
    token = await asyncio.to_thread(conn.generate_client_token, 600)

    client = CaptureClient(client_token=token, base_url=base_url)
    recording = live = None
    try:
        await client.request_permission("microphone")
        await client.request_permission("screen_capture")
        channels = await client.list_channels()
        chosen = [channels.mics.default, channels.displays.default, channels.system_audio.default]
        for channel in chosen:
            channel.store = True
        await client.start_session(capture_session_id=session.id, channels=chosen)

        while True:
            at, hook = await asyncio.wait_for(webhooks.arrived.get(), 60)
            state = hook["event"].removeprefix("capture_session.")
            show.state(at, state, hook["data"])
            if state == "active":
                live = asyncio.create_task(follow_words(conn, session.id, show))
                recording = asyncio.create_task(stop_after(client, while_recording))
            if state == "failed":
                raise RuntimeError(f"the session failed: {hook['data'].get('error')}")
            if state == "exported":
                collection = await asyncio.to_thread(conn.get_collection, "default")
                return await asyncio.to_thread(collection.get_video, hook["data"]["exported_video_id"])
    finally:
        for task in (recording, live):
            if task:
                task.cancel()
        await client.shutdown()
        webhooks.close()


async def follow_words(conn: videodb.Connection, session_id: str, show: Plain) -> None:
    """The live transcript of the microphone, frame by frame."""
    session = await asyncio.to_thread(conn.get_capture_session, session_id)
    (mic,) = session.get_rtstream("mic")
    async with await asyncio.to_thread(conn.connect_websocket) as socket:
        await asyncio.to_thread(mic.start_transcript, ws_connection_id=socket.connection_id)
        async for frame in socket.receive():
            if frame.get("channel") == "transcript":
                show.words(time.time(), frame)


async def stop_after(client: CaptureClient, while_recording: Callable[[], Awaitable[None]]) -> None:
    await while_recording()
    await client.stop_session()


async def main() -> None:
    base_url, seconds = sys.argv[1], float(sys.argv[2])
    video = await record(base_url, os.environ["VIDEO_DB_API_KEY"], Plain(), lambda: asyncio.sleep(seconds))
    print("video  ", video.id, f"{video.length:.1f} s")
    print("player ", video.player_url)


if __name__ == "__main__":
    asyncio.run(main())
