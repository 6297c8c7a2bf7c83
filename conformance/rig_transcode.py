"""What tests of transcodes share: one is asked for, waited for, taken, and looked at. What it must be like is said in the tests."""

import subprocess
import time
from pathlib import Path

from rig_media import probe
from test_files import boxes, fetched
from videodb import AudioConfig, TranscodeMode, VideoConfig

ENDED = ("done", "error")


def until_ended(details, limit: float = 60) -> dict:
    """What `details` says when the transcode is over; progress never goes back on the way."""
    end, before = time.monotonic() + limit, 0
    while True:
        said = details()
        assert said["progress"] >= before, "a transcode goes forwards"
        before = said["progress"]
        if said["status"] in ENDED:
            return said
        assert said["status"] == "processing" and said["output_url"] is None, said
        assert time.monotonic() < end, said
        time.sleep(0.1)


def transcoded(conn, source: str, mode=TranscodeMode.lightning, video=None, audio=None) -> dict:
    job = conn.transcode(source, "", mode, video or VideoConfig(), audio or AudioConfig())
    said = until_ended(lambda: conn.get_transcode_details(job))
    assert said["job_id"] == job
    return said


def taken(said: dict, path: Path) -> Path:
    assert said["status"] == "done" and said["progress"] == 100 and said["message"] is None, said
    headers = fetched(said["output_url"], path)
    assert int(headers["content-length"]) == path.stat().st_size == int(said["size"])
    assert boxes(path) == ["ftyp", "moov", "free", "mdat"], "the index stands in front"
    return path


def picture_of(path: Path) -> str:
    return probe(path, "stream=width,height").replace("\n", "x")


def pixel(path: Path, x: int, y: int) -> tuple[int, int, int]:
    words = ["ffmpeg", "-nostdin", "-loglevel", "error", "-ss", "1", "-i", str(path), "-frames:v", "1"]
    words += ["-vf", f"format=rgb24,crop=1:1:{x}:{y}", "-f", "rawvideo", "-"]
    return tuple(subprocess.run(words, check=True, capture_output=True, timeout=30).stdout)


def is_near(seen: tuple[int, int, int], wanted: tuple[int, int, int]) -> bool:
    return all(abs(a - b) < 40 for a, b in zip(seen, wanted))


def leftovers(server) -> list[str]:
    return [f.name for f in (server.data / "uploads").iterdir() if f.name.startswith("job-")]


def helpers_of(server) -> list[str]:
    """What the server's data folder is read or written by."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if entry.name.isdigit() and line.startswith("ffmpeg") and str(server.data) in line:
            found.append(line)
    return found
