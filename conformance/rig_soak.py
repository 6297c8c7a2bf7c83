"""Sessions in a loop, each with everything that a session has, while memory and descriptors of the server are read."""

import json
import os
import statistics
import time
from pathlib import Path

import websockets.sync.client
from rig_publish import Publisher
from rig_server import Server
from rig_session import MIC, SCREEN, made, minted, until
from rig_wire import Wire, is_success

# Of one session; what is recorded is time itself.
SECONDS = 6.0


def slope_per_hour(readings: list[tuple[float, float]]) -> float:
    """MB an hour over the second half (the first warms up): the median of the slopes between all pairs of readings (Theil and Sen).
    Resident memory goes up and down by some 20 MB as a model is at work or not, which a regression by least squares takes for a slope."""
    late = readings[len(readings) // 2 :]
    slopes = [(m - n) / (t - u) for k, (u, n) in enumerate(late) for t, m in late[k + 1 :] if t > u]
    return 3600 * statistics.median(slopes) if slopes else 0.0


class Soak:
    def __init__(self, server: Server, folder: Path):
        self.server, self.folder, self.api = server, folder, Wire(server.url, server.key)
        # Second and megabytes, after each session.
        self.readings: list[tuple[float, float]] = []
        self.sessions = self.before = self.after = 0

    def run(self, seconds: float) -> None:
        # The first session loads models and opens what stays open.
        self.session()
        self.before = self.quiet_descriptors()
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            self.session()
            self.readings.append((time.monotonic() - began, self.resident()))
        self.after = self.quiet_descriptors(self.before)

    def session(self) -> None:
        ticket = self.api("GET", "/collection/default/websocket").data["websocket_url"]
        with websockets.sync.client.connect(ticket) as socket:
            connection = json.loads(socket.recv())["connection_id"]
            session, recorder = made(self.api, ws_connection_id=connection), minted(self.api)
            assert is_success(recorder("POST", "/capture/session/start", {"session_id": session, "channels": [MIC, SCREEN]}))
            channels = {c["channel_id"]: c for c in recorder("GET", f"/capture/session/{session}").data["channels"]}
            mic = channels["mic:default"]
            body = {"action": "start", "ws_connection_id": connection}
            assert is_success(self.api("POST", f"/rtstream/{mic['rtstream_id']}/transcription", body))
            publishers = [
                Publisher(channels["display:1"]["rtsp_url"], "video", self.folder, start=3.0),
                Publisher(mic["rtsp_url"], "audio", self.folder, start=3.0),
            ]
            time.sleep(SECONDS)
            for publisher in publishers:
                publisher.end()
            assert is_success(recorder("POST", f"/capture/session/{session}/stop"))
            assert until(self.api, session, "exported", "failed", timeout=30) == "exported"
        self.sessions += 1

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.server.pid}/fd"))

    def quiet_descriptors(self, wanted: int = 0, patience: float = 10) -> int:
        """What is open when nothing happens: connections that have just ended take a moment."""
        limit, least = time.monotonic() + patience, self.descriptors()
        while least > wanted and time.monotonic() < limit:
            time.sleep(0.25)
            least = min(least, self.descriptors())
            if not wanted and time.monotonic() > limit - patience + 3:
                break
        return least

    def resident(self) -> float:
        status = Path(f"/proc/{self.server.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1000
