"""The one recording of the first-light tests, made as the official Python quickstart makes one; its tests look at what it left behind.

The film stands still until the transcript runs, so what must be recorded is known: its frame 0 for a while, then every frame to the last.
"""

import asyncio
import os
import sys
import time
from dataclasses import dataclass, field

import videodb
from rig_receiver import Receiver
from rig_server import ROOT, Server
from videodb.capture import CaptureClient

sys.path.insert(0, str(ROOT / "fixtures"))

from stage import script  # noqa: E402
from stage.stage import Stage  # noqa: E402

# From the player's word to the first changed picture and sound: measured on an idle machine, good to a few hundredths.
FILM_LAG = 0.06


@dataclass
class Take:
    """What happened, by wall time."""

    session_id: str = ""
    token: str = ""
    marks: dict[str, float] = field(default_factory=dict)
    channels: dict[str, tuple[str, str]] = field(default_factory=dict)
    permissions: dict[str, bool] = field(default_factory=dict)
    active_session: object = None
    seen_before_answer: list[str] = field(default_factory=list)
    film_began: float = 0.0
    # Frames of three sockets of one account: bound to the session, to the transcript, to nothing.
    session_frames: list[tuple[float, dict]] = field(default_factory=list)
    word_frames: list[tuple[float, dict]] = field(default_factory=list)
    idle_frames: list[tuple[float, dict]] = field(default_factory=list)
    video: object = None

    def mark(self, name: str) -> float:
        self.marks[name] = time.time()
        return self.marks[name]


def record(server: Server, receiver: Receiver) -> Take:
    take = Take()
    with Stage() as stage:
        before = dict(os.environ)
        os.environ.update(stage.desktop)
        try:
            asyncio.run(asyncio.wait_for(_record(server, receiver, stage, take), 180))
        finally:
            os.environ.clear()
            os.environ.update(before)
    return take


async def _record(server: Server, receiver: Receiver, stage: Stage, take: Take) -> None:
    conn = videodb.connect(api_key=server.key, base_url=server.url)
    sockets = [await _listen(conn, into) for into in (take.session_frames, take.word_frames, take.idle_frames)]
    session = await asyncio.to_thread(
        conn.create_capture_session,
        end_user_id="first-light",
        callback_url=receiver.url + "/first-light",
        ws_connection_id=sockets[0].connection_id,
        metadata={"purpose": "first light", "camelCase": {"deep": [1, None]}},
    )
    take.session_id = session.id
    take.token = await asyncio.to_thread(conn.generate_client_token, 600)
    _read_back_before_answering(conn, receiver, take)

    client = CaptureClient(client_token=take.token, base_url=server.url)
    try:
        await _start(client, take)
        await asyncio.to_thread(receiver.wait, session.id, "capture_session.active", "capture_session.failed")
        take.active_session = await asyncio.to_thread(conn.get_capture_session, session.id)
        (mic,) = take.active_session.get_rtstream("mic")
        await asyncio.to_thread(mic.start_transcript, ws_connection_id=sockets[1].connection_id)
        take.film_began = await asyncio.to_thread(stage.play) + FILM_LAG
        await asyncio.to_thread(stage.wait_until, script.LENGTH - 0.15)
        await asyncio.sleep(1.0)
        take.mark("stop called")
        await client.stop_session()
        take.mark("stop answered")
        await asyncio.to_thread(receiver.wait, session.id, "capture_session.exported", "capture_session.failed")
    finally:
        await client.shutdown()
        take.mark("recorder ended")
    exported = await asyncio.to_thread(conn.get_capture_session, session.id)
    collection = await asyncio.to_thread(conn.get_collection, "default")
    take.video = await asyncio.to_thread(collection.get_video, exported.exported_video_id)
    for socket in sockets:
        await socket.close()


async def _listen(conn: videodb.Connection, into: list) -> object:
    socket = await asyncio.to_thread(conn.connect_websocket)
    await socket.connect()

    async def read() -> None:
        async for frame in socket.receive():
            into.append((time.time(), frame))

    # A reference is kept on the socket: the loop itself keeps tasks weakly.
    socket.reading = asyncio.create_task(read())
    return socket


def _read_back_before_answering(conn: videodb.Connection, receiver: Receiver, take: Take) -> None:
    """As the quickstart's handler does: the session is read from within the webhook, before it is answered."""

    def read(hook) -> None:
        if hook.body.get("capture_session_id") == take.session_id and hook.event == "capture_session.active":
            take.seen_before_answer.append(conn.get_capture_session(take.session_id).status)

    receiver.before_answer = read


async def _start(client: CaptureClient, take: Take) -> None:
    for kind in ("microphone", "screen_capture"):
        take.permissions[kind] = await client.request_permission(kind)
    channels = await client.list_channels()
    chosen = {"mic": channels.mics.default, "display": channels.displays.default, "system_audio": channels.system_audio.default}
    for name, channel in chosen.items():
        channel.store = True
        take.channels[name] = (channel.id, channel.name)
    chosen["display"].is_primary = True
    take.mark("start called")
    await client.start_session(capture_session_id=take.session_id, channels=list(chosen.values()))
    take.mark("start answered")
