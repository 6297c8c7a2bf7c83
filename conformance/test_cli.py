"""The command line as a client: what it lists and plays, what it says when things go wrong, and what scripts may rely on."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from rig_server import Server, binaries, free_ports
from rig_session import SCREEN, SESSIONS
from rig_wire import Wire
from test_retention import record

pytestmark = pytest.mark.timeout(180)

REFUSED, AWAY, NO_KEY, NOT_THERE = 1, 3, 4, 5


class Cli:
    """`vitascope …` with a home of its own and a key for one server."""

    def __init__(self, server: Server, home: Path, **more: str):
        self.env = {"PATH": os.environ["PATH"], "HOME": str(home), "VITASCOPE_SERVER": server.url, "VITASCOPE_API_KEY": server.key} | more

    def start(self, *words: str, stderr: int = subprocess.PIPE, **more: str) -> subprocess.Popen:
        command = [str(binaries() / "vitascope"), *words]
        return subprocess.Popen(command, env=self.env | more, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True)

    def __call__(self, *words: str, patience: float = 90, **more: str) -> tuple[int, str, str]:
        process = self.start(*words, **more)
        out, err = process.communicate(timeout=patience)
        return process.returncode, out, err

    def json(self, *words: str, code: int = 0) -> dict:
        """One document on stdout, and nothing else there."""
        got, out, err = self(*words, "--json")
        assert got == code, (out, err)
        return json.loads(out)


@pytest.fixture
def cli(server, folder) -> Cli:
    return Cli(server, folder)


@pytest.fixture(scope="module")
def film(server, tmp_path_factory) -> dict:
    """A video of two seconds, as the server describes it."""
    api = Wire(server.url, server.key)
    session = record(api, tmp_path_factory.mktemp("cli"), 2, SCREEN)
    return api("GET", f"/video/{api('GET', f'{SESSIONS}/{session}').data['exported_video_id']}").data


def test_ls_lists_what_is_there(cli, film, conn):
    videos = cli.json("ls", "videos")["assets"]
    assert {a["asset_type"] for a in videos} == {"video"} and film["id"] in {a["id"] for a in videos}
    assert film["id"] in {a["id"] for a in cli.json("ls", "--collection", "default")["assets"]}
    assert film["id"] not in {a["id"] for a in cli.json("ls", "audios")["assets"]}
    empty = conn.create_collection(name="bare\x1b[2J", description="")
    assert cli.json("ls", "-c", empty.id)["assets"] == []
    listed = cli.json("ls", "collections")
    assert {empty.id, listed["default_collection"]} <= {c["id"] for c in listed["collections"]}

    code, out, err = cli("ls")
    assert (code, err) == (0, "") and out.startswith("ID ")
    line = next(line for line in out.splitlines() if line.startswith(film["id"]))
    assert " video " in line and line.endswith(film["name"])
    _, out, _ = cli("ls", "collections")
    assert "\x1b" not in out, "a name does not move the cursor"


def test_play_prints_the_page_that_plays(cli, film):
    assert cli("play", film["id"]) == (0, film["player_url"] + "\n", "")
    assert cli("play", film["id"], "--at", "1:02.5")[1] == film["player_url"] + "#t=62.5\n"
    told = cli.json("play", film["id"], "--at", "1")
    assert (told["player_url"], told["stream_url"]) == (film["player_url"] + "#t=1", film["stream_url"])
    assert cli("play", film["id"], "--at", "soon")[0] == 2


@pytest.mark.parametrize("words, code, said", [
    (("play", "m-00000000-0000-7000-8000-000000000000"), NOT_THERE, "was not found"),
    (("play", "../user"), REFUSED, "no id"),
    (("ls", "--key", "sk-wrong"), NO_KEY, "the key was refused"),
    (("ls", "--server", "localhost"), REFUSED, "no URL of a server"),
    (("ls", "-c", "c-nobody"), NOT_THERE, "was not found"),
])
def test_what_goes_wrong_is_said_and_has_a_code(cli, words, code, said):
    got, out, err = cli(*words)
    assert (got, out) == (code, "") and err.startswith("vitascope: ") and said in err
    told = cli.json(*words, code=code)
    assert told["success"] is False and said in told["error"]["message"] and told["error"]["code"]


def test_a_server_that_is_not_there_and_a_key_that_is_not_set(cli):
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    code, out, err = cli("ls", VITASCOPE_SERVER=nobody)
    assert (code, out) == (AWAY, "") and f"{nobody} cannot be reached" in err
    code, _, err = cli("ls", VITASCOPE_API_KEY="")
    assert code == NO_KEY and "VITASCOPE_API_KEY" in err


def test_a_client_does_not_care_about_a_servers_settings(cli):
    assert cli("ls", VITASCOPE_LISTEN="nonsense", VITASCOPE_CONFIG="/nowhere")[0] == 0


def test_a_reader_that_goes_away_is_no_error(cli, film):
    process = cli.start("ls")
    process.stdout.close()
    assert process.wait(30) == 0 and process.stderr.read() == ""
