"""`vitascope check` is fed damage: each kind is done to a copy of a library that was whole, is named, and makes the command fail."""

import os
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from rig_server import Server, binaries
from rig_session import SCREEN, SESSIONS
from rig_wire import Wire
from test_retention import record

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    """The data of a server that recorded, exported and stopped in order."""
    folder = tmp_path_factory.mktemp("library")
    server = Server(folder)
    server.start()
    api = Wire(server.url, server.key)
    session = record(api, folder, 2, SCREEN)
    assert api("GET", f"{SESSIONS}/{session}").data["exported_video_id"]
    assert server.stop() == 0
    return server.data


@pytest.fixture
def data(library, folder) -> Path:
    shutil.copytree(library, folder / "data")
    return folder / "data"


def check(data: Path, *more: str) -> tuple[int, str]:
    environment = {"PATH": os.environ["PATH"], "VITASCOPE_DATA_DIR": str(data)}
    done = subprocess.run([str(binaries() / "vitascope"), "check", *more], env=environment, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def change(data: Path, *statements: str) -> None:
    """As no part of the server would: foreign keys are not looked at."""
    with closing(sqlite3.connect(data / "vitascope.db")) as db, db:
        for statement in statements:
            assert db.execute(statement).rowcount != 0, statement


def an_object(data: Path) -> Path:
    return sorted((data / "objects").rglob("*.dat"))[0]


def key(data: Path, file: Path) -> str:
    return str(file.relative_to(data / "objects"))


def orphan(data: Path, name: str, age: float) -> Path:
    file = an_object(data).with_name(name)
    file.write_bytes(b"nobody speaks of this")
    os.utime(file, (time.time() - age, time.time() - age))
    return file


def test_a_clean_library_is_well(data):
    code, said = check(data, "--deep")
    assert code == 0 and "damaged" not in said and "\norphan " not in said, said


def test_an_object_that_is_missing_is_named(data):
    file = an_object(data)
    file.unlink()
    code, said = check(data)
    assert code == 1 and f"object {key(data, file)} is missing" in said, said


def test_an_object_that_is_cut_off_is_named(data):
    file = an_object(data)
    size = file.stat().st_size
    os.truncate(file, size - 1)
    code, said = check(data)
    assert code == 1 and f"object {key(data, file)} has {size - 1} bytes, not {size}" in said, said


@pytest.mark.parametrize("index", ["x''", "x'00ff00ff'", "substr(sample_index, 1, length(sample_index) - 1)"])
def test_an_index_that_is_damaged_is_named(data, index):
    change(data, f"update chunk set sample_index = {index}")
    code, said = check(data)
    assert code == 1 and "damaged  track trk-" in said and "index" in said, said


def test_rows_that_speak_of_what_is_not_there_are_named(data):
    change(data, "delete from track")
    code, said = check(data)
    assert code == 1 and "of table chunk speak of a track that is not there" in said, said


def test_a_video_of_which_nothing_is_recorded_is_named(data):
    change(data, "insert into dropped_object select object, track_id, bytes, 1 from chunk", "delete from chunk")
    code, said = check(data)
    assert code == 1 and "nothing is recorded of its part of track" in said, said
    assert "its row says" in said, "the size of a track is looked at, too"
    assert "orphans  0 " in said, "the sweeper will take the objects: nobody else may"


def test_an_object_that_nothing_speaks_of_is_named_and_removed_when_it_is_old_enough(data):
    old, young = orphan(data, "1.dat", 3700), orphan(data, "2.dat", 3500)
    code, said = check(data)
    assert code == 1 and f"orphan   {key(data, old)} " in said and key(data, young) not in said, said
    assert old.exists(), "it only reads"
    before = {file for file in (data / "objects").rglob("*.dat")}
    code, said = check(data, "--repair")
    assert code == 0 and "removed  1 orphans" in said, said
    assert before - {file for file in (data / "objects").rglob("*.dat")} == {old}, "nothing else goes"
    assert check(data)[0] == 0


def test_repair_touches_nothing_but_orphans(data):
    """What the sweeper owes stays its own, and damage stays for a person to look at."""
    file = an_object(data)
    change(data, "insert into dropped_object select 'tracks/gone/1.dat', track_id, 5, 1 from chunk limit 1")
    owed = data / "objects" / "tracks" / "gone" / "1.dat"
    owed.parent.mkdir()
    owed.write_bytes(b"owed!")
    os.utime(owed, (time.time() - 9000, time.time() - 9000))
    file.unlink()
    code, said = check(data, "--repair")
    assert code == 1 and "removed  0 orphans" in said and "waiting  1 objects" in said, said
    assert owed.exists()
