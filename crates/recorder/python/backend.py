"""Builds the wheel with the standard library alone, and writes into it where the checkout is that it was built from.

Holds only what pip asks of a build backend; what the package does is in `videodb_capture_bin/__init__.py`.
"""

import base64
import hashlib
import platform
import re
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = "videodb_capture_bin"
NAME = "vitascope_capture_bin"
VERSION = re.search(r'__version__ = "(.+)"', (HERE / PACKAGE / "__init__.py").read_text(encoding="utf-8"))[1]
METADATA = f"""\
Metadata-Version: 2.1
Name: {NAME.replace("_", "-")}
Version: {VERSION}
Summary: Finds Vitascope's desktop recorder for the VideoDB SDK (import name {PACKAGE})
License: Apache-2.0
Requires-Python: >=3.9
"""


def get_requires_for_build_wheel(config_settings=None):
    return []


get_requires_for_build_editable = get_requires_for_build_wheel


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    files = {path.relative_to(HERE).as_posix(): path for path in sorted((HERE / PACKAGE).rglob("*")) if path.is_file()}
    files = {name: path for name, path in files.items() if "__pycache__" not in name}
    holds_binary = any(name.startswith(f"{PACKAGE}/bin/") for name in files)
    tag = f"py3-none-linux_{platform.machine()}" if holds_binary else "py3-none-any"
    contents = {name: (path.read_bytes(), path.stat().st_mode) for name, path in files.items()}
    contents[f"{PACKAGE}/_checkout.py"] = (f"CHECKOUT = {str(checkout() or '')!r}\n".encode(), 0o100644)
    return write_wheel(Path(wheel_directory), tag, contents)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return write_wheel(Path(wheel_directory), "py3-none-any", {f"{NAME}.pth": (f"{HERE}\n".encode(), 0o100644)})


def checkout():
    """The folder above us that holds the Cargo workspace."""
    for folder in HERE.parents:
        manifest = folder / "Cargo.toml"
        if manifest.is_file() and "[workspace]" in manifest.read_text(encoding="utf-8"):
            return folder
    return None


def write_wheel(folder, tag, contents):
    meta = f"{NAME}-{VERSION}.dist-info"
    wheel = f"Wheel-Version: 1.0\nGenerator: vitascope\nRoot-Is-Purelib: true\nTag: {tag}\n"
    contents = {
        **contents,
        f"{meta}/METADATA": (METADATA.encode(), 0o100644),
        f"{meta}/WHEEL": (wheel.encode(), 0o100644),
    }
    record = ""
    name = f"{NAME}-{VERSION}-{tag}.whl"
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, (content, mode) in contents.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(content)}\n"
            write_member(archive, path, content, mode)
        write_member(archive, f"{meta}/RECORD", f"{record}{meta}/RECORD,,\n".encode(), 0o100644)
    return name


def write_member(archive, path, content, mode):
    member = zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0))
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = (mode & 0xFFFF) << 16
    archive.writestr(member, content)
