"""One `vitascope serve` of its own: free ports, a fresh data directory, its log kept for the moment a test fails."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "fixtures"))

from stage.film import models_dir  # noqa: E402
from stage.stage import die_with_parent  # noqa: E402

API_KEY = "sk-conformance-0123456789abcdef0123456789abcdef"


def binaries() -> Path:
    named = os.environ.get("VITASCOPE_BIN")
    return Path(named) if named else Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now; all are held until all are known, so that they differ."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


class Server:
    """A server that can be started, stopped, killed and started again on the same data and the same ports."""

    def __init__(self, folder: Path, **more: str):
        self.data = folder / "data"
        self.log = folder / "server.log"
        http, rtsp, rtmp = free_ports(3)
        self.url, self.rtsp_port, self.key = f"http://127.0.0.1:{http}", rtsp, API_KEY
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG", "RUST_LOG", "RUST_BACKTRACE") if name in os.environ}
        self.env = keep | {
            "VITASCOPE_LISTEN": f"127.0.0.1:{http}",
            "VITASCOPE_RTSP_LISTEN": f"127.0.0.1:{rtsp}",
            "VITASCOPE_RTMP_LISTEN": f"127.0.0.1:{rtmp}",
            "VITASCOPE_DATA_DIR": str(self.data),
            "VITASCOPE_API_KEY": API_KEY,
            "VITASCOPE_MODELS_DIR": str(models_dir()),
            **more,
        }
        self._process: subprocess.Popen | None = None

    @property
    def environment(self) -> dict[str, str]:
        """For the other commands of the binary, on the same data."""
        return self.env

    @property
    def pid(self) -> int:
        assert self._process, "the server was not started"
        return self._process.pid

    def start(self, patience: float = 60) -> float:
        """Returns when /health answers 200; how long that took."""
        began = time.monotonic()
        command = [str(binaries() / "vitascope"), "serve"]
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                command, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, preexec_fn=die_with_parent
            )
        while time.monotonic() < began + patience:
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended with {self._process.returncode}:\n{self.tail()}")
            try:
                with urllib.request.urlopen(self.url + "/health", timeout=2) as answer:
                    if answer.status == 200:
                        return time.monotonic() - began
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.05)
        raise TimeoutError(f"/health did not answer within {patience} s:\n{self.tail()}")

    def stop(self, patience: float = 20) -> int:
        """SIGTERM; its exit code. A server that does not end in time is killed, and that is an error."""
        assert self._process, "the server was not started"
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"SIGTERM did not end the server within {patience} s:\n{self.tail()}") from None

    def kill(self) -> None:
        assert self._process, "the server was not started"
        self._process.kill()
        self._process.wait(10)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def tail(self, characters: int = 6000) -> str:
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""
