"""Runs the browser's side of a test in Node and reads its answer."""

import json
import os
import shutil
import subprocess
from pathlib import Path

BROWSER = Path(__file__).resolve().parent / "browser"


def node(program: str, *args: str, timeout: float = 90) -> dict:
    found = shutil.which("node")
    assert found, "node is missing: ./test installs it"
    done = subprocess.run([found, str(BROWSER / program), *args], capture_output=True, text=True, timeout=timeout, env=dict(os.environ))
    assert done.returncode == 0, f"{program} failed:\n{done.stdout[-1000:]}{done.stderr[-3000:]}"
    return json.loads(done.stdout.strip().splitlines()[-1])


def play(**order: object) -> dict:
    return node("player.js", json.dumps(order | {"chromium": shutil.which("chromium")}))


def record_page(**order: object) -> dict:
    """What the capture page looked like on the way, and the address of the recording."""
    return node("capturer.js", json.dumps(order | {"chromium": shutil.which("chromium")}), timeout=120)


def wrong_frames(seen: list[dict], recorded: list[tuple[float, int]], slack: float = 0.07) -> list[dict]:
    """Those pictures whose number is not the one that the recording has at that moment, give or take `slack` seconds."""
    wrong = []
    for picture in seen:
        near = {n for (at, n), (until, _) in zip(recorded, [*recorded[1:], (1e9, 0)]) if at - slack <= picture["at"] < until + slack}
        if picture["number"] not in near:
            wrong.append(picture | {"expected": sorted(near)})
    return wrong
