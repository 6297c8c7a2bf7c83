"""Moments as streams. Contract: core.md §5.1 (POST /video/{id}/stream) and §8 (POST /compile, insert_video): any list plays at once, and holds
exactly the pictures that were asked for."""

import json
import time
import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path

import pytest
from rig_browser import node, play
from rig_media import film, numbers, sound_seconds
from rig_publish import Publisher
from rig_session import SCREEN, SESSIONS, started, until
from rig_wire import is_error, is_success
from stage import frames
from videodb.search import SearchResult
from videodb.shot import Shot

pytestmark = pytest.mark.timeout(180)

QUICK, SLOW = 30, 25


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("compile")
    coarse = "-c:v libx264 -preset ultrafast -bf 0 -g 100 -flags +cgop -sc_threshold 0 -pix_fmt yuv420p"
    return {
        "quick": film(folder / "quick.mp4", 10),
        "slow": film(folder / "slow.mp4", 12, fps="25", size="480x272", video=coarse, tone=660),
    }


@pytest.fixture(scope="module")
def videos(server, films) -> dict:
    import videodb

    collection = videodb.connect(api_key=server.key, base_url=server.url).get_collection()
    return {name: collection.upload(file_path=str(path), name=name) for name, path in films.items()}


def pictures(fps: int, *ranges: tuple[float, float]) -> list[int]:
    return [n for start, end in ranges for n in range(round(start * fps), round(end * fps))]


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_row_stream_of_a_timeline_holds_exactly_its_pictures(videos):
    video = videos["quick"]
    timeline = [[1, 2], [1.5, 2.5], [1.5, 2.5], [3, 3], [9.5, 10], [0.1, 0.2], [7, 99]]
    url = video.generate_stream(timeline=timeline)
    expected = pictures(QUICK, (1, 2), (1.5, 2.5), (1.5, 2.5), (9.5, 10), (0.1, 0.2), (7, 10))
    assert numbers(url) == expected
    assert sound_seconds(url) == pytest.approx(len(expected) / QUICK, abs=0.022)
    assert video.generate_stream(timeline=timeline) == url, "the same list is the same stream"
    with urllib.request.urlopen(url, timeout=20) as answer:
        playlist = answer.read().decode()
    assert "#EXT-X-ENDLIST" in playlist and "DISCONTINUITY" not in playlist and playlist.count("#EXT-X-MAP") == 1


def test_row_stream_without_a_timeline_is_the_whole(api, videos):
    # The SDK's object keeps the last stream that was made of it.
    video, whole = videos["quick"], api("GET", f"/video/{videos['quick'].id}").data["stream_url"]
    for body in ({}, {"timeline": None, "length": None}, {"timeline": [], "length": "10.0"}):
        answer = api("POST", f"/video/{video.id}/stream/", body)
        assert is_success(answer) and answer.data["stream_url"] == whole, answer
        assert "/watch?" in answer.data["player_url"] and "v=" in answer.data["player_url"]


def test_row_stream_of_a_shot_takes_its_length_as_text(conn, videos):
    shot = Shot(conn, videos["slow"].id, "12.000000", "slow", 3.3, 5.1)
    assert numbers(shot.generate_stream()) == [n for n in range(300) if 82.5 <= n < 127.5]
    assert shot.player_url and "v=" in shot.player_url


def test_row_compile_mixes_videos_of_different_size_and_rate(api, videos, films, measured):
    quick, slow = videos["quick"].id, videos["slow"].id
    ranges = [(quick, 2.0, 3.5), (slow, 1.0, 6.0), (quick, 0.5, 0.7), (slow, 0.0, 0.4), (quick, 2.0, 3.5), (slow, 7.0, 7.0)]
    # A search result names one collection for all of its shots, and not always theirs.
    asked = [{"video_id": of, "collection_id": [None, "default", "c-another"][n % 3], "shots": [[a, b]]} for n, (of, a, b) in enumerate(ranges)]
    began = time.monotonic()
    answer = api("POST", "/compile", asked)
    assert is_success(answer), answer
    url = answer.data["stream_url"]
    with urllib.request.urlopen(url, timeout=20) as told:
        told.read()
    first = time.monotonic()
    with urllib.request.urlopen(url.replace("index.m3u8", "0.m4s"), timeout=20) as told:
        told.read()
    measured("compile to playlist", (first - began) * 1000, "ms")
    measured("first segment, on a key frame", (time.monotonic() - first) * 1000, "ms")
    expected = [n for of, a, b in ranges for n in pictures(QUICK if of == quick else SLOW, (a, b))]
    assert numbers(url) == expected
    seconds = sum(b - a for _, a, b in ranges)
    assert sound_seconds(url) == pytest.approx(seconds, abs=0.022)
    assert api("POST", "/compile", asked).data["stream_url"] == url
    with urllib.request.urlopen(url.replace("index.m3u8", "apple.m3u8"), timeout=20) as told:
        apple = told.read().decode().splitlines()
    maps = [line.split('"')[1] for line in apple if line.startswith("#EXT-X-MAP")]
    assert len(maps) == 5 and apple.count("#EXT-X-DISCONTINUITY") == 4 and apple[-1] == "#EXT-X-ENDLIST"
    assert all(status(url.replace("index.m3u8", name)) == 200 for name in maps)


def test_row_compile_of_a_search_result_and_of_sound(conn, api, videos):
    results = [
        {"video_id": videos[name].id, "collection_id": None, "length": "1", "title": name, "docs": [{"start": start, "end": end, "text": "", "score": 1}]}
        for name, start, end in [("slow", 4.0, 5.0), ("slow", 0.96, 2.0)]
    ]
    found = SearchResult(conn, results=results)
    assert numbers(found.compile()) == pictures(SLOW, (4, 5), (0.96, 2))
    assert found.player_url


def test_row_insert_video_at_the_beginning_in_the_middle_and_at_the_end(videos):
    host, guest = videos["quick"], videos["quick"]
    whole = pictures(QUICK, (0, 10))
    assert numbers(host.insert_video(guest, 0)) == whole + whole
    assert numbers(host.insert_video(guest, 3.7)) == pictures(QUICK, (0, 3.7), (0, 10), (3.7, 10))
    assert numbers(host.insert_video(guest, 1e6)) == whole + whole


def test_rows_stream_and_insert_by_the_node_sdk(server, videos):
    told = node("node_compile.js", json.dumps({"base": server.url, "key": server.key, "video": videos["quick"].id}))
    assert numbers(told["stream"]) == pictures(QUICK, (4.3, 5.3), (0, 1))
    assert numbers(told["inserted"]) == pictures(QUICK, (0, 2.5), (0, 10), (2.5, 10))


def test_row_compile_says_what_is_wrong_with_its_numbers(api, videos):
    video = videos["quick"].id

    def refused(*shots, of=video):
        answer = api("POST", "/compile", [{"video_id": of, "shots": list(shots)}])
        assert is_error(answer, 400), answer
        return answer.json["message"]

    assert "5 s to 3 s" in refused([5, 3])
    assert "12 s to 14 s" in (message := refused([0, 1], [12, 14])) and "10" in message
    assert "not empty" in refused([4, 4]) and "not empty" in refused()
    assert "2000" in refused(*[[0, 1]] * 2001)
    assert is_error(api("POST", "/compile", {"video_id": video}), 400)
    assert is_error(api("POST", "/compile", [{"video_id": video, "shots": [["a", "b"]]}]), 400)
    assert is_error(api("POST", "/compile", [{"video_id": "m-nobodys", "shots": [[0, 1]]}]), 404)
    assert is_error(api("POST", "/video/m-nobodys/stream", {"timeline": [[0, 1]]}), 404)
    assert is_error(api.As(None)("POST", "/compile", []), 401)


def test_a_key_of_another_collection_compiles_nothing_of_this_one(api, videos):
    apart = api("POST", "/collection", {"name": "apart"}).data["id"]
    narrow = api.As(api("POST", "/user/api_key").data["api_key"])
    assert is_success(api("PUT", "/user/api-key-collections", {"api_key": narrow.token, "collection_ids": [apart]}))
    assert is_error(narrow("POST", f"/video/{videos['quick'].id}/stream", {"timeline": [[0, 1]]}), 404)
    refused = narrow("POST", "/compile", [{"video_id": videos["quick"].id, "shots": [[0, 1]]}])
    assert refused.status in (403, 404) and refused.json["success"] is False


def test_a_list_is_gone_with_any_of_its_sources(conn, api, films, videos):
    guest = conn.get_collection().upload(file_path=str(films["slow"]), name="to be deleted")
    both = [{"video_id": videos["quick"].id, "shots": [[0, 1]]}, {"video_id": guest.id, "shots": [[2.2, 3]]}]
    url = api("POST", "/compile", both).data["stream_url"]
    files = [url, url.replace("index.m3u8", "init.mp4"), url.replace("index.m3u8", "1.m4s")]
    assert [status(file) for file in files] == [200, 200, 200]
    guest.delete()
    assert [status(file) for file in files] == [410, 410, 410]
    assert is_error(api("POST", "/compile", both), 404)


def test_hls_js_seeks_to_the_very_picture(videos):
    ranges = [(2.1, 3.4), (0.5, 0.9), (7.3, 9.0), (2.1, 3.4), (4.0, 5.5)]
    url = videos["quick"].generate_stream(timeline=[list(r) for r in ranges])
    expected = pictures(QUICK, *ranges)
    # The middle of the first and of the last picture of each span, and some in between.
    firsts = [sum(round((b - a) * QUICK) for a, b in ranges[:n]) for n in range(len(ranges) + 1)]
    wanted = sorted({at for first, after in zip(firsts, firsts[1:]) for at in (first, (first + after) // 2, after - 1)}, key=lambda at: at * 7919 % 101)
    played = play(stream=url, seconds=1, seeks=[(at + 0.5) / QUICK for at in wanted])
    assert not played["trouble"] and not played["logged"], played
    assert [reverse(n) for n in played["sought"]] == [expected[at] for at in wanted]


def reverse(number: int | None) -> int | None:
    """The player's page reads the boxes from the highest bit on; these films begin with the lowest."""
    return None if number is None else int(f"{number:016b}"[::-1], 2)


def test_moments_of_a_recording_are_as_exact(server, api, tmp_path):
    """The rtstream's own range begins at a key frame, as it always did; in a list it begins where it is asked to."""
    session, recorder, urls = started(api, SCREEN)
    publisher = Publisher(urls["display:1"], "video", tmp_path)
    until(api, session, "active", timeout=15)
    time.sleep(6)
    publisher.end()
    assert is_success(recorder("POST", f"/capture/session/{session}/stop"))
    until(api, session, "exported")
    stream = api("GET", f"{SESSIONS}/{session}").data["rtstreams"][0]["id"]
    now = time.time()
    whole = api("GET", f"/rtstream/{stream}/stream?start={now - 60}&end={now}").data["stream_url"]
    with urllib.request.urlopen(whole, timeout=20) as answer:
        date = answer.read().decode().split("PROGRAM-DATE-TIME:")[1].split()[0]
    origin = datetime.fromisoformat(date.replace("Z", "+00:00")).timestamp()
    recorded = [(origin + frame.at, frame.number) for frame in frames.read(whole)]
    assert len(recorded) > 40

    def shown(start: float, end: float) -> list[int]:
        first, last = (min(recorded, key=lambda frame: abs(frame[0] - moment))[0] for moment in (start, end))
        return [number for at, number in recorded if first <= at < last]

    # A tenth of the way from one picture to the next, so that rounding has something to do and nothing hangs on a microsecond.
    moment = lambda n: recorded[n][0] + 0.1 * (recorded[n + 1][0] - recorded[n][0])  # noqa: E731
    shots = [[moment(7), moment(21)], [moment(3), moment(4)], [moment(13), moment(38)]]
    made = api("POST", "/compile", [{"video_id": stream, "shots": shots}])
    assert is_success(made), made
    assert [frame.number for frame in frames.read(made.data["stream_url"])] == [n for shot in shots for n in shown(*shot)]
    late = api("POST", "/compile", [{"video_id": stream, "shots": [[now + 10, now + 20]]}])
    assert is_error(late, 400) and "there is only" in late.json["message"]
    video = api("GET", f"{SESSIONS}/{session}").data["exported_video_id"]
    made = api("POST", f"/video/{video}/stream", {"timeline": [[0.55, 1.5]]})
    read = frames.read(made.data["stream_url"])
    assert read and [frame.number for frame in read] == list(range(read[0].number, read[0].number + len(read)))
