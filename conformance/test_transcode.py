"""Transcodes, as the SDKs and plain clients see them. Contract: core.md §14 (POST /transcode, GET /transcode/{job_id}), §2 (callbacks)."""

import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import videodb
from rig_browser import node
from rig_media import ffmpeg, film, numbers, probe, sound_seconds
from rig_server import Server
from rig_transcode import is_near, leftovers, picture_of, pixel, taken, transcoded, until_ended
from rig_wire import Wire, is_error, is_success
from test_files import fetched
from test_ingest import site, slot_with  # noqa: F401  (a fixture)
from videodb import AudioConfig, ResizeMode, TranscodeMode, VideoConfig

# Where every corner has a colour of its own, and the middle is white.
CORNERS = "color=white:s=640x360:r=25:d=2,drawbox=0:0:80:360:red:fill,drawbox=560:0:80:360:blue:fill"


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="module")
def numbered(server, films):
    """Ten seconds at 30 frames a second, 640 by 360, with B-frames: 300 pictures that bear their number, and a tone."""
    path = film(films / "numbered.mp4", 10, video="-c:v libx264 -preset veryfast -bf 2 -pix_fmt yuv420p")
    return videodb.connect(api_key=server.key, base_url=server.url).upload(file_path=str(path), name="A numbered film")


@pytest.fixture(scope="module")
def corners(server, films):
    path = films / "corners.mp4"
    ffmpeg("-f", "lavfi", "-i", CORNERS, "-c:v", "libx264", "-crf", "5", "-pix_fmt", "yuv420p", str(path))
    return videodb.connect(api_key=server.key, base_url=server.url).upload(file_path=str(path), name="Corners")


RED, BLUE, WHITE, BLACK = (255, 0, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


class TestPictures:
    @pytest.mark.parametrize("mode", [TranscodeMode.economy, TranscodeMode.lightning])
    def test_row_transcode_with_nothing_wished_for_keeps_size_frames_and_sound(self, conn, numbered, films, mode):
        said = transcoded(conn, numbered.id, mode)
        assert said["name"] == "A numbered film" and said["duration"] == pytest.approx(10, abs=0.05)
        path = taken(said, films / f"{mode}.mp4")
        assert numbers(path) == list(range(300))
        assert probe(path, "stream=codec_name,profile").split() == ["h264", "High", "aac", "LC"]
        assert picture_of(path) == "640x360"
        assert sound_seconds(path) == pytest.approx(10, abs=0.05)
        starts = [float(s) for s in probe(path, "stream=start_time").split()]
        assert starts == [0, 0], "picture and sound begin together"
        with urllib.request.urlopen(urllib.request.Request(said["output_url"], method="HEAD"), timeout=10) as answer:
            assert answer.headers["content-type"] == "video/mp4"
            assert 'filename="A numbered film.mp4"' in answer.headers["content-disposition"]

    def test_economy_is_smaller_and_a_worse_quality_smaller_still(self, conn, numbered):
        size = {q: int(transcoded(conn, numbered.id, TranscodeMode.economy, VideoConfig(quality=q))["size"]) for q in (18, 23, 35)}
        assert size[18] > size[23] > size[35]
        assert int(transcoded(conn, numbered.id, TranscodeMode.lightning)["size"]) > size[23]

    @pytest.mark.parametrize("rate, wanted", [(15, list(range(0, 300, 2))), (60, [n // 2 for n in range(600)]), (10, None)])
    def test_row_transcode_to_another_frame_rate_has_exactly_those_frames(self, conn, numbered, films, rate, wanted):
        path = taken(transcoded(conn, numbered.id, video=VideoConfig(framerate=rate)), films / f"rate-{rate}.mp4")
        seen = numbers(path)
        assert len(seen) == 10 * rate and probe(path, "stream=r_frame_rate").split()[0] == f"{rate}/1"
        # Of two that are equally near, either will do.
        assert all(abs(n - at * 30 / rate) <= max(15 / rate, 0.5) for at, n in enumerate(seen)), seen[:20]
        assert sound_seconds(path) == pytest.approx(10, abs=0.05)

    @pytest.mark.parametrize("lines, wanted", [(180, "320x180"), (720, "1280x720"), (359, "640x360")])
    def test_row_transcode_to_so_many_lines_keeps_the_shape(self, conn, numbered, films, lines, wanted):
        path = taken(transcoded(conn, numbered.id, video=VideoConfig(resolution=lines)), films / f"lines-{lines}.mp4")
        assert picture_of(path) == wanted
        assert numbers(path, scaled="scale=640:360") == list(range(300))

    def test_row_transcode_to_another_shape_cuts_fits_or_adds_bars(self, conn, corners, films):
        seen = {}
        for mode in (ResizeMode.crop, ResizeMode.fit, ResizeMode.pad):
            wish = VideoConfig(resolution=240, aspect_ratio="1:1", resize_mode=mode)
            path = taken(transcoded(conn, corners.id, video=wish), films / f"{mode}.mp4")
            width, height = (int(n) for n in picture_of(path).split("x"))
            seen[mode] = (width, height)
            corner, middle = pixel(path, 2, 2), pixel(path, width // 2, height // 2)
            edge = pixel(path, 2, height // 2), pixel(path, width - 3, height // 2)
            assert is_near(middle, WHITE), middle
            if mode == ResizeMode.crop:
                # A square out of the middle: 140 of 640 columns go on either side, the red ones with them.
                assert is_near(corner, WHITE) and all(is_near(e, WHITE) for e in edge), (corner, edge)
            elif mode == ResizeMode.fit:
                assert is_near(corner, RED) and is_near(edge[0], RED) and is_near(edge[1], BLUE)
            else:
                assert is_near(corner, BLACK) and is_near(edge[0], RED) and is_near(edge[1], BLUE)
        assert seen == {"crop": (240, 240), "fit": (240, 136), "pad": (240, 240)}

    def test_a_shape_alone_keeps_the_lines_or_the_columns(self, conn, corners, films):
        sizes = {}
        for ratio in ("1:1", 2.0):
            for mode in (ResizeMode.crop, ResizeMode.pad):
                said = transcoded(conn, corners.id, video=VideoConfig(aspect_ratio=ratio, resize_mode=mode))
                sizes[str(ratio), mode] = picture_of(taken(said, films / "shape.mp4"))
        assert sizes == {
            ("1:1", "crop"): "360x360", ("1:1", "pad"): "640x640", ("2.0", "crop"): "640x320", ("2.0", "pad"): "720x360",
        }  # fmt: skip

    def test_row_transcode_of_unusual_pictures_comes_out_upright_and_square(self, conn, api, films):
        source = ["-f", "lavfi", "-i", CORNERS]
        x264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
        hdr = "-c:v libx265 -preset ultrafast -x265-params log-level=none -pix_fmt yuv420p10le"
        hdr += " -color_trc smpte2084 -color_primaries bt2020 -colorspace bt2020nc"
        ffmpeg(*source, *x264, str(films / "flat.mp4"))
        cases = {
            # What it is made of, and what it becomes with 180 lines.
            "turned.mp4": (["-i", str(films / "flat.mp4"), "-c", "copy", "-metadata:s:v", "rotate=90"], "102x180"),
            "wide.mp4": ([*source, "-vf", "scale=320:360", "-aspect", "16:9", *x264], "320x180"),
            "fields.ts": ([*source, *x264, "-flags", "+ildct+ilme", "-top", "1"], "320x180"),
            "bright.mp4": ([*source, *hdr.split()], "320x180"),
        }
        seen = {}
        for name, (words, _) in cases.items():
            ffmpeg(*words, str(films / name))
            job = api("POST", "/transcode", {"source": slot_with(api, films / name), "video_config": {"resolution": 180}})
            path = taken(until_ended(lambda: api("GET", f"/transcode/{job.data['job_id']}").data), films / f"made-{name}.mp4")
            seen[name] = picture_of(path)
            assert probe(path, "stream=sample_aspect_ratio,field_order,pix_fmt").split() == ["1:1", "yuv420p", "progressive"], name
            assert int(probe(path, "stream=nb_frames")) == 50, name
            # What was turned has its left end below.
            ends = [pixel(path, 51, 177), pixel(path, 51, 2)] if name == "turned.mp4" else [pixel(path, 2, 90), pixel(path, 317, 90)]
            assert ends[0][0] > ends[0][2] + 80 and ends[1][2] > ends[1][0] + 80, (name, ends)
        assert seen == {name: size for name, (_, size) in cases.items()}


class TestSound:
    def test_row_transcode_without_sound(self, conn, numbered, films):
        path = taken(transcoded(conn, numbered.id, audio=AudioConfig(mute=True)), films / "mute.mp4")
        assert probe(path, "stream=codec_name").split() == ["h264"]
        assert numbers(path) == list(range(300))

    def test_what_has_only_sound_or_only_pictures_keeps_it(self, conn, api, films, corners):
        assert probe(taken(transcoded(conn, corners.id), films / "silent.mp4"), "stream=codec_name").split() == ["h264"]
        ffmpeg("-f", "lavfi", "-i", "sine=f=440:r=44100:d=5", str(films / "tone.wav"))
        audio = conn.upload(file_path=str(films / "tone.wav"), name="A tone")
        said = transcoded(conn, audio.id, video=VideoConfig(resolution=720, aspect_ratio="1:1"))
        assert said["duration"] == pytest.approx(5, abs=0.05)
        with urllib.request.urlopen(said["output_url"], timeout=10) as answer:
            assert answer.headers["content-type"] == "audio/mp4"
        assert sound_seconds(said["output_url"]) == pytest.approx(5, abs=0.05)
        # Known at once of what is here, else when it was looked at.
        refused = api("POST", "/transcode", {"source": audio.id, "audio_config": {"mute": True}})
        assert is_error(refused, 400) and "nothing is left" in refused.json["message"]
        with pytest.raises(videodb.exceptions.InvalidRequestError, match="nothing is left"):
            conn.transcode(audio.id, None, audio_config=AudioConfig(mute=True))
        job = api("POST", "/transcode", {"source": slot_with(api, films / "tone.wav"), "audio_config": {"mute": True}})
        said = until_ended(lambda: api("GET", f"/transcode/{job.data['job_id']}").data)
        assert said["status"] == "error" and "nothing is left" in said["message"] and said["output_url"] is None


class TestSources:
    def test_row_transcode_takes_every_url_of_ours(self, conn, api, numbered, films):
        # The SDK takes the URLs of a piece for those of the video.
        piece = conn.get_collection().get_video(numbered.id).generate_stream([(2, 3), (6, 8)])
        made = numbered.download("taken")
        cases = {
            numbered.stream_url: list(range(300)),
            numbered.player_url: list(range(300)),
            made["download_url"]: list(range(300)),
            slot_with(api, films / "numbered.mp4"): list(range(300)),
            piece: [*range(60, 90), *range(180, 240)],
        }
        for n, (source, wanted) in enumerate(cases.items()):
            path = taken(transcoded(conn, source), films / f"source-{n}.mp4")
            assert numbers(path) == wanted, source
            assert sound_seconds(path) == pytest.approx(len(wanted) / 30, abs=0.06), source

    def test_row_transcode_of_a_list_of_different_sources_has_one_size(self, conn, api, numbered, films):
        """Every picture is fitted into the size of the first; none is lost where the size changes."""
        small = conn.upload(file_path=str(film(films / "small.mp4", 4, size="480x480", tone=600)))
        shots = [{"video_id": numbered.id, "collection_id": "default", "shots": [[1, 2]]}]
        shots += [{"video_id": small.id, "collection_id": "default", "shots": [[0, 2]]}]
        shots += [{"video_id": numbered.id, "collection_id": "default", "shots": [[4, 5]]}]
        stream = api("POST", "/compile", shots).data["stream_url"]
        path = taken(transcoded(conn, stream), films / "list.mp4")
        assert picture_of(path) == "640x360"
        seen = numbers(path)
        assert len(seen) == 120 and seen[:30] == list(range(30, 60)) and seen[90:] == list(range(120, 150))
        # The square one stands in the middle, 360 pixels wide.
        assert numbers(path, scaled="crop=360:360,scale=480:480")[30:90] == list(range(60))
        path = taken(transcoded(conn, stream, video=VideoConfig(framerate=15)), films / "list-15.mp4")
        assert len(numbers(path)) == 60

    def test_row_transcode_by_npm_of_a_url_with_a_callback(self, site, films, folder):  # noqa: F811
        """Both forms of an answer are told: of the plain one, and of one with every wish."""
        source = film(folder / "film.mp4", 4)
        with own_server(folder, VITASCOPE_ALLOW_PRIVATE_URLS="true") as server:
            api = Wire(server.url, server.key)
            told = node("node_transcode.js", server.url, server.key, slot_with(api, source), f"{site.url}/hook")
            assert told["plain"]["status"] == told["wished"]["status"] == "done"
            assert numbers(told["plain"]["outputUrl"]) == list(range(120))
            path = folder / "wished.mp4"
            fetched(told["wished"]["outputUrl"], path)
            assert picture_of(path) == "240x180" and probe(path, "stream=codec_name").split() == ["h264"]
            assert int(probe(path, "stream=nb_frames")) == 60
            assert site.heard.wait(10)
            until = time.monotonic() + 10
            while len(site.told) < 2 and time.monotonic() < until:
                time.sleep(0.05)
            for name, hook in zip(("plain", "wished"), site.told):
                assert hook["job_id"] == hook["data"]["job_id"] == told[name]["jobId"]
                assert hook["status"] == hook["data"]["status"] == "done"
                assert hook["data"]["output_url"] == told[name]["outputUrl"]
            assert len(site.told) == 2

    def test_a_url_elsewhere_is_fetched_and_what_fails_is_told(self, site, films, folder):  # noqa: F811
        (films / "page.txt").write_text("no film")
        source = film(films / "elsewhere.mp4", 3)
        with own_server(folder, VITASCOPE_ALLOW_PRIVATE_URLS="true") as server:
            api = Wire(server.url, server.key)

            def ended(name: str) -> dict:
                job = api("POST", "/transcode", {"source": f"{site.url}/{name}", "callback_url": f"{site.url}/hook"})
                return until_ended(lambda: api("GET", f"/transcode/{job.data['job_id']}").data)

            said = ended(source.name)
            assert said["name"] == "elsewhere.mp4" and numbers(said["output_url"]) == list(range(90))
            assert said["duration"] == pytest.approx(3, abs=0.05)
            for name, word in {"page.txt": "not media", "missing.mp4": "404"}.items():
                site.heard.clear()
                said = ended(name)
                assert said["status"] == "error" and word in said["message"], said
                assert site.heard.wait(10)
                assert site.told[-1]["success"] is False and site.told[-1]["job_id"] == said["job_id"]
            assert leftovers(server) == []


def own_server(folder: Path, **more: str):
    class Own:
        def __enter__(self):
            self.server = Server(folder, **more)
            self.server.start()
            return self.server

        def __exit__(self, *_):
            if self.server.running:
                self.server.kill()

    return Own()


class TestRefusals:
    @pytest.mark.parametrize(
        "body, word",
        [
            ({}, "source"),
            ({"source": "  "}, "source"),
            ({"source": "file:///etc/passwd"}, "http"),
            ({"mode": "fast"}, "mode"),
            ({"video_config": {"resolution": 100}}, "resolution"),
            ({"video_config": {"resolution": 4320}}, "3840"),
            ({"video_config": {"resolution": 2160, "aspect_ratio": "3:1"}}, "3840"),
            ({"video_config": {"quality": 52}}, "quality"),
            ({"video_config": {"framerate": 0}}, "framerate"),
            ({"video_config": {"framerate": 121}}, "framerate"),
            ({"video_config": {"aspect_ratio": "wide"}}, "aspect_ratio"),
            ({"video_config": {"aspect_ratio": "11:1"}}, "aspect_ratio"),
            ({"video_config": {"aspectRatio": 0}}, "aspect_ratio"),
            ({"video_config": {"resizeMode": "stretch"}}, "resize_mode"),
            ({"callback_url": "http://"}, "callback_url"),
            ({"video_config": {"resolution": "hd"}}, "body"),
        ],
    )
    def test_what_makes_no_sense_is_refused_before_there_is_a_job(self, api, numbered, body, word):
        answer = api("POST", "/transcode", body if "source" in body or not body else {"source": numbered.id, **body})
        assert is_error(answer, 400) and word in answer.json["message"], answer.json

    def test_row_transcode_of_others_is_not_found(self, conn, api, numbered, films):
        job = conn.transcode(numbered.id, "")
        until_ended(lambda: conn.get_transcode_details(job))
        assert is_error(api("GET", "/transcode/job-00000000000000000000000000"), 404)
        home = api("POST", "/collection", {"name": "elsewhere"}).data["id"]
        bound = api("POST", "/user/api_key", {}).data["api_key"]
        assert is_success(api("PUT", "/user/api-key-collections", {"api_key": bound, "collection_ids": [home]}))
        other = api.As(bound)
        assert is_error(other("GET", f"/transcode/{job}"), 404)
        assert is_error(other("POST", "/transcode", {"source": numbered.id}), 404)
        # What it asked for itself, it sees.
        body = {"source": slot_with(api, films / "numbered.mp4"), "mode": "lightning"}
        own = other("POST", "/transcode", body).data["job_id"]
        assert until_ended(lambda: other("GET", f"/transcode/{own}").data)["status"] == "done"
        # A job of another kind is no transcode, and nothing of a stranger's account is.
        assert is_error(api("GET", "/transcode/nonsense"), 404)
        for source in ("nonsense", "m-00000000000000000000000000", f"{api.base}/streams/0000/index.m3u8"):
            assert is_error(api("POST", "/transcode", {"source": source}), 404)
        still = {"source": "rts-00000000000000000000000000"}
        assert is_error(api("POST", "/transcode", still), 400)

    def test_a_still_image_is_no_film(self, api, films):
        ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:d=0.1", "-frames:v", "1", str(films / "still.png"))
        job = api("POST", "/transcode", {"source": slot_with(api, films / "still.png")}).data["job_id"]
        said = until_ended(lambda: api("GET", f"/transcode/{job}").data)
        assert said["status"] == "error" and "still image" in said["message"]

    def test_a_transcode_is_no_download_but_is_deleted_like_one(self, conn, api, numbered):
        said = transcoded(conn, numbered.id)
        id = said["output_url"].split("/downloads/")[1].split("/")[0]
        assert id not in {d["id"] for d in api("GET", "/download?count=5000").data["downloads"]}
        assert is_error(api("POST", f"/download/{id}"), 400)
        assert said["expires_at"] > said["created_at"]
        assert is_success(api("DELETE", f"/download?download_id={id}"))
        assert is_error(api("GET", f"/transcode/{said['job_id']}"), 410)
        with pytest.raises(urllib.error.HTTPError) as gone:
            urllib.request.urlopen(said["output_url"], timeout=10)
        assert gone.value.code == 410
