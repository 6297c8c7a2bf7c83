"""`vitascope upload`: what was interrupted goes on where it was, whoever was killed, and what cannot be sent is said."""

import json
import os
import pty
import signal
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from rig_server import Server
from rig_slow import SlowLine
from test_cli import NOT_THERE, REFUSED, Cli

pytestmark = pytest.mark.timeout(180)

SIZE = 12_000_000


@pytest.fixture
def line(folder):
    """A server of this test's own, which can be reached by a slow line only."""
    server = Server(folder)
    with SlowLine(urlsplit(server.url).port, 4_000_000) as slow:
        server.env["VITASCOPE_PUBLIC_URL"] = slow.url
        server.start()
        slow.server = server
        yield slow
        if server.running:
            server.kill()


@pytest.fixture
def cli(line, folder) -> Cli:
    return Cli(line.server, folder, VITASCOPE_SERVER=line.url)


@pytest.fixture
def noise(folder) -> Path:
    """A file that no server makes an asset of: so where it was sent stays remembered, and can be looked at."""
    file = folder / "noise.mp4"
    file.write_bytes(os.urandom(SIZE))
    return file


def remembered(home: Path) -> dict:
    (file,) = (home / ".local/state/vitascope/uploads").iterdir()
    assert file.stat().st_mode & 0o077 == 0, "the URL is as good as a password"
    return json.loads(file.read_text())


def content(line: SlowLine, home: Path) -> bytes:
    url = remembered(home)["upload_url"].replace(line.url, line.server.url)
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


def test_a_killed_upload_goes_on_where_it_was(cli, line, noise, folder, measured):
    first = cli.start("upload", str(noise))
    line.passed(SIZE // 2)
    first.kill()
    first.communicate()
    assert remembered(folder)["tus"].startswith(line.url)
    code, out, err = cli("upload", str(noise))
    assert (code, out) == (REFUSED, "") and str(noise) in err
    assert content(line, folder) == noise.read_bytes()
    assert line.sent < SIZE * 1.3, "nothing was sent that was there already"
    measured("sent in all, an upload killed at half", line.sent / SIZE, "x", "< 1.3")

    before = line.sent
    assert cli("upload", str(noise))[0] == REFUSED
    assert line.sent - before < 10_000, "what is whole is not sent again"


def test_interrupting_says_how_to_go_on(cli, line, noise):
    process = cli.start("upload", str(noise), "--json")
    line.passed(SIZE // 10)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130 and "goes on where it was" in json.loads(out)["error"]["message"]


def test_a_server_that_is_killed_and_a_line_that_is_cut_are_waited_for(cli, line, noise, folder):
    process = cli.start("upload", str(noise))
    for part in (4, 3, 2):
        line.passed(SIZE // part)
        line.cut()
    line.server.kill()
    time.sleep(1)  # The client meets a closed door.
    line.server.start()
    process.communicate(timeout=90)
    assert process.returncode == REFUSED
    assert content(line, folder) == noise.read_bytes()
    assert line.sent < SIZE * 1.5


def test_a_file_that_changes_while_it_is_sent_is_not_taken(cli, line, noise, folder):
    process = cli.start("upload", str(noise))
    line.passed(SIZE // 3)
    with open(noise, "ab") as file:
        file.write(b"more")
    _, err = process.communicate(timeout=60)
    assert process.returncode == REFUSED and "changed while it was sent" in err
    assert not list((folder / ".local/state/vitascope/uploads").iterdir())


def test_a_terminal_is_shown_how_far_it_is(cli, noise):
    ours, theirs = pty.openpty()
    process = cli.start("upload", str(noise), stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            block = os.read(ours, 4096)
        except OSError:  # How a terminal ends when nobody holds its other side.
            break
        shown += block
    os.close(ours)
    process.communicate(timeout=30)
    bars = [part for part in shown.decode().split("\r") if "[#" in part]
    assert len(bars) > 5 and "noise.mp4" in bars[0] and "MB/s" in bars[-1] and "left" in "".join(bars)


def test_what_cannot_be_sent_is_said_and_keeps_nothing_else_from_being_tried(cli, folder):
    code, out, err = cli("upload", str(folder / "missing.mp4"))
    assert (code, out) == (NOT_THERE, "") and "missing.mp4 cannot be read" in err
    films = folder / "films"
    films.mkdir()
    for name in ("one.mp4", "two.mkv", "notes.txt"):
        (films / name).write_bytes(b"not a film")
    told = cli.json("upload", str(films), str(folder / "missing.mp4"), "http://127.0.0.1:1/x.mp4", code=REFUSED)
    assert [Path(f["source"]).name for f in told["failed"]] == ["one.mp4", "two.mkv", "missing.mp4", "x.mp4"]
    assert [Path(s).name for s in told["skipped"]] == ["notes.txt"] and told["not_tried"] == []
    assert told["success"] is False and told["uploaded"] == []
    assert cli("upload")[0] == 2
    assert cli("upload", str(films), "--name", "x")[0] == REFUSED
