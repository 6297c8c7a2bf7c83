"""What becomes of uploads later: deleted, let go by retention, checked; and the npm SDK, which sees them as the Python one does."""

import json
import subprocess
import time
from pathlib import Path

import pytest
from rig_browser import node
from rig_media import ffmpeg, film, numbers
from rig_server import Server, binaries
from rig_wire import Wire, is_error
from test_ingest import slot_with


@pytest.fixture(scope="module")
def friendly(tmp_path_factory) -> Path:
    return film(tmp_path_factory.mktemp("films") / "friendly.mp4", 6)


def files(server: Server) -> list[str]:
    objects = server.data / "objects"
    return sorted(str(p.relative_to(objects)) for p in objects.rglob("*") if p.is_file())


def check(server: Server) -> str:
    done = subprocess.run([binaries() / "vitascope", "check", "--deep"], env=server.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def upload(api: Wire, path: Path, **more) -> dict:
    answer = api("POST", f"/collection/{more.pop('collection', 'default')}/upload", {"url": slot_with(api, path), **more})
    assert answer.json["success"], answer.text
    return answer.data


def test_a_file_goes_with_its_last_asset_and_what_is_left_is_whole(own, friendly):
    api = Wire(own.url, own.key)
    video, sound = upload(api, friendly), upload(api, friendly, media_type="audio")
    assert sound["id"].startswith("a-") and len(files(own)) == 1
    assert "orphans  0" in check(own)
    assert api("DELETE", f"/video/{video['id']}").status == 200
    assert is_error(api("GET", video["stream_url"].removeprefix(own.url)), 410)
    assert api("GET", sound["stream_url"].removeprefix(own.url)).status == 200, "the sound is another asset of the file"
    check(own)
    assert api("DELETE", f"/audio/{sound['id']}").status == 200
    # The object waits for its grace; then the sweeper has it.
    assert "waiting  1" in check(own)


def test_a_collection_goes_when_what_it_shared_lies_elsewhere(own, friendly):
    api = Wire(own.url, own.key)
    other = api("POST", "/collection", {"name": "other", "description": ""}).data["id"]
    first, second = upload(api, friendly, collection=other), upload(api, friendly)
    assert api("GET", f"/collection/{other}").data["stored_bytes"] > 0
    api("DELETE", f"/video/{first['id']}")
    assert api("GET", f"/collection/{other}").data["stored_bytes"] == 0
    assert api("GET", "/collection/default").data["stored_bytes"] >= friendly.stat().st_size * 0.99
    third = upload(api, friendly, collection=other)
    assert api("DELETE", f"/collection/{other}").status == 200
    assert is_error(api("GET", f"/video/{third['id']}"), 404)
    assert numbers(second["stream_url"]) == list(range(180))
    check(own)


def test_the_same_image_again_is_another_image_of_the_same_file(own, tmp_path):
    api, picture = Wire(own.url, own.key), tmp_path / "picture.png"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:d=0.1", "-frames:v", "1", str(picture))
    first, second = upload(api, picture), upload(api, picture)
    assert first["id"] != second["id"] and len(files(own)) == 1
    api("DELETE", f"/image/{first['id']}")
    assert "waiting  0" in check(own)
    assert api("GET", second["url"].removeprefix(own.url)).status == 200
    api("DELETE", f"/image/{second['id']}")
    assert "waiting  1" in check(own)


def test_retention_counts_an_upload_from_when_it_came(folder, friendly):
    server = Server(folder, VITASCOPE_RETENTION_DAYS="1", VITASCOPE_RETENTION_GB="off")
    server.start()
    try:
        api = Wire(server.url, server.key)
        picture = folder / "picture.png"
        ffmpeg("-f", "lavfi", "-i", "testsrc2=s=1280x720:d=0.1", "-vf", "noise=alls=100", "-frames:v", "1", str(picture))
        image, video = upload(api, picture), upload(api, friendly)
        stored = api("GET", "/collection/default").data["stored_bytes"]

        def wait_gone(path: str, what: str) -> None:
            limit = time.monotonic() + 20
            while api("GET", path).status == 200:
                assert time.monotonic() < limit, what
                time.sleep(0.1)

        # What is too much for its collection goes in the same look as what is too old, after that: once it has gone, the ages were looked at.
        full = api("POST", "/collection", {"name": "full", "description": ""}).data["id"]
        bait = folder / "bait.png"
        ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:d=0.1", "-frames:v", "1", str(bait))
        lost = upload(api, bait, collection=full)
        api("PATCH", f"/collection/{full}", {"retention": {"max_gb": bait.stat().st_size / 2e9}})
        # Each start looks at once.
        server.stop()
        server.start()
        wait_gone(f"/image/{lost['id']}", "nothing was looked at")
        assert api("GET", f"/video/{video['id']}").status == 200 and api("GET", f"/image/{image['id']}").status == 200

        def cap(most: float) -> None:
            server.stop()
            server.env["VITASCOPE_RETENTION_GB"] = f"{most / 1e9:.9f}"
            server.start()

        # Room for all but a little: the oldest goes.
        cap(stored - picture.stat().st_size / 2)
        wait_gone(f"/image/{image['id']}", "a server that is too full keeps the image")
        assert api("GET", f"/video/{video['id']}").status == 200
        cap(friendly.stat().st_size / 2)
        wait_gone(f"/video/{video['id']}", "a server that is too full keeps the upload")
        assert "waiting  3" in check(server)
    finally:
        if server.running:
            server.kill()


def test_row_upload_by_the_npm_sdk(server, friendly):
    said = node("node_upload.js", json.dumps({"base": server.url, "key": server.key, "file": str(friendly)}))
    assert said["kind"] == "Video" and said["id"].startswith("m-") and said["length"] == pytest.approx(6, abs=0.05)
    assert said["name"] == "of npm" and said["sound"].startswith("a-")
    assert numbers(said["streamUrl"]) == list(range(180))
