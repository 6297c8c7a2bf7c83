"""Pictures of a video, on a recording of ten seconds: thumbnails as the SDKs ask for them. Contract: core.md §5.2, rows GET and POST
/video/{id}/thumbnail and GET /video/{id}/thumbnails. Every picture bears its number, so the right one is told from its neighbours."""

import statistics
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
    publishers = [Publisher(urls[c["channel_id"]], c["type"], folder) for c in (MIC, SCREEN)]
    until(api, session, "active")
    time.sleep(10)  # What is recorded is time itself.
    for publisher in publishers:
        publisher.end()
    assert is_success(recorder("POST", f"/capture/session/{session}/stop"))
    until(api, session, "exported")
    video = api("GET", f"{SESSIONS}/{session}").data["exported_video_id"]
    return Take(session, video, frames.read(api("GET", f"/video/{video}").data["stream_url"]))


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
