"""Pictures of a video, on a recording of ten seconds: thumbnails as the SDKs ask for them, the strip and the captions of the player page, the page itself
in a browser, URLs that expire, and a video whose storage is removed. Contract: core.md §5.2, rows GET and POST /video/{id}/thumbnail, GET
/video/{id}/thumbnails and DELETE /video/{id}/storage. Every picture bears its number, so the right one is told from its neighbours."""

import gzip
import json
import os
import re
import shutil
import statistics
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from rig_browser import node
from rig_publish import Publisher
from rig_session import MIC, SCREEN, SESSIONS, started, until
from rig_wire import Wire, is_error, is_success
from stage import frames

pytestmark = pytest.mark.timeout(120)


@dataclass
class Take:
    session: str
    video: str
    mic: str
    screen: str
    # Number and moment of each picture, as a player shows them.
    shown: list[frames.Frame]

    def number_at(self, at: float) -> set[int]:
        """What is shown then, give or take the rounding of a millisecond."""
        near = [f.number for f, after in zip(self.shown, [*self.shown[1:], None]) if f.at <= at + 0.001 and (not after or after.at > at - 0.001)]
        return set(near)


@pytest.fixture(scope="module")
def take(server, tmp_path_factory) -> Take:
    api, folder = Wire(server.url, server.key), tmp_path_factory.mktemp("pictures")
    session, recorder, urls = started(api, MIC, SCREEN)
    streams = {s["name"]: s["id"] for s in api("GET", f"{SESSIONS}/{session}").data["rtstreams"]}
    assert is_success(api("POST", f"/rtstream/{streams['mic:default']}/transcription", {"action": "start"}))
    publishers = [Publisher(urls[c["channel_id"]], c["type"], folder) for c in (MIC, SCREEN)]
    until(api, session, "active")
    time.sleep(10)  # What is recorded is time itself.
    for publisher in publishers:
        publisher.end()
    assert is_success(recorder("POST", f"/capture/session/{session}/stop"))
    until(api, session, "exported")
    video = api("GET", f"{SESSIONS}/{session}").data["exported_video_id"]
    return Take(session, video, streams["mic:default"], streams["display:1"], frames.read(api("GET", f"/video/{video}").data["stream_url"]))


def fetched(url: str, folder: Path) -> Path:
    """A picture that its URL gives to anybody, as a file."""
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert answer.status == 200 and answer.headers["content-type"] == "image/jpeg"
        file = folder / f"{abs(hash(url))}.jpg"
        file.write_bytes(answer.read())
    return file


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def number_in(file: Path) -> int | None:
    return frames.read(str(file))[0].number


class TestThumbnails:
    def test_row_get_thumbnail_chooses_a_picture_and_stays_with_it(self, take, conn, api, folder):
        video = conn.get_collection("default").get_video(take.video)
        assert video.thumbnail_url is None, "none was made yet"
        url = video.generate_thumbnail()
        assert url and number_in(fetched(url, folder)) is not None
        assert conn.get_collection("default").get_video(take.video).thumbnail_url == url
        again = api("GET", f"/video/{take.video}/thumbnail").data
        assert again["thumbnail_url"] == again["thumbnail"] == url and 0 <= again["timestamp"] < 5
        listed = {v["id"]: v for v in api("GET", "/video").data["videos"]}
        assert listed[take.video]["thumbnail"] == listed[take.video]["thumbnail_url"] == url

    def test_row_post_thumbnail_is_the_picture_that_is_shown_then(self, take, conn, folder, measured):
        video, took = conn.get_collection("default").get_video(take.video), []
        for at in (0.01, 1.234, 3.96, 4.04, 6.5, 8.0):
            began = time.monotonic()
            image = video.generate_thumbnail(time=at)
            took.append(time.monotonic() - began)
            assert image.id.startswith("img-") and image.collection_id == video.collection_id and image.name
            assert number_in(fetched(image.url, folder)) in take.number_at(at), at
        measured("thumbnail of 720p, p50", statistics.median(took), "s", "< 0.25")

    def test_row_post_thumbnail_twice_is_one_image(self, take, api):
        path = f"/video/{take.video}/thumbnail"
        first, again = api("POST", path, {"time": 2.5}).data, api("POST", path, {"timestamp": 2.5, "time": None}).data
        assert first == again and first["timestamp"] == 2.5 and first["video_id"] == take.video
        small = api("POST", path, {"time": 2.5, "width": 320}).data
        assert small["id"] != first["id"] and (small["width"], small["height"]) == (320, 180)
        assert (first["width"], first["height"]) == (1280, 720)
        poster = api("POST", path, {"width": 160, "height": 160}).data
        assert (poster["width"], poster["height"]) == (160, 90), "it keeps its proportions"

    def test_row_get_thumbnails_lists_images_that_are_assets(self, take, conn, api):
        video = conn.get_collection("default").get_video(take.video)
        made = video.generate_thumbnail(time=5.25)
        listed = video.get_thumbnails()
        assert made.id in [i.id for i in listed] and all(i.url and i.collection_id == video.collection_id for i in listed)
        times = [i["timestamp"] for i in api("GET", f"/video/{take.video}/thumbnails").data]
        assert times == sorted(times)
        assert made.id in [i.id for i in conn.get_collection("default").get_images()]
        assert made.id in [a["id"] for a in api("GET", "/assets?asset_type=image").data]
        with urllib.request.urlopen(made.generate_url(), timeout=10) as answer:
            assert answer.status == 200
        made.delete()
        assert made.id not in [i.id for i in video.get_thumbnails()]

    def test_moments_that_are_not_there_are_refused(self, take, api):
        path, length = f"/video/{take.video}/thumbnail", api("GET", f"/video/{take.video}").data["length"]
        beyond = api("POST", path, {"time": length + 1})
        assert is_error(beyond, 400) and "less than the length" in beyond.json["message"]
        for body in ({"time": -1}, {"time": "soon"}, {"time": 1, "width": 0}, {"time": 1, "height": 100_000}):
            assert is_error(api("POST", path, body), 400), body
        assert is_error(api("GET", f"{path}?timestamp=nan"), 400) and is_error(api("GET", f"{path}?timestamp=x"), 400)
        assert is_error(api("GET", "/video/m-nobodys/thumbnail"), 404) and is_error(api("GET", "/video/m-nobodys/thumbnails"), 404)
        assert api("GET", f"{path}/?timestamp=2.5").data["timestamp"] == 2.5


class TestNode:
    def test_npm_makes_and_lists_thumbnails(self, take, server):
        told = node("node_pictures.js", server.url, server.key, take.video)
        assert told["url"].startswith(server.url + "/images/img-")
        assert told["image"]["id"].startswith("img-") and told["image"]["url"] and told["image"]["collectionId"]
        assert told["zero"]["id"] != told["image"]["id"]
        assert {told["image"]["id"], told["zero"]["id"]} <= set(told["images"])
        assert "map is not a function" in told["listed"], "npm reads lists again: call the row with it, too"


class TestStrip:
    def test_the_strip_shows_key_frames_at_their_place(self, take, api, folder, measured):
        base = api("GET", f"/video/{take.video}").data["stream_url"].rsplit("/", 1)[0]
        began = time.monotonic()
        with urllib.request.urlopen(f"{base}/strip.vtt", timeout=20) as answer:
            assert answer.headers["content-type"] == "text/vtt; charset=utf-8"
            listed = answer.read().decode()
        tiles = re.findall(r"(\d+):(\d+):([\d.]+) --> \S+\nstrip-(\d+)\.jpg#xywh=(\d+),(\d+),(\d+),(\d+)", listed)
        assert listed.startswith("WEBVTT\n\n") and len(tiles) >= 10 and {t[3] for t in tiles} == {"0"}
        sheet = fetched(f"{base}/strip-0.jpg", folder)
        measured("strip of ten seconds, list and sheet", time.monotonic() - began, "s")
        for hours, minutes, seconds, _, x, y, width, height in tiles:
            at = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
            tile = folder / f"tile-{at}.png"
            cut = ["ffmpeg", "-v", "error", "-y", "-i", str(sheet), "-vf", f"crop={width}:{height}:{x}:{y},scale=1280:720:flags=neighbor", str(tile)]
            subprocess.run(cut, check=True, timeout=20)
            number = number_in(tile)
            moments = [f.at for f in take.shown if f.number == number]
            assert moments and at - 4 <= moments[0] <= at + 0.51, (at, number, moments)
        assert status_of(f"{base}/strip-1.jpg") == 404 and status_of(f"{base}/strip-x.jpg") == 404 and status_of(f"{base}/other.vtt") == 404

    def test_a_poster_is_there_for_whatever_has_a_picture(self, take, api, folder):
        video = api("GET", f"/video/{take.video}").data["stream_url"]
        assert number_in(fetched(video.replace("index.m3u8", "poster.jpg"), folder)) is not None
        sound = api("POST", f"/rtstream/{take.mic}/export", {}).data["stream_url"]
        assert status_of(sound.replace("index.m3u8", "poster.jpg")) == 400 and status_of(sound.replace("index.m3u8", "strip.vtt")) == 404
        live = api("GET", f"/rtstream/{take.screen}").data["stream_url"]
        assert status_of(live.replace("live.m3u8", "poster.jpg")) == 404

    def test_captions_are_what_was_said_on_the_videos_time(self, take, api):
        video = api("GET", f"/video/{take.video}").data
        answer = api("GET", video["stream_url"].removeprefix(api.base).replace("index.m3u8", "captions.vtt"))
        assert answer.status == 200 and answer.text.startswith("WEBVTT\n")
        times = [float(m) * 60 + float(s) for m, s in re.findall(r"\n00:(\d\d):([\d.]+) --> ", answer.text)]
        assert times == sorted(times) and all(0 <= t < video["length"] for t in times)
        # The film says it from its third second on; picture and sound begin within a second of each other.
        assert "best of times" in answer.text.lower() and times[0] == pytest.approx(3, abs=1.5), answer.text
        assert 'kind="captions"' in page_of(video["player_url"])


def page_of(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        return answer.read().decode()


class TestPage:
    @pytest.fixture(scope="class")
    def told(self, take, server, tmp_path_factory) -> dict:
        page = Wire(server.url, server.key)("GET", f"/video/{take.video}").data["player_url"]
        pictures = os.environ.get("VITASCOPE_PICTURES") or str(tmp_path_factory.mktemp("page"))
        return node("watcher.js", json.dumps({"page": page, "pictures": pictures, "chromium": shutil.which("chromium")}))

    def test_keys_play_and_go_to_moments(self, told):
        assert not told["playing"]["paused"] and told["playing"]["play"] == "Pause"
        length, places = told["playing"]["duration"], told["places"]
        assert places["half"] == pytest.approx(length / 2, abs=0.05)
        assert places["on"] == pytest.approx(min(length, places["half"] + 10), abs=0.2) and places["back"] == pytest.approx(max(0, places["on"] - 10), abs=0.2)
        assert places["left"] == pytest.approx(max(0, places["back"] - 5), abs=0.05) and places["right"] == pytest.approx(places["left"] + 5, abs=0.05)
        assert places["start"] == 0

    def test_speed_sound_and_buttons(self, told):
        assert (told["faster"]["rate"], told["faster"]["speed"], told["slower"]["rate"]) == (1.5, "1.5", 1.25)
        assert told["muted"]["muted"] and told["button"]["muted"] and told["button"]["paused"], "space on a button presses the button"

    def test_the_strip_follows_the_pointer(self, told):
        preview = told["preview"]
        assert "strip-0.jpg" in preview["image"] and preview["width"] == 160
        minutes, seconds = preview["moment"].split(":")
        assert int(minutes) * 60 + int(seconds) == pytest.approx(told["playing"]["duration"] * 0.6, abs=1.1)

    def test_captions_are_shown(self, told):
        assert "best of times" in " ".join(c["text"] for c in told["captions"]).lower()

    def test_links_begin_and_end_where_they_say(self, told):
        assert "/watch?v=" in told["link"] and float(told["link"].split("#t=")[1]) == pytest.approx(told["copiedAt"], abs=0.06)
        assert told["begins"] == pytest.approx(2, abs=0.05) and 3.5 <= told["ends"] < 4.1

    def test_nothing_is_asked_of_anybody_else_and_everything_has_a_name(self, told):
        assert told["foreign"] == [] and told["logged"] == [] and told["nameless"] == []
        assert told["lightOverflow"] == 0 and told["darkOverflow"] == 0, "nothing sticks out on a phone"

    def test_who_shows_a_link_to_it_finds_what_to_show(self, told, take, api, folder):
        tags, video = told["tags"], api("GET", f"/video/{take.video}").data
        assert tags["og:title"] == tags["twitter:title"] == video["name"] and tags["og:video"] == video["stream_url"]
        assert tags["og:url"] == video["player_url"] and tags["twitter:player"] == video["player_url"].replace("/watch?", "/embed?")
        assert tags["og:image"] == tags["twitter:image"] and number_in(fetched(tags["og:image"], folder)) is not None


class TestExpiringUrls:
    def test_they_play_until_they_end_and_do_not_tell_the_id(self, take, api):
        video = api("GET", f"/video/{take.video}").data
        asked = time.time()
        expiring = api("GET", f"/video/{take.video}?expires_in=4").data
        stream_id = video["stream_url"].split("/")[-2]
        assert stream_id not in json.dumps(expiring) and expiring["id"] == take.video
        page = page_of(expiring["player_url"])
        assert "/streams/~" in page and stream_id not in page
        seen = frames.sequence(frames.read(expiring["stream_url"]))
        assert seen.whole and seen.frames == len(take.shown), "segments inherit it"
        answer = api("GET", expiring["stream_url"].removeprefix(api.base))
        assert answer.headers["cache-control"].startswith("private, max-age=")
        time.sleep(max(0.0, asked + 5 - time.time()))  # What expires is time itself.
        for url in (expiring["stream_url"], expiring["stream_url"].replace("index.m3u8", "0.m4s"), expiring["player_url"]):
            assert is_error(api("GET", url.removeprefix(api.base)), 403), url
        assert status_of(video["stream_url"]) == 200, "the other one plays on"

    def test_they_cannot_be_made_up_or_made_longer(self, take, api):
        url = api("GET", f"/video/{take.video}?expires_in=60").data["stream_url"]
        head, expires, rest = re.fullmatch(r"(.*/~)(\d+)\.([0-9a-f]+)/index\.m3u8", url).groups()
        turned = rest[:-1] + ("0" if rest[-1] != "0" else "1")
        for forged in (f"{head}{int(expires) + 60}.{rest}", f"{head}{expires}.{turned}", f"{head}{expires}.{rest[:32]}", f"{head}x.{rest}", f"{head}{expires}"):
            assert status_of(forged + "/index.m3u8") == 404, forged

    def test_every_call_with_such_urls_knows_it(self, take, api):
        for path in ("/video?expires_in=60", f"/rtstream/{take.screen}?expires_in=60", "/assets?expires_in=60", f"{SESSIONS}/{take.session}?expires_in=60"):
            told = re.findall(r'"(?:stream|player)_url":\s*"([^"]+)"', api("GET", path).text)
            assert told and all("~" in url for url in told), path
        assert is_error(api("GET", f"/video/{take.video}?expires_in=soon"), 400) and is_error(api("GET", f"/video/{take.video}?expires_in=0"), 400)


class TestPacked:
    def test_a_playlist_is_packed_for_who_unpacks_it(self, take, api):
        path = api("GET", f"/video/{take.video}").data["stream_url"].removeprefix(api.base)
        plain = api("GET", path)
        request = urllib.request.Request(api.base + path, headers={"accept-encoding": "gzip"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            packed, headers = answer.read(), {k.lower(): v for k, v in answer.headers.items()}
        assert headers["content-encoding"] == "gzip" and headers["vary"] == plain.headers["vary"] == "accept-encoding"
        assert gzip.decompress(packed).decode() == plain.text and int(headers["content-length"]) == len(packed) < len(plain.text)
        assert "content-encoding" not in plain.headers and headers["etag"] != plain.headers["etag"]
        again = api("GET", path, headers={"accept-encoding": "gzip", "if-none-match": headers["etag"]})
        assert again.status == 304


class TestStorage:
    """Last, since it ends what the others look at."""

    def test_row_delete_storage_keeps_the_video_and_what_shows_it(self, take, conn, api):
        video = conn.get_collection("default").get_video(take.video)
        made = video.generate_thumbnail(time=1.5)
        assert api("GET", f"/video/{take.video}").data["storage"] == "stored" and status_of(video.stream_url) == 200
        video.remove_storage()
        video.remove_storage()
        shown = api("GET", f"/video/{take.video}").data
        assert (shown["storage"], shown["size"], shown["length"]) == ("dropped", "0", pytest.approx(video.length)) and shown["thumbnail_url"]
        played = api("GET", shown["stream_url"].removeprefix(api.base))
        assert is_error(played, 410) and "storage" in played.json["message"]
        assert made.id in [i.id for i in video.get_thumbnails()] and status_of(made.url) == 200
        assert video.generate_thumbnail(time=1.5).id == made.id, "what is there is answered"
        assert is_error(api("POST", f"/video/{take.video}/thumbnail", {"time": 1.75}), 410)

    def test_what_the_rtstream_owns_stays(self, take, api):
        screen = next(s for s in api("GET", f"{SESSIONS}/{take.session}").data["rtstreams"] if s["name"] == "display:1")
        again = api("POST", f"/rtstream/{screen['id']}/export", {}).data
        assert again["video_id"] != take.video
        assert frames.sequence(frames.read(api("GET", f"/video/{again['video_id']}").data["stream_url"])).whole

    def test_npm_removes_storage_and_a_stranger_does_not(self, take, api, server):
        screen = next(s for s in api("GET", f"{SESSIONS}/{take.session}").data["rtstreams"] if s["name"] == "display:1")
        exported = api("POST", f"/rtstream/{screen['id']}/export", {}).data["video_id"]
        assert is_error(api("DELETE", "/video/m-nobodys/storage"), 404)
        assert node("node_pictures.js", server.url, server.key, exported, "remove")["removed"] is True
        assert api("GET", f"/video/{exported}").data["storage"] == "dropped"
        assert is_success(api("DELETE", f"/video/{exported}")) and is_error(api("GET", f"/video/{exported}"), 404)
