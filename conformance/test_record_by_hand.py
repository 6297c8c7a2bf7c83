"""`vitascope-capture record`: a desktop recorded without any SDK, for people (a line, Ctrl+C, an address) and for scripts (JSON, exit codes)."""

import json
import os
import signal
import subprocess
import time
import urllib.request

import pytest
from rig_server import binaries, free_ports
from rig_session import made, minted, until
from stage import frames
from stage.stage import Stage, die_with_parent


@pytest.fixture(scope="module")
def stage():
    with Stage() as stage:
        yield stage


class Recording:
    def __init__(self, stage: Stage, server, *words: str, token: str | None = None, **environment: str):
        named = {"VITASCOPE_SERVER": server.url, "VITASCOPE_TOKEN": token or server.key} if server else {}
        self.process = subprocess.Popen(
            [binaries() / "vitascope-capture", "record", *words], env=os.environ | stage.desktop | named | environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=die_with_parent,
        )  # fmt: skip

    def send(self, what: signal.Signals) -> None:
        self.process.send_signal(what)

    def next(self, event: str, **more: object) -> dict:
        """The next JSON line of that event."""
        for line in self.process.stdout:
            told = json.loads(line)
            if told["event"] == event and all(told.get(k) == v for k, v in more.items()):
                return told
        raise AssertionError(f"no {event} came:\n{self.process.stderr.read()}")

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=40)
        return self.process.returncode, out, err


def test_channels_are_listed_for_people_and_for_programs(stage):
    code, out, _ = Recording(stage, None, "--list").end()
    assert code == 0 and [line.split()[0] for line in out.splitlines()][:2] == ["mic:default", "system_audio:default"]
    code, out, _ = Recording(stage, None, "--list", "--json").end()
    listed = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and {"channel_id": "display:1", "type": "video"}.items() <= listed[-1].items()


def test_ctrl_c_stops_and_the_address_of_the_video_is_printed(stage, server, conn):
    recording = Recording(stage, server, "--name", "by hand")
    session = None
    for line in recording.process.stderr:
        if "Recording display:1, mic:default, system_audio:default as cap-" in line:
            session = line.split(" as ")[1].split(".")[0]
            break
    assert session, "it says that it records"
    time.sleep(2.5)
    recording.send(signal.SIGINT)
    code, out, err = recording.end()
    assert code == 0, err
    (address,) = out.split()
    assert address.startswith(server.url)
    with urllib.request.urlopen(address, timeout=10) as page:
        assert page.status == 200
    seen = conn.get_capture_session(session)
    assert (seen.status, seen.end_user_id, seen.metadata) == ("exported", "by hand", {"name": "by hand"})
    video = conn.get_collection("default").get_video(seen.exported_video_id)
    assert 2 < float(video.length) < 6 and frames.read(video.stream_url)[0].number == 0


def test_a_script_follows_it_and_a_suspension_is_an_honest_gap(stage, server, conn, measured):
    stage.play()
    recording = Recording(stage, server, "--json", "--seconds", "11", "--channel", "display:1", "--channel", "mic:default")
    started = recording.next("started")
    assert started["channels"] == ["display:1", "mic:default"]
    while (progress := recording.next("progress"))["seconds"] < 3:
        pass
    screen, mic = progress["channels"]
    assert screen["healthy"] and screen["fps"] > 4 and screen["bytes"] > 10_000 and mic["level_db"] > -60 and not mic["silent"]
    recording.send(signal.SIGSTOP)
    time.sleep(4)
    recording.send(signal.SIGCONT)
    assert "suspended" in recording.next("health", status="gap", channel_id="mic:default")["message"]
    recording.next("stopped")
    exported = recording.next("exported")
    code, _, err = recording.end()
    assert code == 0, err
    video = conn.get_collection("default").get_video(exported["video_id"])
    seen = [f for f in frames.read(video.stream_url) if f.number]
    before = [f for f in seen if f.number and f.at < 2.5]
    gap = max((b.at - a.at, a, b) for a, b in zip(seen, seen[1:]))
    after = [f for f in seen if f.at > gap[2].at + 1]
    # Where the film's beginning lies on the video's time, by each picture: the same before and after, or time has moved.
    first = [median([f.at - f.number / 8 for f in part]) for part in (before, after)]
    measured("gap of a suspension of 4 s", gap[0], "s", "3.5..5")
    measured("shift of the picture after it", first[1] - first[0], "s", "< 0.1")
    assert 3.5 < gap[0] < 5 and abs(first[1] - first[0]) < 0.1
    assert [f.number for f in seen] == sorted(f.number for f in seen), "nothing is shown out of order"


def test_a_killed_recorder_loses_nothing_that_it_sent(stage, server, api, conn, measured):
    recording = Recording(stage, server, "--json", "--channel", "display:1", "--channel", "mic:default")
    session = recording.next("started")["session_id"]
    while recording.next("progress")["seconds"] < 3:
        pass
    recording.send(signal.SIGKILL)
    killed = time.monotonic()
    assert recording.end()[0] == -signal.SIGKILL
    assert until(api, session, "exported", "failed", timeout=30) == "exported", "it was not stuck"
    measured("recorder killed to session exported", time.monotonic() - killed, "s", "< 30")
    video = conn.get_collection("default").get_video(conn.get_capture_session(session).exported_video_id)
    # It had recorded for three seconds; a second of them may have been on its way.
    assert float(video.length) > 2


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def test_a_client_token_records_into_a_session_that_was_made(stage, server, api):
    session, token = made(api), minted(api).token
    recording = Recording(stage, server, "--json", "--session", session, "--seconds", "1", "--channel", "mic:default", token=token)
    assert recording.next("started")["session_id"] == session
    assert recording.next("exported")["player_url"].startswith(server.url)
    assert recording.end()[0] == 0


def test_what_is_stopped_elsewhere_breaks_off_and_still_tells_the_video(stage, server, api):
    recording = Recording(stage, server, "--json", "--channel", "mic:default")
    session = recording.next("started")["session_id"]
    recording.next("progress")
    assert api("POST", f"/capture/session/{session}/stop").status == 200
    assert recording.next("exported")["session_id"] == session
    assert recording.end()[0] == 3
    assert until(api, session, "exported") == "exported"


@pytest.mark.parametrize(
    ("words", "token", "said"),
    [
        (["--channel", "mic:nobody"], None, "mic:nobody"),
        (["--channel", "mic:default"], "sk-wrong", "HTTP 401"),
        (["--channel", "mic:default"], "st-alone", "--session"),
        (["--channel", "mic:default", "--server", "somewhere"], None, "somewhere"),
        (["--channel", "mic:default", "--session", "cap-nobody"], None, "cap-nobody"),
    ],
)
def test_what_cannot_be_is_told_in_words(stage, server, words, token, said):
    code, out, err = Recording(stage, server, "--json", *words, token=token).end()
    assert code == 1 and said in err, err
    (told,) = [json.loads(line) for line in out.splitlines()]
    assert told["event"] == "error" and said in told["message"]


def test_a_server_that_is_not_there_and_a_word_that_is_none(stage):
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    code, _, err = Recording(stage, None, "--server", nobody, "--token", "sk-any").end()
    assert code == 1 and "cannot be reached" in err
    assert Recording(stage, None, "--nonsense").end()[0] == 2
    code, _, err = Recording(stage, None, "--server", nobody, VITASCOPE_TOKEN="").end()
    assert code == 1 and "API key" in err
