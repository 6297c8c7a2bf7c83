"""Uploads that become assets. Contract: core.md §2 (envelope, hold rule, callbacks) and §4 (POST /collection/{id}/upload)."""

import http.server
import json
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from rig_media import ffmpeg, film, numbers, sound_seconds
from rig_server import Server
from rig_wire import Wire, is_error
from test_upload import send


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="module")
def friendly(films) -> Path:
    """A film that can be cut as it is."""
    return film(films / "friendly.mp4", 10, more="-movflags +faststart")


@pytest.fixture(scope="module")
def photo(films) -> Path:
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:d=0.1", "-frames:v", "1", str(films / "photo.png"))
    return films / "photo.png"


@pytest.fixture
def site(films):
    """The films under http URLs, and whatever is posted back."""

    class Door(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(films))

        def do_GET(self):
            if not self.path.startswith("/slow/"):
                return super().do_GET()
            # Byte by byte for the first seconds that the path names, as a bad line gives it.
            _, _, seconds, name = self.path.split("/")
            content = (films / name).read_bytes()
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            for at in range(int(float(seconds) * 10)):
                self.wfile.write(content[at : at + 1])
                time.sleep(0.1)
            self.wfile.write(content[int(float(seconds) * 10) :])

        def do_POST(self):
            told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()
            heard.set()

        def log_message(self, *_):
            pass

    told, heard = [], threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url, server.told, server.heard = f"http://127.0.0.1:{server.server_address[1]}", told, heard
    yield server
    server.shutdown()


def slot_with(api, path: Path, name: str | None = None) -> str:
    url = api("GET", "/collection/default/upload_url" + (f"?name={name}" if name else "")).data["upload_url"]
    send(url, path.read_bytes(), name=path.name)
    return url


def test_row_upload_of_a_film_by_the_python_sdk_plays_every_frame_at_once(conn, friendly):
    video = conn.get_collection().upload(file_path=str(friendly), name="A friendly film")
    assert type(video).__name__ == "Video" and video.id.startswith("m-")
    assert (video.name, video.collection_id) == ("A friendly film", conn.get_collection().id)
    assert float(video.length) == pytest.approx(10, abs=0.05)
    assert numbers(video.stream_url) == list(range(300))
    assert sound_seconds(video.stream_url) == pytest.approx(10, abs=0.05)
    assert "/watch?" in video.player_url and "v=" in video.player_url


def test_row_upload_infers_the_kind_from_bytes(api, conn, films, photo, friendly):
    hidden = films / "no-extension"
    hidden.write_bytes(photo.read_bytes())
    image = conn.upload(file_path=str(hidden))
    assert type(image).__name__ == "Image" and image.id.startswith("img-") and image.name == "no-extension"
    with urllib.request.urlopen(image.url, timeout=30) as answer:
        assert answer.read() == photo.read_bytes()
    sound = conn.upload(file_path=str(friendly), media_type="audio")
    assert type(sound).__name__ == "Audio" and sound.id.startswith("a-")
    assert float(sound.length) == pytest.approx(10, abs=0.05)
    url = sound.generate_url()
    assert sound_seconds(url) == pytest.approx(10, abs=0.05)


def test_row_upload_names_the_asset_as_asked_else_after_the_file(api, photo):
    answer = api("POST", "/collection/default/upload", {"url": slot_with(api, photo)})
    assert answer.data["name"] == "photo.png"
    answer = api("POST", "/collection/default/upload", {"url": slot_with(api, photo, "slot"), "name": None, "media_type": ""})
    assert answer.data["name"] == "slot"
    words = {"url": slot_with(api, photo, "slot"), "name": "asked", "description": "of a test"}
    answer = api("POST", "/collection/default/upload/", words)
    assert (answer.data["name"], answer.data["description"]) == ("asked", "of a test")


def test_what_is_asked_wrongly_is_said_at_once(api, photo):
    def refused(body: dict) -> str:
        answer = api("POST", "/collection/default/upload", body)
        assert is_error(answer, 400), answer.json
        return answer.json["message"]

    assert refused({}).startswith("url is required")
    assert "media_type must be" in refused({"url": slot_with(api, photo), "media_type": "film"})
    assert "nothing was sent" in refused({"url": api("GET", "/collection/default/upload_url").data["upload_url"]})
    assert "http" in refused({"url": "file:///etc/passwd"})
    assert is_error(api("POST", "/collection/c-nobodys/upload", {"url": "http://example.org/x"}), 404)


@pytest.mark.parametrize("content", [b"", b"words, not media", b"#EXTM3U\nfile:///etc/passwd\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_what_is_no_media_fails_with_what_is_wrong_and_leaves_nothing(own, films, content):
    api = Wire(own.url, own.key)
    (films / "nothing").write_bytes(content)
    answer = api("POST", "/collection/default/upload", {"url": slot_with(api, films / "nothing")})
    assert (answer.status, answer.json["success"], answer.json["status"]) == (200, False, "failed")
    assert answer.json["message"] and answer.json["response"]["success"] is False
    assert api("GET", "/assets").data == []
    objects = own.data / "objects"
    assert [p for p in objects.rglob("*") if p.is_file()] == []


def test_a_still_image_is_no_video(api, photo):
    answer = api("POST", "/collection/default/upload", {"url": slot_with(api, photo), "media_type": "video"})
    assert answer.json["success"] is False and "still image" in answer.json["message"]


def test_the_same_content_again_is_another_asset_of_the_same_file(own, friendly):
    api = Wire(own.url, own.key)
    ids = [api("POST", "/collection/default/upload", {"url": slot_with(api, friendly)}).data["id"] for _ in range(3)]
    assert len(set(ids)) == 3
    objects = own.data / "objects" / "originals"
    assert len([p for p in objects.rglob("*") if p.is_file()]) == 1
    assert api("DELETE", f"/video/{ids[0]}").status == 200
    stream = api("GET", f"/video/{ids[1]}").data["stream_url"]
    assert numbers(stream) == list(range(300))


def test_row_upload_from_a_url_and_with_a_callback(site, folder, photo):
    server = Server(folder, VITASCOPE_ALLOW_PRIVATE_URLS="true")
    server.start()
    try:
        api = Wire(server.url, server.key)
        answer = api("POST", "/collection/default/upload", {"url": f"{site.url}/photo.png"})
        assert answer.data["id"].startswith("img-") and answer.data["name"] == "photo.png"
        answer = api("POST", "/collection/default/upload", {"url": f"{site.url}/photo.png", "callback_url": f"{site.url}/hook"})
        # What makes the SDKs return nothing instead of polling, or of taking it for an asset.
        assert answer.json["success"] is True and answer.json.get("status") != "processing"
        assert not answer.data["id"].startswith(("m-", "a-", "img-"))
        assert site.heard.wait(20)
        told = site.told[0]
        assert (told["success"], told["status"], told["id"]) == (True, "done", answer.data["id"])
        assert told["data"]["id"].startswith("img-") and told["response"]["data"] == told["data"]
        polled = api("GET", f"/async-response/{answer.data['id']}")
        assert polled.data == told["data"]
        gone = api("POST", "/collection/default/upload", {"url": f"{site.url}/not-there.png"})
        assert gone.json["success"] is False and "404" in gone.json["message"]
    finally:
        server.stop()


def test_row_envelope_of_work_that_takes_longer_than_a_call_is_held(site, folder, photo):
    """Contract: core.md §2. 20 s are held, then the envelope; a poll of it is held in the same way and has the answer of the call."""
    server = Server(folder, VITASCOPE_ALLOW_PRIVATE_URLS="true")
    server.start()
    try:
        api, began = Wire(server.url, server.key), time.monotonic()
        first = api("POST", "/collection/default/upload", {"url": f"{site.url}/slow/22/photo.png"})
        assert 19 < time.monotonic() - began < 22
        assert (first.json["success"], first.json["status"], first.json["request_type"]) == (True, "processing", "sync")
        assert first.data["output_url"].startswith(f"{server.url}/async-response/") and 0 <= first.data["percentage"] <= 100
        polled = api("GET", first.data["output_url"].removeprefix(server.url))
        assert 21 < time.monotonic() - began < 30
        assert (polled.json["status"], polled.json["response"]["success"]) == ("done", True)
        assert polled.data["id"].startswith("img-") and polled.json["response"]["data"] == polled.data
        other = api("POST", "/user/api_key").data["api_key"]
        assert api.As(other)("GET", f"/async-response/{first.data['id']}").data == polled.data, "another key of the same owner"
        assert is_error(api.As(None)("GET", f"/async-response/{first.data['id']}"), 401)
        server.stop()
        server.start()
        assert api("GET", f"/async-response/{first.data['id']}").data == polled.data, "kept over a restart"
    finally:
        server.stop()


def test_an_accepted_upload_survives_kill_9_and_makes_one_asset(own, site, friendly, photo):
    """With a callback the answer comes before the work: what it promised is kept, once."""
    api, owed = Wire(own.url, own.key), []
    for path in (friendly, photo, friendly):
        order = {"url": slot_with(api, path), "callback_url": f"{site.url}/hook"}
        owed.append(api("POST", "/collection/default/upload", order).data["id"])
        own.kill()
        own.start()
        api = Wire(own.url, own.key)
    made = [api("GET", f"/async-response/{job}").data["id"] for job in owed]
    assert len(set(made)) == 3
    assert {a["id"] for a in api("GET", "/assets").data} == set(made)
    stream = api("GET", f"/video/{made[2]}").data["stream_url"]
    assert numbers(stream) == list(range(300))
