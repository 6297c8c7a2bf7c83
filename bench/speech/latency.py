#!/usr/bin/env python3
"""How soon words are shown and finals come, for 1, 4 and 8 channels: `bench/speech/latency.py [CHANNELS …] [--ours|--peer]`.

Speech of the held-out part is streamed in real time into the live transcriber, and into a peer with the same weights (`peer.py`). Both are judged
alike: where words end is known from a transcript of the same file made beforehand; a word is shown with the first line that has it about there.
Final: from the end of an utterance, by its own account, to its final. Needs what `accuracy.py` needs, and a quiet machine: the load is printed.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import evaluation
from accuracy import MODELS, TRANSCRIBE, ffmpeg, words

LIVE = os.environ.get("VITASCOPE_LIVE_BIN") or str(Path(TRANSCRIBE).with_name("live"))
PEER = "moonshine-voice==0.0.73"
SLACK = 1.5  # seconds that a line's own times may be off


def peer_python():
    venv = evaluation.CACHE / "venv-peer"
    if not (venv / "whole").exists():
        evaluation.say(f"fetching {PEER}")
        evaluation.run(sys.executable, "-m", "venv", "--clear", venv)
        pip = [venv / "bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        evaluation.run(*pip, PEER, "numpy==2.4.6")
        (venv / "whole").touch()
    return str(venv / "bin/python")


def clip(folder):
    """About 70 seconds, three voices."""
    held = evaluation.made() / "held"
    parts = [ffmpeg(f"-t {seconds} -i {held / name}", "-c:a pcm_s16le", folder / name) for name, seconds in
             (("prompts.wav", 28), ("austen.wav", 27), ("sonnets.wav", 15))]
    (folder / "list").write_text("".join(f"file {part}\n" for part in parts))
    return ffmpeg(f"-f concat -safe 0 -i {folder / 'list'}", "-c:a pcm_s16le", folder / "clip.wav")


def known(file):
    """(word, end) in order."""
    done = subprocess.run([TRANSCRIBE, MODELS, str(file)], check=True, capture_output=True, text=True)
    found = [(words(text), end) for text, _, end in json.loads(done.stdout)["words"]]
    return [(one[0], end) for one, end in found if len(one) == 1]


def percentiles(values):
    values = sorted(values)
    at = lambda p: values[min(len(values) - 1, len(values) * p // 100)]
    return " ".join(f"{at(p):6.2f}" for p in (50, 90, 95, 99)) + f"   n {len(values)}" if values else "   none"


def measure(lines, reference, count):
    shown, missing = [], 0
    for channel in range(count):
        own = [line | {"words": words(line["text"])} for line in lines if line["channel"] == channel]
        for word, end in reference:
            has = lambda line: word in line["words"] and line["start"] - SLACK < end < line["end"] + SLACK and line["at"] > end - SLACK
            first = next((line["at"] for line in own if has(line)), None)
            missing += first is None
            shown += [first - end] if first is not None else []
    finals = [line for line in lines if line["final"] and line["text"]]
    late = [line["at"] - line["end"] for line in finals]
    return shown, missing, late, [line["computed"] for line in finals], [line["computed"] for line in lines if not line["final"]]


def run(name, command, file, reference, count, seconds):
    done = subprocess.run([*command, str(file), str(count)], check=True, capture_output=True, text=True)
    *lines, last = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    shown, missing, late, own_final, own_interim = measure(lines, reference, count)
    print(f"{name}, {count} channels: {100 * last['cpu'] / seconds / count:.0f} % of a core each, load {os.getloadavg()[0]:.1f},"
          f" {missing} of {missing + len(shown)} words never shown, {last.get('dropped_interims', 0)} interims dropped")
    for what, values in (("shown", shown), ("final", late), ("model, a final", own_final), ("model, an interim", own_interim)):
        print(f"  {what:<18} {percentiles(values)}", flush=True)


def main():
    counts = [int(a) for a in sys.argv[1:] if a.isdigit()] or [1, 4, 8]
    with tempfile.TemporaryDirectory() as name:
        file = clip(Path(name))
        reference, seconds = known(file), evaluation.seconds(file)
        print(f"{seconds:.0f} s, {len(reference)} words; seconds:{'p50':>9} {'p90':>6} {'p95':>6} {'p99':>6}")
        for count in counts:
            if "--peer" not in sys.argv:
                run("vitascope", [LIVE, MODELS], file, reference, count, seconds)
            if "--ours" not in sys.argv:
                run(PEER, [peer_python(), str(Path(__file__).with_name("peer.py"))], file, reference, count, seconds)


if __name__ == "__main__":
    main()
