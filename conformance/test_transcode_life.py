"""Transcodes through kills, beside players, and on their way: one result, nothing left behind, and who waits goes first."""

import time
from pathlib import Path

import pytest
from rig_media import film, numbers
from rig_transcode import helpers_of, leftovers, taken, until_ended
from rig_wire import Wire
from test_ingest import slot_with


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("films")


class TestLife:
    def test_row_transcode_survives_a_kill_and_leaves_one_result(self, own, films):
        api = Wire(own.url, own.key)
        source = film(films / "long.mp4", 40, size="1280x720", tone=600)
        job = api("POST", "/transcode", {"source": slot_with(api, source)}).data["job_id"]
        end = time.monotonic() + 60
        while not 15 < api("GET", f"/transcode/{job}").data["progress"] < 90:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert len(helpers_of(own)) == 1
        own.kill()
        # Nobody reads any more what the encoder writes: it ends by itself.
        end = time.monotonic() + 20
        while helpers_of(own):
            assert time.monotonic() < end, helpers_of(own)
            time.sleep(0.05)
        own.start()
        said = until_ended(lambda: api("GET", f"/transcode/{job}").data, 90)
        path = taken(said, films / "killed.mp4")
        assert numbers(path) == list(range(1200))
        own.kill()
        own.start()
        assert api("GET", f"/transcode/{job}").data == said
        assert leftovers(own) == [] and len(list((own.data / "objects" / "downloads").iterdir())) == 1

    def test_a_player_goes_before_a_transcode(self, own, films, measured):
        """While pictures are encoded for a player, the transcode waits; it goes on afterwards."""
        api = Wire(own.url, own.key)
        hard = film(films / "hard.mp4", 40, size="1920x1080", tone=700, video="-c:v libx264 -preset ultrafast -g 900 -bf 2 -pix_fmt yuv420p")
        job = api("POST", "/transcode", {"source": slot_with(api, hard), "video_config": {"quality": 18}}).data["job_id"]
        end = time.monotonic() + 30
        while not helpers_of(own):
            assert time.monotonic() < end
            time.sleep(0.05)
        other = film(films / "other.mp4", 8, size="1280x720", tone=800, video="-c:v libx265 -preset ultrafast -x265-params log-level=none")
        video = api("POST", "/collection/default/upload", {"url": slot_with(api, other)}).data
        began = time.monotonic()
        seen = numbers(video["stream_url"])
        measured("8 s of 720p played beside a transcode", time.monotonic() - began, "s", "< 20")
        assert seen == list(range(240)) and time.monotonic() < began + 20
        assert api("GET", f"/transcode/{job}").data["status"] == "processing"

    def test_a_large_transcode_gives_its_memory_to_a_player_and_begins_anew(self, own, films):
        """Two large pictures are never encoded at once: who waits for one has it soon, and the transcode is whole in the end."""
        api = Wire(own.url, own.key)
        coded = "-c:v libx265 -preset ultrafast -x265-params log-level=none -pix_fmt yuv420p10le"
        large = film(films / "large.mp4", 3, fps="20", size="3840x2160", tone=900, video=coded)
        other = film(films / "large-other.mp4", 1, fps="10", size="3840x2160", tone=950, video=coded)
        slots = slot_with(api, large), slot_with(api, other)
        job = api("POST", "/transcode", {"source": slots[0]}).data["job_id"]
        end = time.monotonic() + 30
        while api("GET", f"/transcode/{job}").data["progress"] <= 10:
            assert time.monotonic() < end
            time.sleep(0.05)
        video = api("POST", "/collection/default/upload", {"url": slots[1]}).data
        assert numbers(video["stream_url"]) == list(range(10))
        said = until_ended(lambda: api("GET", f"/transcode/{job}").data, 150)
        assert numbers(taken(said, films / "gave-way.mp4")) == list(range(60))
        # To the player, and to the rest of the upload if that came before it.
        assert own.log.read_text().count("a transcode gave way") in (1, 2)

    def test_progress_is_told_on_the_way(self, own, films):
        api = Wire(own.url, own.key)
        source = film(films / "way.mp4", 30, size="1280x720")
        job = api("POST", "/transcode", {"source": slot_with(api, source)}).data["job_id"]
        seen, said = set(), {"status": "processing"}
        while said["status"] == "processing":
            said = api("GET", f"/transcode/{job}").data
            seen.add(said["progress"])
        assert len(seen) >= 4 and sorted(seen)[-1] == 100, seen
