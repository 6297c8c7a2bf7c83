"""Films on pages of sites: `yt-dlp` brings them where it is installed. Here a script stands on PATH in its place, which looks at what it is
told to do; the page and the film are real."""

import http.server
import json
import os
import threading
from pathlib import Path

import pytest
from rig_media import film, numbers
from rig_server import Server
from rig_wire import Wire

pytestmark = pytest.mark.timeout(120)

PAGE = b"<!doctype html><title>A site</title><video src=blob:></video>"
STAND_IN = """#!{python}
import json, os, shutil, sys, time
words = sys.argv[1:]
with open("{folder}/told.json", "w") as file:
    json.dump([words, [k for k in os.environ if "KEY" in k]], file)
(folder,) = [w.removeprefix("home:") for w in words if w.startswith("home:")]
assert words[words.index("--output") + 1] == "film.%(ext)s" and os.listdir(folder) == []
{body}
"""


@pytest.fixture
def site(folder):
    class Door(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE)

        def log_message(self, *_):
            pass

    door = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=door.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{door.server_address[1]}/watch?v=1&list=2"
    door.shutdown()


@pytest.fixture
def serving(folder):
    """Starts a server on whose PATH there is a `yt-dlp` that does `body`, or none."""
    servers = []

    def start(body: str | None, **more: str) -> tuple[Server, Wire]:
        tools = folder / "tools"
        tools.mkdir()
        for name in ("ffmpeg", "ffprobe"):
            (tools / name).symlink_to(next(p for d in os.environ["PATH"].split(":") if (p := Path(d) / name).exists()))
        if body is not None:
            (tools / "yt-dlp").write_text(STAND_IN.format(python=os.sys.executable, folder=folder, body=body))
            (tools / "yt-dlp").chmod(0o755)
        server = Server(folder, PATH=str(tools), VITASCOPE_ALLOW_PRIVATE_URLS="true", **more)
        server.start()
        servers.append(server)
        return server, Wire(server.url, server.key)

    yield start
    for server in servers:
        if server.running:
            server.kill()


def refused(server: Server, api: Wire, site: str) -> str:
    answer = api("POST", "/collection/default/upload", {"url": site}).json
    assert answer["success"] is False
    assert list((server.data / "uploads").iterdir()) == [], "nothing is left behind"
    return answer["message"]


def test_a_film_of_a_page_becomes_a_video_with_the_pages_title(serving, site, folder):
    source = film(folder / "source.mp4", 2)
    server, api = serving(f'shutil.copy("{source}", folder + "/film.mp4")\nprint("Ein Film von der Seite")')
    video = api("POST", "/collection/default/upload", {"url": site}).data
    assert video["id"].startswith("m-") and video["name"] == "Ein Film von der Seite"
    assert numbers(video["stream_url"]) == list(range(60))
    words, keys = json.loads((folder / "told.json").read_text())
    assert words[-2:] == ["--", site] and keys == []
    for needed in ("--ignore-config", "--no-playlist", "--no-cache-dir"):
        assert needed in words
    assert words[words.index("--use-extractors") + 1] == "default,-generic"
    assert words[words.index("--max-filesize") + 1] == str(20 * 10**9)
    assert list((server.data / "uploads").iterdir()) == []


def test_where_it_is_not_installed_that_is_said(serving, site):
    said = refused(*serving(None), site)
    assert "web page, not a media file" in said and "yt-dlp, which is not installed" in said


def test_where_it_is_switched_off_that_is_said(serving, site, folder):
    said = refused(*serving("raise SystemExit", VITASCOPE_YT_DLP="false"), site)
    assert "switched off (VITASCOPE_YT_DLP)" in said and not (folder / "told.json").exists()


def test_what_it_says_of_a_page_is_told(serving, site):
    body = 'open(folder + "/film.f1.mp4", "w").write("half")\nprint("WARNING: x", file=sys.stderr)\nsys.exit("ERROR: [tube] 1: Private video")'
    assert refused(*serving(body), site) == "yt-dlp could not bring the film of the page: [tube] 1: Private video"


def test_a_site_that_it_does_not_know_is_said(serving, site):
    assert "does not know its site" in refused(*serving('sys.exit("ERROR: No suitable extractor (Any) found for URL x")'), site)


def test_more_than_may_be_taken_ends_it(serving, site):
    """A stream in pieces says nothing of its size before."""
    body = 'with open(folder + "/film.mp4", "wb") as file:\n    while True:\n        file.write(bytes(1 << 20)); file.flush(); time.sleep(0.05)'
    said = refused(*serving(body, VITASCOPE_MAX_UPLOAD="4MB"), site)
    assert "larger than 4 MB" in said


def test_a_live_page_brings_nothing(serving, site):
    assert "found nothing to bring" in refused(*serving("pass"), site)
