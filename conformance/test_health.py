"""A silent microphone and a frozen screen are seen within five seconds: in the session, in the metrics, and on the session's socket."""

import json
import threading
import time

import pytest
import websockets.sync.client
from rig_publish import Publisher
from rig_session import MIC, SCREEN, SESSIONS, made, minted, until
from rig_wire import Wire, is_success

pytestmark = pytest.mark.timeout(90)
SILENCE = ["-f", "lavfi", "-i", "anullsrc=r=48000:cl=stereo"]
WITHIN = 5.0


class Socket:
    """Keeps what a socket is told, with the time."""

    def __init__(self, api: Wire):
        self._line = websockets.sync.client.connect(api("GET", "/collection/default/websocket").data["websocket_url"])
        self.id = json.loads(self._line.recv())["connection_id"]
        self.frames: list[tuple[float, dict]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for text in self._line:
                self.frames.append((time.time(), json.loads(text)))
        except websockets.WebSocketException:
            pass

    def states(self, channel: str) -> list[str]:
        told = [f["data"] for _, f in self.frames if f.get("event") == "capture_session.channel_health"]
        return [d["state"] for d in told if d["channel_id"] == channel]

    def close(self) -> None:
        self._line.close()


def health(api: Wire, session: str, channel: str) -> dict:
    channels = api("GET", f"{SESSIONS}/{session}").data["channels"]
    return next(c["health"] for c in channels if c["channel_id"] == channel)


def wait_for(what: str, found, patience: float = 15) -> float:
    began = time.monotonic()
    while not found():
        assert time.monotonic() < began + patience, f"{what} did not come within {patience} s"
        time.sleep(0.05)
    return time.monotonic() - began


def test_a_silent_microphone_and_a_frozen_screen_are_seen_within_five_seconds(server, api, folder, measured):
    socket = Socket(api)
    session, recorder = made(api, ws_connection_id=socket.id), minted(api)
    assert is_success(recorder("POST", "/capture/session/start", {"session_id": session, "channels": [MIC, SCREEN]}))
    urls = {c["channel_id"]: c["rtsp_url"] for c in recorder("GET", f"/capture/session/{session}").data["channels"]}
    assert health(api, session, "mic:default")["state"] == health(api, session, "display:1")["state"] == "waiting"
    screen = Publisher(urls["display:1"], "video", folder)
    mic = Publisher(urls["mic:default"], "audio", folder, source=SILENCE)
    assert until(api, session, "active") == "active"
    wait_for("sound", lambda: health(api, session, "mic:default")["samples"] > 0)

    seen = wait_for("silence", lambda: health(api, session, "mic:default")["state"] == "silent")
    wait_for("the frame of it", lambda: socket.states("mic") == ["silent"])
    measured("a silent microphone is seen after", seen, "s", f"< {WITHIN}")
    assert seen < WITHIN
    shown = health(api, session, "mic:default")
    assert shown["level_db"] <= -90 and shown["seconds_since"] < 1, shown
    shown = health(api, session, "display:1")
    assert shown["state"] == "ok" and shown["seconds_since"] < 2 and shown["bytes_per_hour"] > 1000, shown

    frozen = time.monotonic()
    screen.freeze()
    wait_for("the stall", lambda: health(api, session, "display:1")["state"] == "stalled")
    wait_for("the frame of it", lambda: socket.states("screen") == ["stalled"])
    measured("a frozen screen is told after", time.monotonic() - frozen, "s", f"< {WITHIN} and a look")
    assert time.monotonic() - frozen < WITHIN + 0.6
    assert 'state="stalled"' in api("GET", "/metrics").text
    screen.thaw()
    wait_for("that all is well", lambda: socket.states("screen") == ["stalled", "ok"])
    # No frame of these is taken for a change of the session: clients that branch on status see none.
    told = [f for _, f in socket.frames if f.get("event") == "capture_session.channel_health"]
    assert all("status" not in f and "status" not in f["data"] and f["capture_session_id"] == session for f in told)
    for publisher in (mic, screen):
        publisher.end()
    assert is_success(recorder("POST", f"/capture/session/{session}/stop"))
    assert until(api, session, "exported", timeout=20) == "exported"
    assert health(api, session, "mic:default")["state"] == "ended"
    socket.close()
