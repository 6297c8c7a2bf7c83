"""The app that may be killed: it makes a session, listens on a socket, asks for a transcript, and goes on making things until it ends.

Each fact that the server acknowledged becomes a line of the journal, written after the answer came and before anything else is asked.
Run by rig_kill.py: kill_app.py URL KEY JOURNAL SEED. It outlives servers: what is not answered was not acknowledged.
"""

import asyncio
import json
import os
import random
import sys

import websockets
from rig_session import MIC, SCREEN, SESSIONS
from rig_wire import Wire, is_success


class Journal:
    def __init__(self, path: str):
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, kind: str, **fact: object) -> None:
        os.write(self._file, (json.dumps({"kind": kind} | fact) + "\n").encode())


class App:
    def __init__(self, url: str, key: str, journal: str, seed: str):
        self.api, self.journal, self.random = Wire(url, key), Journal(journal), random.Random(seed)
        self.mic = self.connection = None

    async def ask(self, *call: object) -> dict | None:
        """The data of an answer; nothing where the server was not there to give one."""
        try:
            answer = await asyncio.to_thread(self.api, *call)
        except (OSError, EOFError, ValueError) as error:
            if "refused" not in str(error).lower():
                print(f"{call[:2]}: {error!r}", file=sys.stderr)
            await asyncio.sleep(0.1)
            return None
        except Exception as error:  # http.client has a family of its own for connections that break.
            print(f"{call[:2]}: {error!r}", file=sys.stderr)
            await asyncio.sleep(0.1)
            return None
        assert is_success(answer), f"{call}: {answer}"
        return answer.data

    async def listen(self) -> None:
        """Hears what is said, on one socket after the other."""
        while True:
            if ticket := await self.ask("GET", "/collection/default/websocket"):
                try:
                    async with websockets.connect(ticket["websocket_url"]) as socket:
                        self.connection = json.loads(await socket.recv())["connection_id"]
                        await self.transcribe()
                        async for text in socket:
                            self.hear(json.loads(text))
                except (OSError, websockets.WebSocketException):
                    pass
                self.connection = None

    def hear(self, frame: dict) -> None:
        said = frame.get("data", {})
        if frame.get("channel") == "transcript" and said.get("is_final") and said.get("text"):
            self.journal.write("final", rtstream=frame["rtstream_id"], text=said["text"], start=said["start"])

    async def transcribe(self) -> None:
        if self.mic and self.connection:
            body = {"action": "start", "ws_connection_id": self.connection}
            if await self.ask("POST", f"/rtstream/{self.mic}/transcription", body):
                self.journal.write("transcribing", rtstream=self.mic)

    async def begin(self) -> None:
        made = None
        while not made:
            made = await self.ask("POST", SESSIONS, {"end_user_id": "app", "metadata": {"is": "the recorded one"}})
        session = made["session_id"]
        self.journal.write("session", id=session, metadata={"is": "the recorded one"})
        while not (started := await self.ask("GET", f"/capture/session/{session}") or {}).get("channels"):
            # It may have been started by a call whose answer was lost.
            if started and await self.ask("POST", "/capture/session/start", {"session_id": session, "channels": [MIC, SCREEN]}):
                self.journal.write("started", id=session)
        channels = {c["channel_id"]: c for c in started["channels"]}
        self.mic = channels["mic:default"]["rtstream_id"]
        self.journal.write(
            "channels", id=session, urls={i: c["rtsp_url"] for i, c in channels.items()}, streams={i: c["rtstream_id"] for i, c in channels.items()}
        )
        await self.transcribe()

    async def busy(self) -> None:
        """Small things, one after the other, so that a kill falls into the middle of one."""
        while True:
            name = f"n{self.random.randrange(10**9)}"
            if made := await self.ask("POST", SESSIONS, {"end_user_id": "app", "metadata": {"name": name}}):
                self.journal.write("session", id=made["session_id"], metadata={"name": name})
            if made := await self.ask("POST", "/collection", {"name": name, "description": "kept"}):
                self.journal.write("collection", id=made["id"], name=name)
            if made := await self.ask("POST", "/capture/session/token", {"expires_in": 3600}):
                self.journal.write("token", token=made["token"])
            await asyncio.sleep(self.random.uniform(0, 0.1))


async def main() -> None:
    app = App(*sys.argv[1:5])
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(app.listen())
        await app.begin()
        tasks.create_task(app.busy())


if __name__ == "__main__":
    asyncio.run(main())
