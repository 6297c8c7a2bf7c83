"""npm's capture client, unpatched, drives our recorder: `vitascope-capture install --node` puts it where the package looks (trap 17),
and the quickstart's flow goes through, as far as calls 1 to 25: session, token, channels, start, pause, resume, stop, export."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from rig_browser import BROWSER
from rig_server import binaries
from stage import sound
from stage.stage import Stage

SECONDS = 5


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """An application's folder with a package of its own: the recorder goes into it, and the cache's package is left as it is."""
    modules = Path(os.environ["NODE_PATH"])
    project = tmp_path_factory.mktemp("node-app")
    own = project / "node_modules"
    own.mkdir()
    for module in modules.iterdir():
        if module.name == "videodb":
            shutil.copytree(module, own / "videodb", ignore=shutil.ignore_patterns("bin"))
        elif not module.name.startswith("."):
            (own / module.name).symlink_to(module)
    shutil.copy(BROWSER / "node_capture.js", project)
    return project


@pytest.fixture(scope="module")
def installed(project) -> Path:
    done = subprocess.run([binaries() / "vitascope-capture", "install", "--node", project], capture_output=True, text=True, timeout=10)
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture(scope="module")
def told(server, installed) -> dict:
    with Stage() as stage:
        stage.play()
        # The passage that is read from the third second on is what the microphone hears.
        stage.wait_until(3.5)
        command = ["node", "node_capture.js", server.url, server.key, str(SECONDS)]
        environment = {name: value for name, value in os.environ.items() if name != "NODE_PATH"} | stage.desktop
        done = subprocess.run(command, cwd=installed, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{done.stdout[-1500:]}{done.stderr[-3000:]}"
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_both_names_are_there_and_lead_to_the_recorder(installed):
    for name in ("recorder", "capture"):
        path = installed / "node_modules/videodb/bin" / name
        version = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10)
        assert version.returncode == 0 and version.stdout.startswith("vitascope-capture ")


def test_a_folder_without_the_package_is_refused_in_words(tmp_path):
    done = subprocess.run([binaries() / "vitascope-capture", "install", "--node", tmp_path], capture_output=True, text=True, timeout=10)
    assert done.returncode == 1 and "npm install videodb" in done.stderr


def test_channels_are_found_and_streams_are_live(told):
    assert told["granted"] == ["granted", "granted"]
    assert told["chosen"] == ["mic:default", "display:1", "system_audio:default"]
    assert {(s["name"], *s["mediaTypes"]) for s in told["streams"]} == {("mic", "audio"), ("screen", "video"), ("system_audio", "audio")}


def test_the_session_reads_back_in_camel_case(told, server):
    assert told["id"].startswith("cap-") and told["collectionId"].startswith("c-")
    assert (told["endUserId"], told["metadata"], told["status"]) == ("node-user", {"app": "quickstart"}, "exported")
    assert told["video"]["id"].startswith("m-") and told["video"]["playerUrl"].startswith(server.url)


def test_index_audio_alone_brings_index_and_transcript(told):
    index = told["index"]
    assert index["made"] == {"status": "running", "type": "transcript", "config": {"segmenter": "word", "segmentationValue": 5}, "name": "notes"}
    assert index["listed"] == [index["id"]] and index["shown"] == ["stopped", "Only names"] and index["prompt"] == "Only names"
    texts = [scene["text"] for scene in index["scenes"]]
    assert texts and index["nextPage"] is False
    assert index["indexed"] == [[index["id"], told["micId"], text] for text in texts], "a frame is a record"
    # Trap 10: nobody asked for a transcript.
    assert " ".join(texts) == " ".join(told["finals"])


def test_its_socket_heard_every_state(told):
    assert told["states"] == ["created", "starting", "active", "stopping", "stopped", "exported"]


def test_the_recorders_events_are_those_of_a_good_run(told):
    names = [name for name, _ in told["events"]]
    # `shutdown` is the client's own, at the recorder's exit; anything but 0 and it would start it again (trap 16).
    assert names == ["recording:started", "recording:stopped", "shutdown"], told["events"]
    assert told["events"][-1][1]["code"] == 0


def test_a_pause_is_silence_and_the_session_lives_on(told, measured):
    assert told["statusAfterPause"] == "active"
    pcm, rate = sound.samples(told["micUrl"]), 8000

    def loudest(begin: float, end: float) -> int:
        return max(abs(v) for v in pcm[int(begin * rate) : int(end * rate)])

    paused, resumed = told["paused"] - told["started"], told["resuming"] - told["started"]
    assert loudest(paused + 0.3, resumed - 0.1) < 100 < loudest(0, paused - 0.1)
    assert loudest(resumed + 0.3, len(pcm) / rate) > 1000, "the microphone is heard again"
    recorded = told["stopping"] - told["started"]
    measured("length of npm's recording against its clock", float(told["video"]["length"]) - recorded, "s", "-1..1.5")
    assert -1 < float(told["video"]["length"]) - recorded < 1.5
