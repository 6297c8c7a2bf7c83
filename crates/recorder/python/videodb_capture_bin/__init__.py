"""Tells the VideoDB SDK where the desktop recorder is: `videodb.capture` imports this package and calls `get_binary_path`.

Only looks; it downloads and builds nothing.
"""

import os
import platform
import shutil
from pathlib import Path

# The SDK asks for 0.3.1 or later.
__version__ = "0.4.0"
__all__ = ["get_binary_path"]

BINARY = "vitascope-capture"
PLATFORMS = {"x86_64": "linux_x86_64", "aarch64": "linux_arm64", "arm64": "linux_arm64"}


def get_binary_path() -> str:
    """The path of the recorder; FileNotFoundError with what to do if there is none."""
    named = os.environ.get("VITASCOPE_CAPTURE_BIN")
    if named:
        # What is named on purpose is not silently replaced by something else.
        if not _runs(Path(named)):
            raise FileNotFoundError(f"VITASCOPE_CAPTURE_BIN names {named}, which is not an executable file")
        return str(Path(named).resolve())
    looked = []
    for candidate in _candidates():
        if _runs(candidate):
            return str(candidate)
        looked.append(str(candidate))
    found = shutil.which(BINARY)
    if found:
        return found
    raise FileNotFoundError(
        f"The recorder {BINARY} was not found. Build it with `cargo build --release -p vitascope-recorder`, "
        f"or name it in VITASCOPE_CAPTURE_BIN. Looked at: {', '.join(looked)}, and in PATH."
    )


def _candidates():
    yield Path(__file__).resolve().parent / "bin" / PLATFORMS.get(platform.machine(), "unknown") / "capture"
    checkout = _checkout()
    target = os.environ.get("CARGO_TARGET_DIR")
    if target:
        # Cargo takes a relative folder from where it runs, which is the checkout as a rule.
        yield (checkout or Path.cwd()) / target / "release" / BINARY
    if checkout:
        yield checkout / "target" / "release" / BINARY


def _checkout():
    """Where the sources are that this package was installed from, if they are still known."""
    try:
        from ._checkout import CHECKOUT

        return Path(CHECKOUT) if CHECKOUT else None
    except ImportError:
        # Not built into a wheel: this file itself lies in the checkout.
        return next((folder for folder in Path(__file__).resolve().parents if (folder / "Cargo.lock").is_file()), None)


def _runs(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
