"""What scripts of this folder share: calls to a server under measurement, and the processor time that it, its helpers and the peers take.

Nothing here decides what is measured.
"""

import json
import os
import resource
import subprocess
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "conformance"))

from rig_server import API_KEY  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def call(server, path, body=None, method=None):
    """The `data` of an answer."""
    headers = {"x-access-token": API_KEY, "content-type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, method=method or ("GET" if body is None else "POST"), data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        said = json.load(answer)
    if said.get("success") is False:
        sys.exit(f"{path}: {said}")
    return said["data"]


def fetch(url):
    with urllib.request.urlopen(url, timeout=120) as answer:
        return answer.read()


def upload(server, path):
    """The asset that a file becomes, through an upload URL."""
    slot = call(server, "/collection/default/upload_url")["upload_url"]
    subprocess.run(["curl", "-sf", "-F", f"file=@{path}", slot], check=True, stdout=subprocess.DEVNULL)
    return call(server, "/collection/default/upload", {"url": slot})


def server_cpu(server):
    """Seconds of all its threads that live, to a nanosecond."""
    return sum(int(p.read_text().split()[0]) for p in Path(f"/proc/{server.pid}/task").glob("*/schedstat")) / 1e9


def helpers_cpu(server):
    """Seconds of the processes that it started and that have ended, to a hundredth."""
    fields = Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[13]) + int(fields[14])) / TICK


def all_cpu(server):
    """The server with its helpers, and with their helpers."""
    return server_cpu(server) + helpers_cpu(server)


def own_helpers_cpu():
    """Seconds of the processes that this script started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
