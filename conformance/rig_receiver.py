"""A webhook receiver on loopback: keeps what arrives, with the time; like the quickstart, it may call the API before it answers."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Hook:
    at: float
    path: str
    body: dict
    # As they were signed.
    text: bytes = b""
    headers: dict | None = None

    @property
    def event(self) -> str:
        return self.body.get("event", "")


class Receiver:
    def __init__(self) -> None:
        self._arrived: list[Hook] = []
        self._news = threading.Condition()
        # Called with each hook before it is answered.
        self.before_answer: Callable[[Hook], None] | None = None
        # Paths that answer 503 so many times before they answer 200.
        self.refusals: dict[str, int] = {}
        receiver = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = receiver._take(Hook(time.time(), self.path, json.loads(text), text, headers))
                answer = b'{"received":true}'
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._door = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self._door.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._door.server_port}"
        threading.Thread(target=self._door.serve_forever, daemon=True).start()

    def _take(self, hook: Hook) -> int:
        with self._news:
            if self.refusals.get(hook.path, 0) > 0:
                self.refusals[hook.path] -= 1
                return 503
        if self.before_answer:
            self.before_answer(hook)
        with self._news:
            self._arrived.append(hook)
            self._news.notify_all()
        return 200

    def of(self, session_id: str) -> list[Hook]:
        with self._news:
            return [h for h in self._arrived if h.body.get("capture_session_id") == session_id]

    def wait(self, session_id: str, *events: str, timeout: float = 30) -> Hook:
        """The first hook of the session with one of these events."""
        limit = time.monotonic() + timeout
        with self._news:
            while True:
                for hook in self._arrived:
                    if hook.body.get("capture_session_id") == session_id and hook.event in events:
                        return hook
                if not self._news.wait(limit - time.monotonic()):
                    told = [h.event for h in self._arrived if h.body.get("capture_session_id") == session_id]
                    raise TimeoutError(f"no {' or '.join(events)} within {timeout} s; told so far: {told}")

    def close(self) -> None:
        self._door.shutdown()
        self._door.server_close()
