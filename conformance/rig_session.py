"""Capture sessions on the bare wire: made, started as a recorder starts them, and watched until they come to a state."""

import time

from rig_wire import Wire, is_success

SESSIONS = "/collection/default/capture/session"
MIC = {"channel_id": "mic:default", "channel_name": "Microphone", "type": "audio", "store": True}
SCREEN = {"channel_id": "display:1", "channel_name": "Screen", "type": "video", "store": True, "is_primary": True}


def made(api: Wire, **more: object) -> str:
    answer = api("POST", SESSIONS, {"end_user_id": "wire"} | more)
    assert is_success(answer), answer
    return answer.data["session_id"]


def minted(api: Wire, **more: object) -> Wire:
    return api.As(api("POST", "/capture/session/token", more).data["token"])


def started(api: Wire, *channels: dict) -> tuple[str, Wire, dict[str, str]]:
    """A session that a recorder has announced, the recorder's token, and the publish URLs by channel."""
    session, recorder = made(api), minted(api, expires_in=600)
    answer = recorder("POST", "/capture/session/start", {"session_id": session, "channels": list(channels)})
    assert is_success(answer) and answer.data["session_id"] == session and answer.data["status"] == "starting"
    told = recorder("GET", f"/capture/session/{session}").data
    return session, recorder, {c["channel_id"]: c["rtsp_url"] for c in told["channels"]}


def status_of(api: Wire, session: str) -> str:
    return api("GET", f"{SESSIONS}/{session}").data["status"]


def until(api: Wire, session: str, *states: str, timeout: float = 20) -> str:
    limit = time.monotonic() + timeout
    while (now := status_of(api, session)) not in states:
        assert time.monotonic() < limit, f"{session} is {now}, not {states}, after {timeout} s"
        time.sleep(0.1)
    return now
