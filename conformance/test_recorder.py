"""The recorder under the unpatched capture client, before any server is involved: what it lists, what it answers, and how it ends."""

import asyncio
import os
import signal
import subprocess
from contextlib import asynccontextmanager

import pytest
from rig_server import binaries, free_ports
from stage.stage import Stage
from videodb.capture import CaptureClient

PREFIX = "videodb_recorder|"


@pytest.fixture(scope="module")
def desktop():
    with Stage() as stage:
        yield stage.desktop


@asynccontextmanager
async def capture(base_url: str = "http://127.0.0.1:9"):
    client = CaptureClient(client_token="st-nobody", base_url=base_url)
    try:
        yield client
    finally:
        await asyncio.wait_for(client.shutdown(), 10)


def with_client(action, base_url: str = "http://127.0.0.1:9"):
    async def run():
        async with capture(base_url) as client:
            return await action(client)

    return asyncio.run(asyncio.wait_for(run(), 30))


def test_every_kind_is_listed_and_the_default_is_first(desktop, monkeypatch):
    for name, value in desktop.items():
        monkeypatch.setenv(name, value)
    channels = with_client(lambda client: client.list_channels())
    assert channels.mics.default.id == "mic:default" and "virtual" in channels.mics.default.name.lower()
    assert channels.system_audio.default.id == "system_audio:default" and "speakers" in channels.system_audio.default.name.lower()
    assert channels.displays.default.id == "display:1"
    assert all(c.name for c in channels.all()) and len({c.id for c in channels.all()}) == len(channels.all())


def test_silence_stands_in_for_a_missing_device(desktop, monkeypatch, folder):
    monkeypatch.setenv("DISPLAY", desktop["DISPLAY"])
    for name in ("PULSE_SERVER", "PULSE_RUNTIME_PATH", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, f"unix:{folder}/nobody" if name == "PULSE_SERVER" else str(folder))
    channels = with_client(lambda client: client.list_channels())
    assert channels.system_audio.default.name == "System audio (no device: silence)"
    assert channels.mics.default is not None and channels.displays.default is not None


def test_permissions_are_granted(desktop, monkeypatch):
    for name, value in desktop.items():
        monkeypatch.setenv(name, value)

    async def ask(client):
        return [await client.request_permission(kind) for kind in ("microphone", "screen_capture")]

    assert with_client(ask) == [True, True]


def test_a_server_that_is_not_there_is_an_error_in_words(desktop, monkeypatch):
    for name, value in desktop.items():
        monkeypatch.setenv(name, value)
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"

    async def start(client):
        channels = await client.list_channels()
        with pytest.raises(RuntimeError) as refused:
            await client.start_session("cap-nobody", [channels.mics.default])
        return str(refused.value)

    assert "127.0.0.1" in with_client(start, nobody)


class Raw:
    """The recorder as a process of lines, for what the client never says."""

    def __init__(self, environment: dict[str, str]):
        self.process = subprocess.Popen(
            [str(binaries() / "vitascope-capture")], env=os.environ | environment, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def say(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        return self.process.stdout.readline()

    def end(self) -> int:
        return self.process.wait(8)


@pytest.fixture
def raw(desktop):
    recorder = Raw(desktop)
    yield recorder
    recorder.process.kill()
    recorder.process.wait()
    for pipe in (recorder.process.stdin, recorder.process.stdout, recorder.process.stderr):
        pipe.close()


def test_shutdown_is_answered_and_ends_with_zero(raw):
    raw.say(PREFIX + '{"command":"init","commandId":"1","params":{"apiUrl":"http://127.0.0.1:9/"}}')
    assert '"commandId":"1"' in raw.hear().replace(" ", "")
    raw.say(PREFIX + '{"command":"shutdown","commandId":"2","params":{}}')
    answer = raw.hear()
    assert answer.startswith(PREFIX) and '"success"' in answer
    assert raw.end() == 0


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_with_zero(raw, ending):
    raw.say(PREFIX + '{"command":"ping","commandId":"1","params":{}}')
    assert '"success"' in raw.hear()
    raw.process.send_signal(ending)
    assert raw.end() == 0


def test_the_end_of_its_input_is_its_end(raw):
    raw.say(PREFIX + '{"command":"ping","commandId":"1","params":{}}')
    raw.hear()
    raw.process.stdin.close()
    assert raw.end() == 0


def test_nonsense_is_survived(raw):
    for line in ("", "noise", PREFIX, PREFIX + "{", PREFIX + "[]", PREFIX + '{"command":7}', "x" * 100_000):
        raw.say(line)
    raw.say(PREFIX + '{"command":"frobnicate","commandId":"a","params":{}}')
    raw.say(PREFIX + '{"command":"ping","commandId":"b","params":{}}')
    heard = []
    # Commands run side by side, so the answers come in any order.
    while not all(any(name in line for line in heard) for name in ('"a"', '"b"')):
        line = raw.hear()
        assert line and len(line) < 65536
        heard.append(line)
    assert any('"a"' in line and '"error"' in line for line in heard), "an unknown command is answered, or the client waits for ever"
    assert not any('"event":"error"' in line.replace(" ", "") for line in heard)


def test_version_is_told(desktop):
    told = subprocess.run([str(binaries() / "vitascope-capture"), "--version"], capture_output=True, text=True, timeout=10)
    assert told.returncode == 0 and told.stdout.strip().split()[-1][0].isdigit()
