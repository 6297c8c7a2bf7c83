"""Usage and files to take away, as the SDKs and plain clients see them. Contract: core.md §14."""

import contextlib
import http.client
import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import videodb
from rig_browser import node
from rig_media import ffmpeg, film, numbers, probe, sound_seconds
from rig_publish import Publisher
from rig_session import SCREEN, SESSIONS, started, until
from rig_wire import Wire, is_error, is_success
from test_upload import send

PAYMENT = [
    ("POST", "/billing/checkout"), ("GET", "/billing/checkouts"), ("POST", "/billing/topup"),
    ("GET", "/billing/auto_recharge"), ("POST", "/billing/auto_recharge"),
]  # fmt: skip


class TestUsage:
    def test_python_reads_what_was_used(self, conn, api):
        before = conn.check_usage()
        assert is_success(api("GET", "/user"))
        after = conn.check_usage()
        assert after["credit_balance"] == 0 and after["usage_this_month"] == 0, "nobody is billed"
        assert after["breakdown"]["requests"] >= before["breakdown"]["requests"] + 2
        assert all(isinstance(n, (int, float)) for n in after["breakdown"].values()), after["breakdown"]
        assert after["in_all"]["requests"] >= after["breakdown"]["requests"] and after["months"][0]["month"] == after["month"]
        assert conn.get_invoices() == []

    def test_npm_reads_it_as_well(self, server):
        told = node("node_files.js", server.url, server.key, "usage")
        assert told["usage"]["creditBalance"] == 0 and told["usage"]["breakdown"]["requests"] > 0
        assert told["invoices"] == {}, "this SDK makes an object of a list, and there is nothing in it"

    @pytest.mark.parametrize("method, path", PAYMENT)
    def test_there_is_nothing_to_pay(self, api, method, path):
        answer = api(method, path, {"amount": 50} if method == "POST" else None)
        assert is_error(answer, 403) and "nothing to pay" in answer.json["message"]

    def test_a_kill_loses_seconds_at_most_and_a_stop_nothing(self, own):
        api = Wire(own.url, own.key)
        sent = b"x" * 5000
        url = api("GET", "/collection/default/upload_url").data["upload_url"]
        form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + sent + b"\r\n--b--\r\n"
        request = urllib.request.Request(url, form, {"content-type": "multipart/form-data; boundary=b"})
        assert urllib.request.urlopen(request, timeout=10).status == 200
        # Asking writes it down.
        counted = api("GET", "/billing/usage").data["breakdown"]
        assert counted["bytes_in"] == len(sent) and counted["bytes_stored"] == len(sent)
        own.kill()
        own.start()
        after = api("GET", "/billing/usage").data["breakdown"]
        assert after["bytes_in"] == len(sent) and after["requests"] == counted["requests"] + 1
        for _ in range(20):
            api("GET", "/user")
        assert own.stop() == 0
        own.start()
        assert api("GET", "/billing/usage").data["breakdown"]["requests"] == after["requests"] + 21


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="module")
def friendly(server, films):
    """A film of ten seconds that can be cut as it is."""
    conn = videodb.connect(api_key=server.key, base_url=server.url)
    return conn.upload(file_path=str(film(films / "friendly.mp4", 10)), name="A friendly film")


def boxes(path: Path) -> list[str]:
    """The outermost boxes of an MP4 file, in order."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append(data[at + 4 : at + 8].decode())
        at += size
    assert at == len(data)
    return found


def fetched(url: str, path: Path) -> dict[str, str]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        path.write_bytes(answer.read())
        return {k.lower(): v for k, v in answer.headers.items()}


class TestDownload:
    def test_row_download_of_a_video_has_every_frame_and_all_the_sound(self, conn, friendly, films):
        made = friendly.download(name="taken.mp4")
        assert made["status"] == "done" and made["name"] == "taken.mp4" and made["id"].startswith("dl-")
        assert made["length"] == pytest.approx(10, abs=0.05)
        path = films / "taken.mp4"
        headers = fetched(made["download_url"], path)
        assert headers["content-type"] == "video/mp4" and 'filename="taken.mp4"' in headers["content-disposition"]
        assert made["size"] == str(path.stat().st_size) == headers["content-length"]
        assert boxes(path) == ["ftyp", "moov", "mdat"], "it plays while it comes in"
        assert numbers(path) == list(range(300))
        assert sound_seconds(path) == pytest.approx(10, abs=0.05)
        assert float(probe(path, "format=duration")) == pytest.approx(10, abs=0.05)
        assert probe(path, "stream=codec_tag_string").split() == ["avc1", "mp4a"]

    def test_a_file_with_frames_out_of_order_keeps_its_order(self, conn, films):
        """B-frames play as the file has them."""
        source = film(films / "b-frames.mp4", 4, video="-c:v libx264 -preset veryfast -bf 2 -g 30 -pix_fmt yuv420p")
        try:
            video = conn.upload(file_path=str(source))
        except videodb.exceptions.InvalidRequestError as error:
            if "not built yet" in str(error):
                pytest.skip("files that have to be encoded are not taken yet")
            raise
        path = films / "b-frames-taken.mp4"
        fetched(video.download()["download_url"], path)
        assert numbers(path) == list(range(120))

    def test_row_download_of_sound_is_a_sound_file(self, conn, films):
        source = films / "tone.m4a"
        ffmpeg("-f", "lavfi", "-i", "sine=f=440:r=48000:d=5,pan=stereo|c0=c0|c1=c0", "-c:a", "aac", str(source))
        audio = conn.upload(file_path=str(source), name="A tone")
        stream = next(a for a in conn.get("assets") if a["id"] == audio.id)["stream_url"]
        made = conn.download(stream, "A tone")
        headers = fetched(made["download_url"], films / "taken.m4a")
        assert headers["content-type"] == "audio/mp4" and 'filename="A tone.m4a"' in headers["content-disposition"]
        assert sound_seconds(films / "taken.m4a") == pytest.approx(5, abs=0.05)

    def test_a_player_url_names_the_stream_as_well(self, conn, api, friendly):
        for link in (friendly.player_url, f"https://console.videodb.io/player?url={friendly.stream_url}"):
            assert conn.download(link, "x")["status"] == "done"

    def test_npm_downloads_it(self, server, friendly):
        told = node("node_files.js", server.url, server.key, "download", friendly.id)
        assert told["download"]["status"] == "done" and told["type"] == "video/mp4"
        assert told["bytes"] == int(told["download"]["size"])

    def test_downloads_are_listed_shown_and_deleted(self, conn, api, friendly):
        first, second = friendly.download("first"), friendly.download("second")
        listed = api("GET", "/download?page_index=0&count=2").data["downloads"]
        assert [d["id"] for d in listed] == [second["id"], first["id"]]
        assert api("GET", "/download?page_index=1&count=1").data["downloads"][0]["id"] == first["id"]
        assert api("GET", f"/download/{first['id']}").data == first
        again = api("POST", f"/download/{first['id']}")
        assert is_success(again) and again.data["id"] == first["id"], "one that is done is not made again"
        assert is_success(api("DELETE", f"/download?download_id={first['id']}"))
        assert is_error(api("GET", f"/download/{first['id']}"), 404)
        with pytest.raises(urllib.error.HTTPError) as gone:
            urllib.request.urlopen(first["download_url"], timeout=10)
        assert gone.value.code == 410

    def test_it_goes_with_its_video(self, conn, api, films):
        video = conn.upload(file_path=str(film(films / "short.mp4", 2, tone=500)))
        made = video.download()
        video.delete()
        with pytest.raises(urllib.error.HTTPError) as gone:
            urllib.request.urlopen(made["download_url"], timeout=10)
        assert gone.value.code == 410
        refused = api("POST", "/download", {"stream_link": video.stream_url, "name": "x"})
        assert is_error(refused, 410)

    def test_a_range_of_a_recording_becomes_a_file(self, server, api, films):
        session, _, urls = started(api, SCREEN)
        publisher = Publisher(urls["display:1"], "video", films)
        until(api, session, "active")
        time.sleep(6)
        publisher.end()
        stream = api("GET", f"{SESSIONS}/{session}").data["rtstreams"][0]["id"]
        live = api("GET", f"/rtstream/{stream}").data["stream_url"]
        assert is_error(api("POST", "/download", {"stream_link": live}), 400), "a live stream has no end"
        assert is_success(api("POST", f"/capture/session/{session}/stop"))
        until(api, session, "exported")
        now = time.time()
        piece = api("GET", f"/rtstream/{stream}/stream?start={int(now) - 60}&end={int(now) - 2}").data["stream_url"]
        made = api("POST", "/download", {"stream_link": piece, "name": "a range"})
        assert is_success(made), made.json
        path = films / "range.mp4"
        fetched(made.data["download_url"], path)
        count = int(probe(path, "stream=nb_frames").split()[0])
        assert count > 20
        assert float(probe(path, "format=duration")) == pytest.approx(made.data["length"], abs=0.1)
        shown = subprocess.run(
            ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", piece, "-f", "framemd5", "-"], check=True, capture_output=True, timeout=60
        ).stdout
        taken = subprocess.run(
            ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", str(path), "-f", "framemd5", "-"], check=True, capture_output=True, timeout=60
        ).stdout
        pictures = [[line.split(b",")[-1] for line in text.splitlines() if not line.startswith(b"#")] for text in (shown, taken)]
        assert pictures[0] == pictures[1] and len(pictures[0]) == count

    def test_a_download_survives_a_kill(self, own, films):
        """The job is begun again: whenever the server is killed, the file is whole or not there."""
        api = Wire(own.url, own.key)
        source = film(films / "long.mp4", 60, size="1280x720", tone=600)
        url = api("GET", "/collection/default/upload_url").data["upload_url"]
        send(url, source.read_bytes())
        video = api("POST", "/collection/default/upload", {"url": url}).data
        with contextlib.suppress(Exception):
            # Nobody waits for the answer.
            asked = http.client.HTTPConnection(own.url.removeprefix("http://"), timeout=0.05)
            body = json.dumps({"stream_link": video["stream_url"], "name": "killed"})
            asked.request("POST", "/download", body, {"x-access-token": own.key, "content-type": "application/json"})
            asked.getresponse()
        own.kill()
        own.start()
        found = api("GET", "/download").data["downloads"]
        assert len(found) <= 1
        if found:
            done = api("POST", f"/download/{found[0]['id']}")
            assert is_success(done) and done.data["status"] == "done"
            path = films / "killed.mp4"
            fetched(done.data["download_url"], path)
            assert numbers(path) == list(range(1800))
        left = [f.name for f in (own.data / "uploads").iterdir() if f.name.endswith(".made")]
        assert left == []
