"""Nothing leaves the machine: the demo's whole flow runs where there is no network but loopback, and nothing in it even tries another.

The kernel counts what it finds no route for, so an attempt that fails silently is seen, too.
"""

import json
import os
import subprocess
import sys

import pytest
from rig_server import ROOT, binaries, free_ports

pytestmark = pytest.mark.timeout(240)

NONE = "alone: 0 connections or packets wanted to leave this machine"


def alone(*command: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(ROOT / "tools" / "alone"), *command], env=os.environ | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200
    )


@pytest.mark.parametrize(
    "attempt",
    [
        "socket.create_connection(('192.0.2.1', 80), 2)",
        "socket.getaddrinfo('example.org', 80)",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
        "socket.create_connection(('2001:db8::1', 80), 2)",
    ],
)
def test_an_attempt_to_leave_is_seen(attempt):
    tried = alone(sys.executable, "-c", f"import socket\ntry: {attempt}\nexcept OSError: pass")
    assert tried.returncode == 3 and NONE not in tried.stderr, tried.stderr


def test_loopback_is_no_attempt_to_leave():
    tried = alone(sys.executable, "-c", "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname()).close()")
    assert tried.returncode == 0 and tried.stderr.strip() == NONE


def test_the_demo_records_transcribes_and_exports_with_nothing_but_loopback(folder, measured):
    http, rtsp, rtmp = free_ports(3)
    result = folder / "demo.json"
    # The browser that looks at the result is not ours, and does try: it stays out of the count.
    done = alone(
        sys.executable, str(ROOT / "tools" / "demo.py"), "--once", "--no-browser", "--json", str(result),
        CARGO_TARGET_DIR=str(binaries().parent), VITASCOPE_DATA_DIR=str(folder / "data"), VITASCOPE_LISTEN=f"127.0.0.1:{http}",
        VITASCOPE_RTSP_LISTEN=f"127.0.0.1:{rtsp}", VITASCOPE_RTMP_LISTEN=f"127.0.0.1:{rtmp}",
    )  # fmt: skip
    print(done.stdout)
    assert done.stderr.strip().splitlines()[-1] == NONE, done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(result.read_text())
    assert said["good"] and said["video"].startswith("m-")
    measured("the demo's flow with loopback alone: left the machine", 0, "", "0")
