"""Thumbnails, posters and the strip of what was uploaded: films with B-frames, films that are still being encoded, and lists of moments of them, whose pages
are used in a browser as well. Every picture bears its number, so the one that is shown at a moment is told from its neighbours. Recordings: test_pictures.py."""

import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urljoin

import pytest
from rig_browser import node
from rig_media import ffmpeg, film, numbers
from rig_wire import Wire, is_error

pytestmark = pytest.mark.timeout(180)

# Pictures a second, seconds, size, and how each is coded. None of the last three can be cut as it lies; the last two take a while to encode.
FILMS = {
    "plain": ("a.mp4", 30, 12, "640x360", "-c:v libx264 -preset ultrafast -bf 0 -g 30 -flags +cgop -sc_threshold 0 -pix_fmt yuv420p"),
    "b-frames": ("b.mp4", 25, 12, "640x360", "-c:v libx264 -preset veryfast -bf 3 -g 250 -pix_fmt yuv420p"),
    "hevc": ("c.mp4", 30, 60, "1280x720", "-c:v libx265 -preset ultrafast -x265-params log-level=none -pix_fmt yuv420p"),
    "vp9": ("d.webm", 25, 60, "1280x720", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -row-mt 1 -g 128 -b:v 2M"),
}
# Spans of a list by the numbers of their pictures, none of them at a key frame, of two rates.
SPANS = [("plain", 45, 96), ("b-frames", 55, 115), ("plain", 7, 28), ("plain", 100, 190), ("b-frames", 3, 10), ("b-frames", 130, 180)]


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    sound = {".webm": "-c:a libopus"}
    return {
        name: film(folder / file, seconds, fps=str(fps), size=size, video=video, audio=sound.get(Path(file).suffix, "-c:a aac -ar 48000 -ac 2"))
        for name, (file, fps, seconds, size, video) in FILMS.items()
    }


@pytest.fixture(scope="module")
def videos(server, films) -> dict:
    import videodb

    collection = videodb.connect(api_key=server.key, base_url=server.url).get_collection()
    return {name: collection.upload(file_path=str(films[name]), name=name) for name in ("plain", "b-frames")}


@pytest.fixture(scope="module")
def moments(server, videos) -> dict:
    """The list, as it was published, with the number and the moment of each picture."""
    asked = [{"video_id": videos[name].id, "shots": [[first / FILMS[name][1], after / FILMS[name][1]]]} for name, first, after in SPANS]
    told = Wire(server.url, server.key)("POST", "/compile", asked).data
    shown, begin = [], 0.0
    for name, first, after in SPANS:
        shown += [(begin + (n - first) / FILMS[name][1], n) for n in range(first, after)]
        begin += (after - first) / FILMS[name][1]
    return told | {"shown": shown, "length": begin}


def shown_at(shown: list[tuple[float, int]], at: float) -> int:
    return [number for begin, number in shown if begin <= at + 1e-4][-1]


def number_in(url: str, folder: Path, view: str = "") -> int | None:
    """That of a JPEG, or of a part of it, brought to the size of the film."""
    file, cut = folder / "picture.jpg", folder / "cut.png"
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert answer.headers["content-type"] == "image/jpeg"
        file.write_bytes(answer.read())
    if view:
        ffmpeg("-i", str(file), "-vf", view, str(cut))
    (number,) = numbers(cut if view else file)
    return number


def test_a_thumbnail_of_b_frames_is_the_picture_of_its_moment(videos, tmp_path):
    moments = [0.001, 1 / 25, 1.5 / 25, 3.04, 3.079, 7.301, 9.96, 10.0, 11.96, 11.999]
    found = {at: number_in(videos["b-frames"].generate_thumbnail(time=at).url, tmp_path) for at in moments}
    assert found == {at: int(at * 25 + 1e-6) for at in moments}


@pytest.mark.parametrize("kind", ["hevc", "vp9"])
def test_pictures_of_a_film_that_is_still_being_encoded(kind, conn, api, films, tmp_path):
    fps, seconds = FILMS[kind][1:3]
    video = conn.upload(file_path=str(films[kind]), name=kind)
    stands = number_in(video.stream_url.replace("index.m3u8", "poster.jpg"), tmp_path)
    moments, found = [seconds - 2.5 / fps, seconds / 2 + 0.5 / fps, 10 + 3.5 / fps], {}
    for at in moments:
        found[at] = number_in(video.generate_thumbnail(time=at).url, tmp_path)
    assert api("GET", f"/video/{video.id}").data.get("encoding") is not None, "the film was encoded before its pictures were asked for: make it longer"
    assert found == {at: int(at * fps) for at in moments}
    assert stands is not None and abs(stands / fps - seconds / 10) < 2.1
    assert number_in(video.generate_thumbnail(), tmp_path) == stands, "page and video are shown by the same picture"
    api("DELETE", f"/video/{video.id}")


def tiles(stream: str) -> list[tuple[float, float, str, str]]:
    """From when to when each tile stands, its sheet, and how it is cut out."""
    with urllib.request.urlopen(stream.replace("index.m3u8", "strip.vtt"), timeout=20) as answer:
        listed = answer.read().decode()
    found = re.findall(r"00:(\d+):([\d.]+) --> 00:(\d+):([\d.]+)\n(strip-\d+\.jpg)#xywh=(\d+),(\d+),(\d+),(\d+)", listed)
    return [(int(a) * 60 + float(b), int(c) * 60 + float(d), urljoin(stream, sheet), f"crop={w}:{h}:{x}:{y}") for a, b, c, d, sheet, x, y, w, h in found]


def strip_of(stream: str, folder: Path) -> list[tuple[float, float, int | None]]:
    return [(a, b, number_in(sheet, folder, f"{cut},scale=640:360:flags=neighbor")) for a, b, sheet, cut in tiles(stream)]


def test_the_strip_of_a_film_with_b_frames_is_of_its_key_frames(videos, tmp_path):
    # One each ten seconds, of which the last comes before the middle of the tiles after it.
    found = strip_of(videos["b-frames"].stream_url, tmp_path)
    assert found == [(n, n + 1, 250 if n >= 10 else 0) for n in range(12)]


def test_poster_and_strip_of_a_list_show_what_plays_then(moments, tmp_path):
    stream, shown = moments["stream_url"], moments["shown"]
    assert numbers(stream) == [number for _, number in shown]
    with urllib.request.urlopen(stream, timeout=20) as answer:
        lengths = [float(s) for s in re.findall(r"#EXTINF:([\d.]+)", answer.read().decode())]
    starts = [sum(lengths[:n]) for n in range(len(lengths))]
    tenth = [start for start in starts if start <= moments["length"] / 10][-1]
    assert number_in(stream.replace("index.m3u8", "poster.jpg"), tmp_path, "scale=640:360") == shown_at(shown, tenth)
    found = strip_of(stream, tmp_path)
    assert len(found) == -(-moments["length"] // 1)
    wrong = []
    for a, b, number in found:
        # The first picture of the segment that plays in the middle, or a key frame that plays while the tile is shown.
        middle = min(a + 0.5, moments["length"])
        begin = [start for start in starts if start <= middle][-1]
        if number not in [shown_at(shown, begin), *(n for at, n in shown if a <= at <= a + 1)]:
            wrong.append((a, b, number, begin))
    assert not wrong and len({number for _, _, number in found}) > len(found) / 2


class TestPages:
    @pytest.fixture(scope="class")
    def told(self, moments, tmp_path_factory) -> dict:
        pictures = os.environ.get("VITASCOPE_PICTURES") or str(tmp_path_factory.mktemp("pages"))
        watch = moments["player_url"]
        # The middle of the first and of the last picture of each span; a link to the last tenth of a second leads to where that begins.
        at, links = 0.0, []
        for name, first, after in SPANS:
            fps = FILMS[name][1]
            links += [at + 0.5 / fps, at + (after - first - 0.5) / fps]
            at += (after - first) / fps
        order = {"watch": watch, "embed": watch.replace("/watch?", "/embed?"), "moments": [round(t, 4) for t in links[:-1]], "pictures": pictures}
        return node("moments.js", json.dumps(order | {"chromium": shutil.which("chromium")}))

    def test_links_lead_to_the_very_picture(self, told, moments):
        assert [at["number"] for at in told["linked"]] == [shown_at(moments["shown"], at["time"]) for at in told["linked"]]
        assert len(told["linked"]) == 2 * len(SPANS) - 1

    def test_keys_play_and_go_to_moments(self, told, moments):
        length = moments["length"]
        assert told["start"]["time"] == 0 and told["start"]["number"] == SPANS[0][1]
        assert told["half"]["time"] == pytest.approx(length / 2, abs=0.05) and told["left"]["time"] == pytest.approx(max(0, told["half"]["time"] - 5), abs=0.01)
        assert not told["playing"]["paused"] and told["end"]["ended"] and told["end"]["number"] == SPANS[-1][2] - 1
        assert told["end"]["duration"] == pytest.approx(length, abs=0.05)

    def test_there_are_no_captions_and_none_are_offered(self, told):
        assert told["captions"] == {"said": "There are no captions", "button": False, "tracks": 0}

    def test_embedded_the_picture_is_all_there_is(self, told):
        assert told["embedded"] == {"bar": True, "title": False, "fills": [800, 450], "scrolls": [0, 0], "note": False, "full": False}
        assert told["resting"] == told["embedded"] | {"bar": False}
        assert told["full"]["full"] and told["full"]["bar"] and told["full"]["scrolls"] == [0, 0]
        assert told["logged"] == []


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_list_of_sound_alone_names_no_picture(conn, api, films, tmp_path):
    sound = conn.upload(file_path=str(films["plain"]), media_type="audio", name="sound alone")
    told = api("POST", "/compile", [{"video_id": sound.id, "shots": [[1, 3], [5, 6.5]]}]).data
    pages = [told["player_url"], told["player_url"].replace("/watch?", "/embed?")]
    seen = node("moments.js", json.dumps({"silent": pages, "pictures": os.environ.get("VITASCOPE_PICTURES"), "chromium": shutil.which("chromium")}))
    assert seen["logged"] == [], "the page asks for nothing that is refused"
    for page in seen["silent"]:
        assert page["poster"] == "" and not page["tile"] and page["note"] and page["duration"] == pytest.approx(3.5, abs=0.03)
        assert not [tag for tag in page["tags"] if "image" in tag] and "og:video" in page["tags"]
    for file in ("poster.jpg", "strip.vtt", "strip-0.jpg"):
        assert status(told["stream_url"].replace("index.m3u8", file)) in (400, 404), file
