"""What a server and its processes take while they work, and files offered to it as a stranger would offer them."""

import json
import os
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin

from rig_hostile import Case
from rig_server import Server
from rig_wire import Wire

PAGE = os.sysconf("SC_PAGE_SIZE")


class Watch:
    """The most memory that a process and all below it had at once, looked at twenty times a second."""

    def __init__(self, pid: int):
        self.pid, self.most, self.largest = pid, 0.0, ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(0.05):
            self.look()

    def look(self) -> None:
        found = {pid: self._resident(pid) for pid in below(self.pid)}
        if sum(found.values()) > self.most:
            self.most = sum(found.values())
            pid = max(found, key=found.get)
            with suppress(OSError):
                self.largest = f"{found[pid]:.0f} MB: {Path(f'/proc/{pid}/cmdline').read_text().replace(chr(0), ' ')}"

    def again(self) -> None:
        self.most, self.largest = 0.0, ""

    @staticmethod
    def _resident(pid: int) -> float:
        with suppress(OSError, IndexError):
            return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6
        return 0.0

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()


def below(pid: int) -> list[int]:
    """A process and its children, and theirs."""
    found, at = [pid], 0
    while at < len(found):
        with suppress(OSError):
            for task in os.listdir(f"/proc/{found[at]}/task"):
                found += [int(child) for child in Path(f"/proc/{found[at]}/task/{task}/children").read_text().split()]
        at += 1
    return found


@dataclass
class Outcome:
    """How a file was taken."""

    what: str
    # None: it was refused, with these words.
    asset: dict | None
    message: str
    # Until it was answered, and until it could be played.
    answered: float
    played: float = 0.0
    # Of the playlist, init and segments, where there are any.
    statuses: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def offer(server: Server, case: Case, limit: float) -> Outcome:
    """Sends a file to an upload URL, asks for an asset of it, and plays its beginning and its end if there is one."""
    api = Wire(server.url, server.key)
    began = time.monotonic()
    url = api("GET", "/collection/default/upload_url").data["upload_url"]
    send(url, case)
    answer = api("POST", "/collection/default/upload", {"url": url}).json
    while answer.get("status") == "processing" and time.monotonic() - began < limit:
        path = answer["data"]["output_url"].removeprefix(server.url)
        answer = api("GET", path).json
    took = time.monotonic() - began
    if answer.get("status") == "processing":
        return Outcome(case.what, None, "", took, wrong=[f"not answered within {limit:g} s"])
    if answer.get("success") is not True:
        return Outcome(case.what, None, answer.get("message", ""), took, wrong=[] if answer.get("message") else [f"no reason: {answer}"])
    outcome = Outcome(case.what, answer["data"], "", took)
    if stream := answer["data"].get("stream_url"):
        play(outcome, stream, limit)
    outcome.played = time.monotonic() - began
    if outcome.played > limit + took:
        outcome.wrong.append(f"not playable within {limit:g} s")
    return outcome


def send(url: str, case: Case) -> None:
    edge = "edge-of-the-form"
    name = case.name.replace("\0", "").replace('"', "%22")
    head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
    body = head.encode() + case.content + f"\r\n--{edge}--\r\n".encode()
    request = urllib.request.Request(url, body, {"content-type": f"multipart/form-data; boundary={edge}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer)["success"] is True


def play(outcome: Outcome, stream: str, limit: float) -> None:
    playlist = fetch(outcome, stream, limit).decode("utf-8", "replace")
    segments = [line for line in playlist.splitlines() if line and line[0] != "#"]
    for name in dict.fromkeys(["init.mp4", *segments[:1], *segments[-1:]] if segments else []):
        fetch(outcome, urljoin(stream, name), limit)


def fetch(outcome: Outcome, url: str, limit: float) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=limit) as answer:
            outcome.statuses.append(answer.status)
            return answer.read()
    except urllib.error.HTTPError as error:
        outcome.statuses.append(error.code)
        # What was taken plays: a file of which nothing can be shown had to be refused.
        outcome.wrong.append(f"{url.rsplit('/', 1)[-1]}: HTTP {error.code}")
        return error.read()
    except OSError as error:
        outcome.wrong.append(f"{url.rsplit('/', 1)[-1]}: {error}")
        return b""
