"""What the project's own speech model hears in a recording."""

import json
import os
import subprocess
from pathlib import Path

from rig_server import binaries
from stage.film import models_dir


def transcribe(recording: Path, reference: Path, timeout: float = 300) -> str:
    """The example program's report on a 16 kHz mono WAV."""
    command = [str(binaries() / "examples" / "transcribe"), str(models_dir()), str(recording), str(reference)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=dict(os.environ))
    assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stderr[-3000:]}"
    return done.stdout


def heard_text(printed: str) -> str:
    """The words in that report, which is one line of JSON."""
    return json.loads(printed)["text"]
