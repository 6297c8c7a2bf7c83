"""Rtstream core: calls 4 and 11 to 19, the live edge, deletion, audio. Two displays and a microphone are published once, by ffmpeg; while they
are live their own playlists are read and played, and afterwards everything that can be done with what they recorded is done."""

import asyncio
import json
import re
import statistics
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import datetime

import pytest
import videodb
from rig_browser import node, play
from rig_publish import Publisher
from rig_session import MIC, SCREEN, SESSIONS, started, until
from rig_wire import Rtsp, Wire, is_error, is_success
from stage import frames
from videodb.exceptions import InvalidRequestError

pytestmark = pytest.mark.timeout(180)

SECOND_SCREEN = {"channel_id": "display:2", "channel_name": "Second screen", "type": "video", "store": True}
UNSTORED = {"channel_id": "display:3", "channel_name": "Not kept", "type": "video", "store": False}


@dataclass
class Take:
    session: str = ""
    streams: dict[str, str] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    began: float = 0.0
    ended: float = 0.0
    # Readings of the live playlist, with the time of each.
    readings: list[tuple[float, str]] = field(default_factory=list)
    live_url: str = ""
    seen_live: dict = field(default_factory=dict)
    paused: list[int] = field(default_factory=list)


def fetch(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture(scope="module")
def take(server, tmp_path_factory) -> Take:
    api, folder, take = Wire(server.url, server.key), tmp_path_factory.mktemp("streams"), Take()
    take.session, recorder, take.urls = started(api, MIC, SCREEN, SECOND_SCREEN, UNSTORED)
    shown = api("GET", f"{SESSIONS}/{take.session}").data
    take.streams = {s["name"]: s["id"] for s in shown["rtstreams"]}
    screen = api("GET", f"/rtstream/{take.streams['display:1']}").data
    take.live_url = screen["stream_url"]
    assert fetch(take.live_url)[0] == 503, "nothing is recorded yet: a player may try again"
    take.began = time.time()
    publishers = {
        "display:1": Publisher(take.urls["display:1"], "video", folder),
        "display:2": Publisher(take.urls["display:2"], "video", folder, start=20.0),
        "mic:default": Publisher(take.urls["mic:default"], "audio", folder),
    }
    until(api, take.session, "active", timeout=15)
    _read_until(take, time.time() + 9)
    take.seen_live = play(page=screen["player_url"].replace("/watch?", "/embed?"), seconds=10)
    _read_until(take, time.time() + 1)
    # Call 14: the microphone is stopped, its publisher is sent away and may come back when it is started.
    stopped = api("PATCH", f"/rtstream/{take.streams['mic:default']}/status", {"action": "stop"})
    assert is_success(stopped) and stopped.data["status"] == "stopped"
    publishers["mic:default"].wait(10)
    with Rtsp(take.urls["mic:default"]) as door:
        take.paused.append(door.announce())
    assert api("PATCH", f"/rtstream/{take.streams['mic:default']}/status", {"action": "start"}).data["status"] == "connected"
    publishers["mic:default"] = Publisher(take.urls["mic:default"], "audio", folder, start=30.0)
    _read_until(take, time.time() + 3)
    for publisher in publishers.values():
        assert publisher.running, publisher.words
        publisher.end()
    take.ended = time.time()
    refused = api("POST", f"{SESSIONS}/{take.session}/export", {})
    assert is_error(refused, 409) and "active" in refused.json["message"], "call 4: not while it is live"
    assert is_success(recorder("POST", f"/capture/session/{take.session}/stop"))
    until(api, take.session, "exported")
    take.readings.append((time.time(), fetch(take.live_url)[1]))
    return take


def _read_until(take: Take, limit: float) -> None:
    while time.time() < limit:
        status, text = fetch(take.live_url)
        if status == 200:
            take.readings.append((time.time(), text))
        time.sleep(0.4)


def _segments(text: str) -> dict[int, tuple[str, str, str]]:
    """By number: date, length, name."""
    first = int(re.search(r"#EXT-X-MEDIA-SEQUENCE:(\d+)", text).group(1))
    found = re.findall(r"#EXT-X-PROGRAM-DATE-TIME:(\S+)\n#EXTINF:([\d.]+),\n(\S+)", text)
    return dict(enumerate(found, first))


class TestLiveEdge:
    def test_the_playlist_keeps_its_word_while_it_grows(self, take, measured):
        live = [text for _, text in take.readings[:-1]]
        assert len(live) > 15
        assert {re.search(r"#EXT-X-TARGETDURATION:(\d+)", text).group(1) for text in live} == {"5"}
        assert all("#EXT-X-ENDLIST" not in text and "#EXT-X-PLAYLIST-TYPE" not in text for text in live)
        known: dict[int, tuple] = {}
        for text in live:
            for number, segment in _segments(text).items():
                assert known.setdefault(number, segment) == segment, "a segment that was told stays what it is"
        assert sorted(known) == list(range(len(known))) and len(known) >= 5
        assert all(round(float(length)) <= 5 for _, length, _ in known.values())

    def test_the_newest_picture_is_a_few_seconds_old(self, take, measured):
        delays = []
        for at, text in take.readings[8:-1]:
            date, length, _ = list(_segments(text).values())[-1]
            delays.append(at - datetime.fromisoformat(date).timestamp() - float(length))
        measured("live playlist: age of its newest picture, p50", statistics.median(delays), "s", "< 4")
        assert -0.5 < statistics.median(delays) < 4

    def test_it_ends_when_the_stream_has_stopped(self, take):
        last = take.readings[-1][1]
        assert last.endswith("#EXT-X-ENDLIST\n") and "#EXT-X-TARGETDURATION:5" in last

    def test_ffmpeg_plays_it_picture_by_picture(self, take, measured):
        seen = frames.sequence(frames.read(take.live_url))
        measured("live playlist after its end", str(seen))
        assert seen.whole and seen.first == 0, "less than a minute was recorded: all of it is listed"

    def test_the_embedded_player_plays_it_live(self, take, measured):
        told = take.seen_live
        assert not told["message"] and not told["logged"], told
        assert told["state"] == "live" and told["badge"], "the page says that it is live"
        legible = [p for p in told["seen"] if p["number"] is not None]
        assert len(legible) > 20
        # Each picture at its moment: the film's time runs as the player's does.
        offsets = [frames.film_time(p["number"]) - p["at"] for p in legible]
        middle = statistics.median(offsets)
        wrong = [p for p, offset in zip(legible, offsets) if abs(offset - middle) > 0.3]
        measured("live player: frames right", f"{len(legible) - len(wrong)} of {len(told['seen'])}")
        assert not wrong, wrong[:5]

    def test_what_has_no_recording_says_so(self, take, api):
        unpublished = api("GET", f"/rtstream/{take.streams['display:3']}").data
        assert fetch(unpublished["stream_url"])[0] == 404


class TestCalls:
    def test_call_11_pages_orders_and_filters(self, take, api, conn):
        ours = set(take.streams.values())
        names = [s.name for s in conn.get_collection("default").list_rtstreams(limit=1000, ordering="name") if s.id in ours]
        assert names == ["display:1", "display:2", "display:3", "mic:default"]
        down = [s["name"] for s in api("GET", "/rtstream?limit=1000&ordering=-name").data["results"] if s["id"] in ours]
        assert down == names[::-1]
        assert is_error(api("GET", "/rtstream?ordering=colour"), 400) and is_error(api("GET", "/rtstream?status=asleep"), 400)
        # Following `next` gives every stream of the filter once.
        got, url = [], "/rtstream?limit=2&status=stopped&name=display"
        while url:
            page = api("GET", url).data
            got += [s["id"] for s in page["results"]]
            assert all("display" in s["name"] and s["status"] == "stopped" for s in page["results"])
            url = page["next"] and page["next"].removeprefix(api.base)
        assert len(got) == len(set(got)) == page["count"] and ours - {take.streams["mic:default"]} <= set(got)

    def test_call_12_carries_id_and_urls(self, take, api):
        data = api("GET", f"/rtstream/{take.streams['display:1']}").data
        wanted = {"id", "name", "collection_id", "status", "sample_rate", "media_types", "store", "created_at", "channel_id", "stream_url", "player_url"}
        assert wanted <= set(data) and data["id"] == take.streams["display:1"] and data["channel_id"] == "screen"
        assert "/watch?v=" in data["player_url"] and data["stream_url"].endswith(".m3u8")

    def test_call_13_renames(self, take, api):
        path = f"/rtstream/{take.streams['display:2']}"
        data = api("PATCH", path, {"name": "The left one", "sample_rate": 15}).data
        assert (data["name"], data["sample_rate"]) == ("The left one", 15)
        assert "The left one" in fetch(api("GET", path).data["player_url"])[1]
        assert is_error(api("PATCH", path, {"name": " "}), 400) and is_error(api("PATCH", path, {"sample_rate": 0}), 400)
        assert api("PATCH", path, {"name": "display:2", "sample_rate": None}).data["sample_rate"] == 15

    def test_call_14_a_stopped_stream_takes_no_publisher_and_a_dead_session_starts_none(self, take, api, conn):
        assert take.paused == [503], "for now, not for ever: a recorder tries again"
        mic = conn.get_collection("default").get_rtstream(take.streams["mic:default"])
        mic.stop()
        assert mic.status == "stopped"
        with pytest.raises(InvalidRequestError, match="session .* is over"):
            mic.start()
        assert is_error(api("PATCH", f"/rtstream/{mic.id}/status", {"action": "pause"}), 400)

    def test_call_14_what_came_before_and_after_the_stop_is_recorded(self, take, api):
        whole = api("GET", f"/rtstream/{take.streams['mic:default']}/stream?start={take.began}&end={take.ended + 5}").data
        probe = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", whole["stream_url"]]
        length = float(subprocess.run(probe, capture_output=True, text=True, timeout=30).stdout)
        assert length > 12

    def test_call_15_exports_one_stream_once(self, take, conn, measured):
        screen = conn.get_collection("default").get_rtstream(take.streams["display:2"])
        asked = time.monotonic()
        made = screen.export()
        measured("rtstream export", time.monotonic() - asked, "s", "constant")
        assert made.video_id.startswith("m-") and made.name == "display:2 - Recording" and "/watch?v=" in made.player_url
        again = screen.export(name="Something else")
        assert (again.video_id, again.name) == (made.video_id, made.name), "the same recording is the same asset"
        video = conn.get_collection("default").get_video(made.video_id)
        assert video.length == pytest.approx(made.duration) and video.length == pytest.approx(take.ended - take.began, abs=4)
        seen = frames.sequence(frames.read(made.stream_url))
        assert seen.whole and frames.film_time(seen.first) == pytest.approx(20, abs=0.3)
        video.delete()
        assert screen.export().video_id != made.video_id, "what was deleted can be exported anew"

    def test_call_15_says_why_not(self, take, api):
        unstored = api("POST", f"/rtstream/{take.streams['display:3']}/export", {})
        assert is_error(unstored, 400) and "store" in unstored.json["message"]
        session, recorder, _ = started(api, MIC)
        mic = api("GET", f"{SESSIONS}/{session}").data["rtstreams"][0]["id"]
        connected = api("POST", f"/rtstream/{mic}/export", {})
        assert is_error(connected, 400) and "stop it" in connected.json["message"]
        recorder("POST", f"/capture/session/{session}/stop")
        until(api, session, "stopped")
        nothing = api("POST", f"/rtstream/{mic}/export", {"name": None})
        assert is_error(nothing, 400) and "no recording" in nothing.json["message"]

    def test_call_16_titles_slugs_and_microseconds(self, take, conn):
        screen = conn.get_collection("default").get_rtstream(take.streams["display:1"])
        start, end = int(take.began + 4), int(take.began + 9)
        page = screen.generate_stream(start, end, player_config={"title": "<Stand-up>", "description": 'Who said "no"?', "slug": "Daily Stand-up"})
        assert "/watch?v=daily-stand-up-" in page and re.search(rf"/{start}000000-{end}000000\.m3u8$", screen.stream_url)
        status, text = fetch(page)
        assert status == 200 and "&lt;Stand-up&gt;" in text and "Who said &quot;no&quot;?" in text and "<Stand-up>" not in text
        assert "/embed?v=" in screen.get_embed_code()
        seen = frames.sequence(frames.read(screen.stream_url))
        assert not seen.missing and not seen.backwards and not seen.illegible

    @pytest.mark.parametrize(
        "query, words",
        [
            ("start={b}&end={b}", "start must be before end"), ("start={e}&end={b}", "start must be before end"), ("start={b}", "end is required"),
            ("start=x&end=y", "query"), ("start=-5&end={b}", "start is required"), ("start=nan&end={b}", "start is required"),
            ("start={f}&end={g}", "future"), ("start=1000&end=2000", "recorded nothing in this range"), ("start={a}&end={z}", "recorded nothing in this range"),
        ],
    )  # fmt: skip
    def test_call_16_ranges_that_make_no_sense(self, take, api, query, words):
        b, e, now = take.began, take.ended, time.time()
        path = f"/rtstream/{take.streams['display:1']}/stream?" + query.format(b=b, e=e, f=now + 3600, g=now + 7200, a=e + 10, z=e + 20)
        answer = api("GET", path)
        assert is_error(answer, 400) and words in answer.json["message"], answer

    def test_call_18_pages_stay_numbers(self, take, api):
        path = f"/rtstream/{take.streams['mic:default']}/transcription"
        data = api("GET", f"{path}?page=9223372036854775807&page_size=9223372036854775807").data
        assert data["segments"] == [] and data["next_page"] is False and data["page_size"] == 1000
        assert is_error(api("GET", f"{path}?start=2&end=1"), 400) and is_error(api("GET", f"{path}?page=one"), 400)

    def test_call_19_before_anything_was_asked_for(self, take, api):
        data = api("GET", f"/rtstream/{take.streams['display:1']}/transcription/status").data
        assert data["status"] == "not_configured" and data["updated_at"] is None


class TestSessionExport:
    def test_call_4_the_primary_display_and_the_other_one(self, take, api, conn):
        session = conn.get_capture_session(take.session)
        primary = session.export()
        assert primary["export_status"] == "exported" and primary["video_id"] == session.exported_video_id
        assert primary["video_channel_id"] == "display:1" and primary["session_id"] == take.session
        other = session.export(video_channel_id="display:2")
        assert other["export_status"] == "exported" and other["video_id"] != primary["video_id"]
        assert session.export(video_channel_id="display:2")["video_id"] == other["video_id"], "a repeated call is a poll"
        seed = api("GET", f"{SESSIONS}/{take.session}").data
        assert seed["exported_videos"] == {"display:1": primary["video_id"], "display:2": other["video_id"]}
        probe = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_type", "-of", "csv=p=0", other["stream_url"]]
        kinds = subprocess.run(probe, capture_output=True, text=True, timeout=30).stdout.split()
        assert {"video", "audio"} <= set(kinds), "with the mixed sound"

    @pytest.mark.parametrize("channel, words", [("display:9", "it has mic:default"), ("mic:default", "no picture"), ("display:3", "store")])
    def test_call_4_says_why_not(self, take, api, channel, words):
        answer = api("POST", f"{SESSIONS}/{take.session}/export", {"video_channel_id": channel})
        assert is_error(answer, 400) and words in answer.json["message"], answer

    def test_call_4_tells_the_socket_that_was_named(self, take, server):
        conn = videodb.connect(api_key=server.key, base_url=server.url)

        async def told() -> tuple[dict, dict]:
            socket = await conn.connect_websocket().connect()
            session = await asyncio.to_thread(conn.get_capture_session, take.session)
            made = await asyncio.to_thread(session.export, "display:2", socket.connection_id)
            async for frame in socket.receive():
                if frame.get("channel") == "capture_session":
                    await socket.close()
                    return made, frame

        made, frame = asyncio.run(asyncio.wait_for(told(), 20))
        assert frame["event"] == "capture_session.exported" and frame["capture_session_id"] == take.session and "id" not in frame
        assert frame["data"]["exported_video_id"] == made["video_id"] and frame["data"]["video_channel_id"] == "display:2"


class TestAudio:
    @pytest.fixture(scope="class")
    def recorded(self, server, tmp_path_factory):
        """A session of a microphone alone, which becomes an audio."""
        api, folder = Wire(server.url, server.key), tmp_path_factory.mktemp("audio")
        session, recorder, urls = started(api, MIC)
        conn = videodb.connect(api_key=server.key, base_url=server.url)
        told = asyncio.run(asyncio.wait_for(self._status_frames(conn, api, session, urls, folder), 40))
        assert is_success(recorder("POST", f"/capture/session/{session}/stop"))
        until(api, session, "exported")
        return api("GET", f"{SESSIONS}/{session}").data, told

    async def _status_frames(self, conn, api, session, urls, folder) -> list[dict]:
        socket = await conn.connect_websocket().connect()
        (stream,) = conn.get_capture_session(session).get_rtstream("mic")
        publisher = Publisher(urls["mic:default"], "audio", folder)
        await asyncio.to_thread(until, api, session, "active")
        status = await asyncio.to_thread(stream.start_transcript, socket.connection_id)
        assert status["status"] == "running"
        await asyncio.sleep(5)  # What is recorded is time itself.
        await asyncio.to_thread(stream.stop_transcript)
        told = []
        async for frame in socket.receive():
            told.append(frame)
            if frame.get("channel") == "transcription_status" and frame["status"] == "stopped":
                break
        await socket.close()
        publisher.end()
        return told

    def test_a_session_without_a_picture_exports_an_audio(self, recorded, conn):
        seed, _ = recorded
        assert seed["status"] == "exported" and seed["exported_video_id"].startswith("a-")
        audio = conn.get_collection("default").get_audio(seed["exported_video_id"])
        assert audio.length > 4 and audio.collection_id == seed["collection_id"]
        assert audio.id in [a.id for a in conn.get_collection("default").get_audios()]
        assert conn.get_capture_session(seed["session_id"]).export()["video_id"] == audio.id

    def test_call_17_tells_its_socket_when_it_starts_and_stops(self, recorded):
        _, told = recorded
        status = [f for f in told if f.get("channel") == "transcription_status"]
        assert [f["status"] for f in status] == ["running", "stopped"] and all(f["rtstream_id"].startswith("rts-") for f in status)
        assert all(f["data"]["text"] for f in told if f.get("channel") == "transcript")

    def test_its_signed_url_is_one_playable_file(self, recorded, conn):
        audio = conn.get_collection("default").get_audio(recorded[0]["exported_video_id"])
        url = audio.generate_url()
        probe = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name,codec_type:format=duration", "-of", "json", url]
        told = json.loads(subprocess.run(probe, capture_output=True, text=True, timeout=30).stdout)
        assert [s["codec_name"] for s in told["streams"]] == ["aac"]
        assert float(told["format"]["duration"]) == pytest.approx(audio.length, abs=0.2)
        head, expires, mac, tail = re.fullmatch(r"(.*/signed/)(\d+)/([0-9a-f]+)(/.*)", url).groups()
        assert fetch(f"{head}{int(expires) + 1}/{mac}{tail}")[0] == 404, "an expiry that we did not sign"

    def test_it_plays_in_the_browser_and_is_deleted(self, recorded, api, conn):
        seed = recorded[0]
        assert fetch(seed["stream_url"])[0] == 200 and fetch(seed["player_url"])[0] == 200
        conn.get_collection("default").delete_audio(seed["exported_video_id"])
        assert is_error(api("GET", f"/audio/{seed['exported_video_id']}"), 404)
        assert fetch(seed["stream_url"])[0] == 410
        assert api("GET", f"{SESSIONS}/{seed['session_id']}").data["exported_video_id"] is None


class TestNode:
    def test_npm_lists_plays_exports_and_deletes(self, take, server):
        ids = [take.streams["display:2"], take.streams["mic:default"]]
        told = node("node_streams.js", server.url, server.key, *ids, str(int(take.began + 3)), str(int(take.began + 6)))
        listed = {s["id"]: s for s in told["listed"]}
        assert set(take.streams.values()) <= set(listed) and listed[ids[0]]["status"] == "stopped"
        assert told["screen"]["id"] == ids[0] and told["stream"].endswith(".m3u8") and fetch(told["stream"])[0] == 200
        assert told["exported"]["videoId"].startswith("m-") and told["again"]["videoId"] == told["exported"]["videoId"]
        assert told["sound"]["videoId"] == told["audio"]["id"] and told["audio"]["id"] in told["audios"]
        assert told["audio"]["name"] == "mic:default - Recording" and fetch(told["audio"]["url"].replace("/signed/", "/signed/1"))[0] == 404
        assert told["audio"]["id"] not in told["audiosAfter"] and "over" in told["refused"]


class TestDeletion:
    """Last, since it ends what the others look at."""

    def test_an_rtstream_goes_alone_and_a_session_with_the_rest(self, take, api, conn):
        screen, other = take.streams["display:1"], take.streams["display:2"]
        kept = conn.get_capture_session(take.session).exported_video_id
        before = api("GET", f"/rtstream/{other}/stream?start={take.began}&end={take.ended}").data
        assert fetch(before["stream_url"])[0] == 200
        assert is_success(api("DELETE", f"/rtstream/{other}"))
        assert fetch(before["stream_url"])[0] == 410 and fetch(before["player_url"])[0] == 410
        assert is_error(api("GET", f"/rtstream/{other}"), 404) and is_success(api("GET", f"/rtstream/{screen}"))
        assert is_success(api("DELETE", f"/collection/default/capture/session/{take.session}"))
        assert is_error(api("GET", f"{SESSIONS}/{take.session}"), 404) and fetch(take.live_url)[0] == 410
        assert take.session not in [s.id for s in conn.list_capture_sessions()]
        video = conn.get_collection("default").get_video(kept)
        assert frames.sequence(frames.read(video.stream_url)).whole, "an exported video keeps its ranges"
        video.delete()
        assert fetch(video.stream_url)[0] == 410

    def test_deleting_is_the_owners(self, api):
        session, recorder, _ = started(api, MIC)
        assert is_error(recorder("DELETE", f"{SESSIONS}/{session}"), 403)
        assert is_success(api("DELETE", f"{SESSIONS}/{session}"))
        assert is_error(recorder("GET", f"/capture/session/{session}"), 404)
