"""Objects in an S3-compatible store: what was captured or uploaded lies there and plays from there; while it is away nothing is lost."""

import re
import subprocess
import time
import urllib.request
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from rig_media import film, numbers
from rig_s3 import BUCKET, S3
from rig_server import Server, binaries
from rig_session import MIC, SCREEN, SESSIONS
from rig_slow import SlowLine
from rig_wire import Wire
from test_cli import Cli
from test_retention import record

pytestmark = pytest.mark.timeout(240)


def serve(folder: Path, settings: dict) -> Server:
    server = Server(folder, **settings)
    server.start()
    return server


@pytest.fixture
def s3(folder):
    with S3(folder) as s3:
        yield s3


@pytest.fixture
def server(s3, folder):
    server = serve(folder, s3.settings())
    yield server
    if server.running:
        assert server.stop() == 0, server.tail()


def waiting(server: Server) -> list[Path]:
    return [path for path in (server.data / "objects").rglob("*") if path.is_file()]


def all_sent(server: Server, patience: float = 90) -> None:
    until = time.monotonic() + patience
    while waiting(server):
        assert time.monotonic() < until, (waiting(server), server.tail())
        time.sleep(0.2)


def media(stream_url: str) -> bytes:
    """All bytes that a player fetches."""
    def fetch(url: str) -> bytes:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.read()

    playlist = fetch(stream_url).decode()
    names = re.findall(r'URI="([^"]+)"', playlist) + [line for line in playlist.splitlines() if line and not line.startswith("#")]
    assert len(names) >= 2, playlist
    return b"".join(fetch(urljoin(stream_url, name)) for name in names)


def run(server: Server, *words: str) -> tuple[int, str]:
    done = subprocess.run([str(binaries() / "vitascope"), *words], env=server.environment, capture_output=True, text=True, timeout=90)
    return done.returncode, done.stdout + done.stderr


def test_what_was_captured_plays_from_there(server, s3, folder):
    api = Wire(server.url, server.key)
    session = record(api, folder, 10, SCREEN, MIC)
    video = api("GET", f"/video/{api('GET', f'{SESSIONS}/{session}').data['exported_video_id']}").data
    before = media(video["stream_url"])
    all_sent(server)
    stored = s3.keys()
    # Two chunks at least of each: one is sealed after eight seconds.
    assert len(stored) >= 4 and all(re.fullmatch(r"lab/tracks/trk-[^/]+/\d+\.dat", key) for key in stored)
    assert not (server.data / "copies").exists() or not list((server.data / "copies").iterdir())
    assert media(video["stream_url"]) == before, "the same bytes, from there"
    code, said = run(server, "check", "--deep")
    assert code == 0 and "unsent   0 objects" in said and "orphans  0" in said
    # A new process finds it, too.
    server.kill()
    server.start()
    assert media(video["stream_url"]) == before
    code, said = run(server, "doctor")
    assert "ok       object store" in said
    assert s3.keys() == stored, "the probe leaves nothing behind"


def test_what_was_uploaded_plays_from_there(server, s3, folder):
    """Larger than what is sent in one piece."""
    rich = "-c:v libx264 -preset ultrafast -crf 3 -bf 0 -g 30 -flags +cgop -sc_threshold 0 -pix_fmt yuv420p"
    source = film(folder / "rich.mp4", 10, size="1280x720", video=rich, more="-movflags +faststart")
    assert source.stat().st_size > 16_000_000
    video = Cli(server, folder).json("upload", str(source))["uploaded"][0]["asset"]
    all_sent(server)
    assert [size for key, size in s3.keys().items() if key.startswith("lab/originals/")] == [source.stat().st_size]
    assert numbers(video["stream_url"]) == list(range(300))


def test_while_it_is_away_nothing_is_lost(s3, folder, measured):
    with SlowLine(s3.port, 50_000_000) as line:
        line.refuse()
        server = serve(folder, s3.settings(line.url))
        try:
            api = Wire(server.url, server.key)
            session = record(api, folder, 10, SCREEN)
            video = api("GET", f"/video/{api('GET', f'{SESSIONS}/{session}').data['exported_video_id']}").data
            before = media(video["stream_url"])
            assert s3.keys() == {} and len(waiting(server)) >= 2
            until = time.monotonic() + 30
            while "could not be sent to the object store" not in server.tail(50_000):
                assert time.monotonic() < until, "nobody is told"
                time.sleep(0.2)
            assert run(server, "check")[0] == 1, "it cannot be looked at"
            code, said = run(server, "doctor")
            assert code == 1 and "missing  object store: the object store cannot be reached" in said
            server.kill()
            assert server.start() < 5
            assert media(video["stream_url"]) == before
            line.accept()
            began = time.monotonic()
            all_sent(server)
            measured("sent, after the store came back", time.monotonic() - began, "s", "< 64")
            assert media(video["stream_url"]) == before
            # Gone again: what lies there only cannot be had now, and that is said.
            line.refuse()
            first = urljoin(video["stream_url"], re.findall(r"^[^#].*", urllib.request.urlopen(video["stream_url"]).read().decode(), re.M)[0])
            answer = Wire(server.url)("GET", urlsplit(first).path)
            assert answer.status == 503 and "object store cannot be reached" in answer.json["message"]
            line.accept()
            assert media(video["stream_url"]) == before
        finally:
            if server.running:
                server.kill()


def test_a_server_that_had_its_objects_here_sends_them_there(s3, folder):
    server = Server(folder)
    server.start()
    api = Wire(server.url, server.key)
    session = record(api, folder, 2, SCREEN)
    video = api("GET", f"/video/{api('GET', f'{SESSIONS}/{session}').data['exported_video_id']}").data
    before = media(video["stream_url"])
    assert server.stop() == 0
    server.env |= s3.settings()
    server.start()
    all_sent(server)
    assert len(s3.keys()) >= 1 and media(video["stream_url"]) == before
    assert server.stop() == 0


def test_what_is_wrong_with_the_settings_is_said(folder):
    with S3(folder, strict=True) as s3:
        refused = Server(folder, **s3.settings())
        code, said = run(refused, "doctor")
        assert code == 1 and "missing  object store: the object store refuses our key" in said
    with S3(folder) as s3:
        nowhere = Server(folder, **s3.settings(bucket="nowhere"))
        code, said = run(nowhere, "doctor")
        assert code == 1 and 'the object store has no bucket "nowhere"' in said
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        without = Server(folder, **s3.settings() | {name: ""})
        code, said = run(without, "doctor")
        assert code == 1 and name in said


def test_orphans_there_are_found_and_removed(folder):
    with S3(folder, aged=True) as s3:
        server = serve(folder, s3.settings())
        assert server.stop() == 0
        orphan = "lab/tracks/trk-00000000-0000-7000-8000-000000000000/1.dat"
        s3.ask("PUT", f"/{BUCKET}/{orphan}", b"nobody speaks of it")
        # Not ours: it lies outside of the prefix.
        s3.ask("PUT", f"/{BUCKET}/other/file", b"x")
        code, said = run(server, "check")
        assert code == 1 and orphan.removeprefix("lab/") in said and "other" not in said
        code, said = run(server, "check", "--repair")
        assert code == 0 and "removed  1 orphans" in said
        assert set(s3.keys()) == {"other/file"}
