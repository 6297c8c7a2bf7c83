"""A language model's door on loopback: it speaks the OpenAI protocol, says back the words it was given, and can be made to hang."""

import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY, MODEL, SUMMARY = "sk-of-the-model", "stand-in", "In short: "


class Model:
    def __init__(self) -> None:
        self.asked: list[dict] = []
        # Answers wait while this is not set.
        self.answers = threading.Event()
        self.answers.set()
        # What it says next, in place of the words it was given.
        self.says: list[str] = []
        # The status with which it refuses everything.
        self.refuses = 0
        model = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)))
                model.asked.append(request | {"path": self.path, "key": self.headers.get("authorization")})
                model.answers.wait(60)
                if model.refuses:
                    return self._say(model.refuses, {"error": {"message": "no such key: sk-of-the-model"}})
                if request.get("stream"):
                    return self._stream(request)
                words = request["messages"][-1]["content"]
                if isinstance(words, str) and "\n" in words:
                    words = words.rsplit("\n", 1)[1]
                said = model.says.pop(0) if model.says else SUMMARY + str(words)
                message = {"role": "assistant", "content": said}
                answer = {"object": "chat.completion", "model": request["model"], "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
                self._say(200, answer | {"usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})

            def _stream(self, request: dict) -> None:
                """Two words, of which the second waits until the answers go on."""
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.end_headers()
                for word in ("Hello", " there"):
                    delta = {"object": "chat.completion.chunk", "model": request["model"], "choices": [{"index": 0, "delta": {"content": word}}]}
                    self.wfile.write(f"data: {json.dumps(delta)}\n\n".encode())
                    self.wfile.flush()
                    model.answers.clear()
                    model.answers.wait(10)
                self.wfile.write(b"data: [DONE]\n\n")
                self.close_connection = True

            def _say(self, status: int, answer: dict) -> None:
                body = json.dumps(answer).encode()
                # Who asked may have been killed meanwhile.
                with suppress(ConnectionError):
                    self.send_response(status)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._door = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self._door.daemon_threads = True
        self.settings = {
            "VITASCOPE_COMPLETE_URL": f"http://127.0.0.1:{self._door.server_port}/v1",
            "VITASCOPE_COMPLETE_KEY": KEY,
            "VITASCOPE_COMPLETE_MODEL": MODEL,
        }
        threading.Thread(target=self._door.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.answers.set()
        self._door.shutdown()
        self._door.server_close()
