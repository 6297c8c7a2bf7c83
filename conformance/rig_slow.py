"""A slow line to a server: a door on a port of its own that passes bytes on at a limited speed, counts them, and can be cut."""

import socket
import threading
import time
from contextlib import suppress

BLOCK = 64 * 1024


class SlowLine:
    """To `port` on this machine; what clients send is slowed down and counted, what comes back is not."""

    def __init__(self, port: int, bytes_per_second: float):
        self.port, self.speed, self.sent, self.refuses = port, bytes_per_second, 0, False
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        self._lines: list[socket.socket] = []
        threading.Thread(target=self._answer, daemon=True).start()

    def __enter__(self) -> "SlowLine":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self.cut()

    def cut(self) -> None:
        """Every connection breaks."""
        lines, self._lines = self._lines, []
        for line in lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def refuse(self) -> None:
        """Every connection breaks, and each new one breaks at once."""
        self.refuses = True
        self.cut()

    def accept(self) -> None:
        self.refuses = False

    def passed(self, count: int, patience: float = 30) -> None:
        """Returns when so many bytes went through."""
        until = time.monotonic() + patience
        while self.sent < count:
            assert time.monotonic() < until, f"only {self.sent} bytes went through"
            time.sleep(0.01)

    def _answer(self) -> None:
        while True:
            try:
                client, _ = self._door.accept()
            except OSError:
                return
            if self.refuses:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.port), timeout=60)
            except OSError:
                client.close()
                continue
            self._lines += [client, server]
            threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, to: socket.socket, is_slow: bool) -> None:
        with suppress(OSError):
            while block := source.recv(BLOCK):
                to.sendall(block)
                if is_slow:
                    self.sent += len(block)
                    time.sleep(len(block) / self.speed)
        for line in (source, to):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
