"""Raw HTTP and raw RTSP, for what the SDKs never do: no redirect is followed, no error is raised, nothing is added."""

import http.client
import json
import socket
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> dict:
        return json.loads(self.text)

    @property
    def data(self) -> dict:
        return self.json["data"]


class Wire:
    def __init__(self, base: str, token: str | None = None):
        self.base, self.token = base, token

    def As(self, token: str | None) -> "Wire":
        return Wire(self.base, token)

    def __call__(self, method: str, path: str, body: object = None, *, raw: bytes | None = None, headers: dict | None = None) -> Answer:
        at = urlsplit(self.base)
        line = http.client.HTTPConnection(at.hostname, at.port, timeout=30)
        sent = {"content-type": "application/json"} | ({"x-access-token": self.token} if self.token else {}) | (headers or {})
        payload = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        try:
            # A server may answer and hang up before it has read a body that it will not take.
            with suppress(BrokenPipeError, ConnectionResetError):
                line.request(method, path, payload, sent)
            got = line.getresponse()
            return Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read().decode("utf-8", "replace"))
        finally:
            line.close()


def is_success(answer: Answer) -> bool:
    return answer.status in (200, 201) and answer.json.get("success") is True and "data" in answer.json


def is_error(answer: Answer, status: int) -> bool:
    """The envelope of an error: told as such, in words, with a code, and never both."""
    if answer.status != status:
        return False
    body = answer.json
    return body.get("success") is False and bool(body.get("message")) and isinstance(body.get("error_code"), str) and not body.get("data")


H264_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
    "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAH9kAUAW7ARAAAAMAEAAAAwPA8YMkgA==,aMuMsg==\r\na=control:streamid=0\r\n"
)


class Rtsp:
    """An RTSP client of three methods, which says what it is told and reads the answers' status."""

    def __init__(self, url: str):
        self.url, at = url, urlsplit(url)
        self._line = socket.create_connection((at.hostname, at.port or 554), timeout=10)
        self._reader, self._count, self.session = self._line.makefile("rb"), 0, None

    def __enter__(self) -> "Rtsp":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()
        self._line.close()

    def send(self, data: bytes) -> None:
        self._line.sendall(data)

    def ask(self, method: str, url: str | None = None, headers: dict | None = None, body: str = "") -> int:
        self._count += 1
        lines = [f"{method} {url or self.url} RTSP/1.0", f"CSeq: {self._count}", "User-Agent: conformance"]
        lines += [f"Session: {self.session}"] if self.session else []
        lines += [f"{k}: {v}" for k, v in (headers or {}).items()]
        lines += [f"Content-Length: {len(body)}"] if body else []
        self.send(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        status = int(self._reader.readline().split()[1])
        length = 0
        while (line := self._reader.readline().strip()) not in (b"", None):
            name, _, value = line.decode().partition(":")
            if name.lower() == "session":
                self.session = value.strip().partition(";")[0]
            if name.lower() == "content-length":
                length = int(value)
        self._reader.read(length)
        return status

    def announce(self, sdp: str = H264_SDP) -> int:
        return self.ask("ANNOUNCE", headers={"Content-Type": "application/sdp"}, body=sdp)

    def record(self) -> list[int]:
        """SETUP of the one track, then RECORD."""
        setup = self.ask("SETUP", f"{self.url}/streamid=0", {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"})
        return [setup, self.ask("RECORD", headers={"Range": "npt=0.000-"})]
