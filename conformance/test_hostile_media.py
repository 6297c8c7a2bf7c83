"""Files that mean harm: twenty of those that `bench/hostile` sends by the hundred. None ends the server, takes much memory or time, or makes it open
a file or ask a server that it names; what is refused says why and leaves nothing behind."""

from pathlib import Path

import pytest
from rig_hostile import Trap, few
from rig_watch import Watch, offer
from rig_wire import Wire

MOST_MB, MOST_SECONDS = 512, 30


@pytest.fixture
def trap(folder):
    trap = Trap(folder)
    yield trap
    trap.close()


def test_the_trap_springs(trap):
    """What never springs would prove nothing."""
    import urllib.error
    import urllib.request

    assert trap.sprung() == []
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(trap.url, timeout=10)
    trap.path.read_bytes()
    assert trap.sprung() == ["/secret.ts", "the file was opened"]


def files(objects: Path) -> set[Path]:
    """What uploads leave themselves. What was taken before is still being encoded meanwhile, and writes its tracks."""
    return {p for p in objects.rglob("*") if p.is_file() and p.relative_to(objects).parts[0] != "tracks"}


def test_hostile_files_harm_nobody(own, folder, trap, measured):
    pid, taken, slowest, watch = own.pid, [], 0.0, Watch(own.pid)
    objects = own.data / "objects"
    cases = list(few(folder, trap, seed=7))
    assert len(cases) == 20
    for case in cases:
        before = files(objects)
        outcome = offer(own, case, MOST_SECONDS)
        assert outcome.wrong == [], outcome
        assert trap.sprung() == [], outcome
        slowest = max(slowest, outcome.answered)
        if outcome.asset:
            taken.append(outcome.asset["id"])
        else:
            assert outcome.message and files(objects) == before, outcome
    watch.stop()
    assert own.running and own.pid == pid
    assert {asset["id"] for asset in Wire(own.url, own.key)("GET", "/assets").data} == set(taken)
    assert len(taken) < len(cases), "most of them are good for nothing"
    assert watch.most < MOST_MB, watch.largest
    measured("hostile files: the slowest answer", slowest, "s", f"< {MOST_SECONDS}")
    measured("hostile files: most memory, all processes", watch.most, "MB", f"< {MOST_MB}")
