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
        model = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)))
                model.asked.append(request | {"path": self.path, "key": self.headers.get("authorization")})
                model.answers.wait(60)
                words = request["messages"][-1]["content"].rsplit("\n", 1)[1]
                message = {"role": "assistant", "content": SUMMARY + words}
                answer = {"object": "chat.completion", "model": request["model"], "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
                body = json.dumps(answer | {"usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}).encode()
                # Who asked may have been killed meanwhile.
                with suppress(ConnectionError):
                    self.send_response(200)
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
