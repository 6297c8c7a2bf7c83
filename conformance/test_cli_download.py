"""`vitascope upload`, `clip` and `download` on films with numbered pictures: what comes back is what was sent, frame by frame."""

from datetime import datetime
from pathlib import Path

import pytest
from rig_media import ffmpeg, film, numbers, sound_seconds
from rig_session import SCREEN, SESSIONS
from rig_wire import Wire
from test_cli import NOT_THERE, REFUSED, Cli
from test_retention import record

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    film(folder / "one.mp4", 6)
    (folder / "more").mkdir()
    ffmpeg("-f", "lavfi", "-i", "sine=d=3", "-c:a", "aac", str(folder / "more" / "tone.m4a"))
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:d=0.1", "-frames:v", "1", str(folder / "more" / "still.png"))
    (folder / "more" / "notes.txt").write_text("left out")
    return folder


@pytest.fixture(scope="module")
def uploaded(server, films, tmp_path_factory) -> dict[str, dict]:
    """What a folder became, by file name."""
    told = Cli(server, tmp_path_factory.mktemp("home")).json("upload", str(films))
    assert told["success"] and told["failed"] == [] and [Path(s).name for s in told["skipped"]] == ["notes.txt"]
    return {Path(done["source"]).name: done["asset"] for done in told["uploaded"]}


@pytest.fixture
def cli(server, folder) -> Cli:
    return Cli(server, folder)


def test_a_folder_becomes_assets_of_each_kind(uploaded, cli):
    assert {name: asset["id"].split("-")[0] for name, asset in uploaded.items()} == {"one.mp4": "m", "tone.m4a": "a", "still.png": "img"}
    listed = {a["id"]: a["name"] for a in cli.json("ls")["assets"]}
    assert all(listed[asset["id"]] == asset["name"] for asset in uploaded.values())
    assert numbers(uploaded["one.mp4"]["stream_url"]) == list(range(180))


def test_a_file_has_the_name_and_kind_that_are_wished(cli, films, folder):
    code, out, err = cli("upload", str(films / "one.mp4"), "--name", "Der Ton", "--media-type", "audio")
    assert (code, err) == (0, "") and out.startswith("a-") and "  Der Ton  http" in out
    assert not list((folder / ".local/state/vitascope/uploads").iterdir()), "what is done is forgotten"


def test_a_video_is_saved_frame_by_frame(cli, uploaded, folder):
    video = uploaded["one.mp4"]
    saved = folder / "saved.mp4"
    told = cli.json("download", video["id"], "-o", str(saved))
    assert told["file"] == {"path": str(saved), "bytes": saved.stat().st_size}
    assert numbers(saved) == list(range(180)) and abs(sound_seconds(saved) - 6) < 0.1
    code, _, err = cli("download", video["id"], "-o", str(saved))
    assert code == REFUSED and "is there already" in err
    again = cli("download", video["stream_url"], "-o", str(saved), "--force")
    assert again[:2] == (0, f"{saved}\n") and numbers(saved) == list(range(180))
    assert [path.name for path in folder.iterdir() if path.suffix == ".part"] == []


def test_sound_and_pictures_are_saved_too(cli, uploaded, folder, films):
    cli.json("download", uploaded["tone.m4a"]["id"], "-o", str(folder / "tone.m4a"))
    assert abs(sound_seconds(folder / "tone.m4a") - 3) < 0.1
    cli.json("download", uploaded["still.png"]["id"], "-o", str(folder / "still.png"))
    assert (folder / "still.png").read_bytes() == (films / "more" / "still.png").read_bytes()


def test_what_cannot_be_saved_is_said(cli, server, uploaded, folder):
    assert cli("download", "m-nobody")[0] in (REFUSED, NOT_THERE)
    code, _, err = cli("download", server.url + "/health", "-o", str(folder / "x"))
    assert code != 0 and err.startswith("vitascope: ")
    code, _, err = cli("download", uploaded["one.mp4"]["id"], "-o", str(folder / "no" / "where.mp4"))
    assert code == REFUSED and "cannot be written" in err
    assert not (folder / "x").exists()


def test_a_clip_of_an_upload_is_exact(cli, uploaded, folder):
    video, saved = uploaded["one.mp4"]["id"], folder / "clip.mp4"
    told = cli.json("clip", video, "1.5", "0:03.2", "--download", str(saved))
    assert told["file"]["path"] == str(saved) and numbers(saved) == numbers(told["stream_url"]) == list(range(45, 96))
    assert abs(sound_seconds(saved) - 51 / 30) < 0.022
    code, out, err = cli("clip", video, "0:02.51", "2.64")
    assert (code, err) == (0, "") and "/watch?v=" in out
    code, _, err = cli("clip", video, "7", "9")
    assert code == REFUSED and "7 s" in err, "it says what there is"


def test_a_clip_of_an_rtstream(cli, server, folder):
    api = Wire(server.url, server.key)
    session = record(api, folder, 4, SCREEN)
    shown = api("GET", f"{SESSIONS}/{session}").data
    (rtstream,) = [s["id"] for s in shown["rtstreams"]]
    begin = api("GET", f"/rtstream/{rtstream}").data["kept_from"] or shown["created_at"]
    start = int(datetime.fromisoformat(str(begin)).timestamp())
    told = cli.json("clip", rtstream, str(start), str(start + 60), "--download", str(folder / "clip.mp4"))
    assert told["stream_url"].startswith(server.url) and "/watch?v=" in told["player_url"]
    assert told["file"]["bytes"] == (folder / "clip.mp4").stat().st_size and len(numbers(folder / "clip.mp4")) > 20
    assert cli("clip", rtstream, "5", "5")[0] == REFUSED
    assert cli("clip", "img-1", "0", "5")[0] == REFUSED
