"""Films whose pictures bear their own number, made by ffmpeg, and what a player gets of a stream of them.

A number is spelt by 16 boxes along the top, black or white, then a white and a black one that show whether it can be believed.
"""

import subprocess
from pathlib import Path

BOX = 24
BITS = 16
FRAMES_LIMIT = 100_000


def _boxes(origin: str = "n") -> str:
    drawn = [f"drawbox=x={BOX * k}:y=0:w={BOX}:h={BOX}:c=black:t=fill" for k in range(BITS + 2)]
    for k in range(BITS):
        drawn.append(f"drawbox=x={BOX * k}:y=0:w={BOX}:h={BOX}:c=white:t=fill:enable='mod(floor({origin}/{2**k}),2)'")
    drawn.append(f"drawbox=x={BOX * BITS}:y=0:w={BOX}:h={BOX}:c=white:t=fill")
    return ",".join(drawn)


def ffmpeg(*words: str, limit: float = 120) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *words], check=True, timeout=limit)


def film(
    path: Path,
    seconds: float = 10,
    fps: str = "30",
    size: str = "640x360",
    video: str = "-c:v libx264 -preset ultrafast -bf 0 -g 30 -flags +cgop -sc_threshold 0 -pix_fmt yuv420p",
    audio: str | None = "-c:a aac -b:a 96k -ar 48000 -ac 2",
    tone: int = 440,
    more: str = "",
) -> Path:
    """`seconds` of numbered pictures and a tone; cut-friendly unless told otherwise."""
    words = ["-f", "lavfi", "-i", f"testsrc2=s={size}:r={fps}:d={seconds}"]
    if audio is not None:
        words += ["-f", "lavfi", "-i", f"sine=f={tone}:r=48000:d={seconds},volume=4,pan=stereo|c0=c0|c1=c0"]
    words += ["-vf", _boxes(), *video.split(), *(audio or "-an").split(), *more.split(), str(path)]
    ffmpeg(*words)
    return path


def numbers(url: str | Path, limit: float = 120, before: str = "", scaled: str = "") -> list[int | None]:
    """The numbers of all pictures that a player shows, in order; None for one that cannot be read."""
    width = BOX * (BITS + 2)
    # Only the strip of boxes is looked at; what was scaled is scaled back first.
    view = f"{scaled + ',' if scaled else ''}crop={width}:{BOX}:0:0,scale={BITS + 2}:1:flags=area,format=gray"
    words = ["ffmpeg", "-nostdin", "-loglevel", "error", *before.split(), "-i", str(url), "-an", "-fps_mode", "passthrough"]
    words += ["-vf", view, "-f", "rawvideo", "-"]
    raw = subprocess.run(words, check=True, timeout=limit, capture_output=True).stdout
    row = BITS + 2
    assert len(raw) % row == 0 and len(raw) // row < FRAMES_LIMIT
    return [_number(raw[at : at + row]) for at in range(0, len(raw), row)]


def _number(row: bytes) -> int | None:
    white, black = row[BITS], row[BITS + 1]
    if white < 150 or black > 100:
        return None
    return sum(1 << k for k in range(BITS) if row[k] > (white + black) / 2)


def sound_seconds(url: str | Path, limit: float = 120) -> float:
    """How much sound a player hears."""
    words = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", str(url), "-vn", "-ac", "1", "-ar", "8000", "-f", "s16le", "-"]
    return len(subprocess.run(words, check=True, timeout=limit, capture_output=True).stdout) / 16_000


def probe(url: str | Path, entries: str) -> str:
    words = ["ffprobe", "-loglevel", "error", "-show_entries", entries, "-of", "default=nw=1:nk=1", str(url)]
    return subprocess.run(words, check=True, timeout=60, capture_output=True, text=True).stdout.strip()
