"""A publisher that is not our recorder: ffmpeg pushes the stage film's own frames, in the cut-friendly form, over RTSP."""

import signal
import subprocess
import sys
from pathlib import Path

from rig_server import ROOT

sys.path.insert(0, str(ROOT / "fixtures"))

from stage import film  # noqa: E402
from stage.stage import die_with_parent  # noqa: E402

_VIDEO = ["-map", "0:v", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "10", "-bf", "0", "-pix_fmt", "yuv420p"]
_AUDIO = ["-map", "0:a", "-c:a", "aac", "-ar", "48000", "-ac", "2", "-b:a", "96k"]


class Publisher:
    """`ffmpeg -re` of the film, or of another `source`, to one URL; ended by `end()`, by `kill()`, or by its own end."""

    def __init__(self, url: str, kind: str, folder: Path, codec: list[str] | None = None, start: float = 0.0, source: list[str] | None = None):
        source = source or ["-ss", str(start), "-i", str(film.build()[0])]
        form = codec or (_VIDEO if kind == "video" else _AUDIO)
        command = ["ffmpeg", "-nostdin", "-v", "warning", "-re", *source, *form]
        command += ["-f", "rtsp", "-rtsp_transport", "tcp", url]
        self._log = folder / f"publisher-{kind}-{id(self)}.log"
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, preexec_fn=die_with_parent
            )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def freeze(self) -> None:
        """It is there, and sends nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def wait(self, timeout: float) -> int:
        return self._process.wait(timeout)

    def end(self) -> None:
        """As ffmpeg ends when asked: TEARDOWN, then exit."""
        self._process.terminate()
        self._process.wait(10)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    @property
    def words(self) -> str:
        return self._log.read_text(errors="replace")
