"""`./run demo`: a desktop in memory is recorded by the official SDK, its speech is read live, and what remains is a video that plays.

Everything is real: pixels of an X display, sound of a sound server, a speech model, the unpatched client. `--once` ends with the
recording and says by its exit code whether all was well.
"""

import argparse
import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "fixtures"), str(ROOT / "tools" / "demo")]

from photograph import photograph  # noqa: E402
from quickstart import record  # noqa: E402
from screen import Screen  # noqa: E402
from stage import delays, frames, script, sound, wer  # noqa: E402
from stage.stage import Stage, die_with_parent  # noqa: E402

BINARIES = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"


class Server:
    """The server, with the environment as it is and a key of our own, kept beside its data."""

    def __init__(self) -> None:
        self.data = Path(os.environ.get("VITASCOPE_DATA_DIR") or ROOT / "data")
        self.listen = os.environ.get("VITASCOPE_LISTEN") or "127.0.0.1:8484"
        self.rtsp = os.environ.get("VITASCOPE_RTSP_LISTEN") or "127.0.0.1:8554"
        self.url = f"http://{self.listen}"
        self.log = self.data / "demo-server.log"
        self.key = os.environ.get("VITASCOPE_API_KEY") or self._kept_key()
        self._process: subprocess.Popen | None = None

    def _kept_key(self) -> str:
        self.data.mkdir(parents=True, exist_ok=True)
        place = self.data / "demo-key"
        if not place.exists():
            with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write("sk-" + secrets.token_hex(24))
        return place.read_text().strip()

    def start(self) -> float:
        for name, address in (("VITASCOPE_LISTEN", self.listen), ("VITASCOPE_RTSP_LISTEN", self.rtsp)):
            host, _, port = address.rpartition(":")
            with socket.socket() as probe:
                if probe.connect_ex((host.strip("[]"), int(port))) == 0:
                    raise SystemExit(
                        f"Something listens on {address} already, perhaps a server from before. Stop it, or set {name} to another address."
                    )
        began = time.monotonic()
        environment = os.environ | {
            "VITASCOPE_LISTEN": self.listen, "VITASCOPE_RTSP_LISTEN": self.rtsp, "VITASCOPE_DATA_DIR": str(self.data), "VITASCOPE_API_KEY": self.key,
        }  # fmt: skip
        with open(self.log, "ab") as log:
            # In a session of its own, so that Ctrl-C reaches this program, which then ends the server in order.
            self._process = subprocess.Popen(
                [str(BINARIES / "vitascope"), "serve"], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=die_with_parent,
            )  # fmt: skip
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > began + 60:
                raise SystemExit(f"The server did not start:\n{self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        return time.monotonic() - began

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + "/health", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def wait(self) -> None:
        assert self._process, "the server was not started"
        self._process.wait()

    def stop(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()


async def perform(server: Server, stage: Stage, screen: Screen) -> object:
    """The recording: the film begins once the transcript can run, and the session stops when it is over."""

    async def film() -> None:
        await asyncio.sleep(0.5)
        stage.play()
        await asyncio.to_thread(stage.wait_until, script.SHORT)

    os.environ.update(stage.desktop)
    return await asyncio.wait_for(record(server.url, server.key, screen, film), 180)


def review(video: object, screen: Screen) -> bool:
    """What is in the video, against what was shown and said."""
    spoken = [line for passage in script.PASSAGES if passage.end <= script.SHORT for line in passage.texts]
    heard = " ".join(f["data"]["text"] for _, f in screen.frames if f["data"]["is_final"])
    screen.beside(spoken, heard)
    rate = wer.rate(" ".join(spoken), heard)
    found = delays.measure(screen.frames)
    middle, tail = delays.quantile(found.shown, 0.5), delays.quantile(found.shown, 0.95)
    screen.fact("words", f"error rate {rate:.1%}", f"shown {middle:.2f} s (p50) and {tail:.2f} s (p95) after they end")
    picture = frames.read(video.stream_url)
    seen = frames.sequence(picture)
    last = round(script.SHORT * script.RATE) - 2
    whole = seen.whole and seen.first == 0 and seen.last >= last
    shown = len(frames.shown_at(picture))
    screen.fact("picture", f"frames {seen.first} to {seen.last} of the film: {shown} shown, {len(seen.missing)} missing, {seen.illegible} illegible")
    pairs = sound.offsets(frames.flash_times(picture), sound.onsets(sound.samples(video.stream_url), script.BEEP_HZ))
    apart = [abs(offset) if offset is not None else 9.9 for _, offset in pairs]
    together = len(pairs) == len(script.flashes_until(script.SHORT)) and max(apart) <= 0.08
    screen.fact("sync", f"{len(pairs)} flashes and their beeps, at most {max(apart, default=9.9) * 1000:.0f} ms apart")
    screen.fact("video", video.id, f"{video.length:.1f} s")
    return rate <= 0.15 and whole and together


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run demo", description=__doc__.splitlines()[0])
    parser.add_argument("--once", action="store_true", help="end with the recording instead of leaving the server up")
    parser.add_argument("--no-browser", action="store_true", help="do not play the result in a browser")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    args = parser.parse_args()
    os.environ.setdefault("VITASCOPE_CAPTURE_BIN", str(BINARIES / "vitascope-capture"))
    # Ended politely, this program ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    screen, server = Screen(), Server()
    screen.title("Vitascope", "A desktop in memory, a virtual microphone that hears speech, and the official Python SDK.")
    try:
        screen.fact("server", server.url, f"up after {server.start():.1f} s; its log is {server.log}")
        with Stage() as stage:
            screen.fact("desktop", stage.desktop["DISPLAY"], "1280x720, showing a film whose frames are counted")
            video = asyncio.run(perform(server, stage, screen))
        good = review(video, screen)
        picture = server.data / "demo-player.png"
        screen.fact("player", video.player_url)
        played = None
        if not args.no_browser:
            played = photograph(video.player_url, 12, picture)
            screen.fact("screenshot", str(picture) if played else "none: Chromium is missing", f"at {played:.1f} s of the video" if played else "")
        if args.json:
            args.json.write_text(json.dumps({"good": good, "video": video.id, "player_url": video.player_url, "screenshot": str(picture) if played else ""}))
        if not args.once:
            screen.fact("key", server.key, "for the SDKs: videodb.connect(api_key=…, base_url=" + repr(server.url) + ")")
            screen.title("The server stays up.", "Ctrl-C ends it.")
            server.wait()
        return 0 if good else 1
    except KeyboardInterrupt:
        print()
        return 0
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
