"""What tests share: one server, one receiver, one desktop, and a place for what was measured, printed at the end of the run."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from rig_receiver import Receiver
from rig_server import Server, binaries
from rig_wire import Wire

_measured: list[str] = []


@pytest.fixture
def measured(request):
    """`measured("active", 1.2, "s", "< 3")`: one line of the table at the end."""

    def note(what: str, value: object, unit: str = "", wanted: str = "") -> None:
        shown = f"{value:.3f}" if isinstance(value, float) else str(value)
        line = f"{what:<46} {shown:>10} {unit:<4} {('wanted ' + wanted) if wanted else ''}".rstrip()
        _measured.append(line)
        print(line)

    return note


def pytest_terminal_summary(terminalreporter):
    if _measured:
        terminalreporter.section("measured")
        for line in _measured:
            terminalreporter.write_line(line)


@pytest.fixture
def folder():
    """A folder for one test; kept when VITASCOPE_KEEP is set."""
    yield from _folder("test")


def _folder(name: str):
    path = Path(tempfile.mkdtemp(prefix=f"vitascope-{name}-"))
    yield path
    if os.environ.get("VITASCOPE_KEEP"):
        print(f"kept {path}")
    else:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def recorder_binary():
    """The SDK's client starts the recorder that was built here, and no other."""
    os.environ["VITASCOPE_CAPTURE_BIN"] = str(binaries() / "vitascope-capture")


@pytest.fixture(scope="session")
def server_folder():
    yield from _folder("server")


@pytest.fixture(scope="session")
def server(server_folder, request):
    server = Server(server_folder)
    _measured.append(f"{'from start to /health':<46} {server.start():>10.3f} s")
    yield server
    if server.running:
        code = server.stop()
        assert code == 0, f"SIGTERM ended the server with {code}:\n{server.tail()}"


@pytest.fixture
def own(folder):
    """A server of this test's own, since it will not survive it."""
    server = Server(folder)
    server.start()
    yield server
    if server.running:
        server.kill()


@pytest.fixture(scope="session")
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def api(server):
    """Raw HTTP with the account's key."""
    return Wire(server.url, server.key)


@pytest.fixture
def conn(server):
    import videodb

    return videodb.connect(api_key=server.key, base_url=server.url)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what the server said last."""
    outcome = yield
    report = outcome.get_result()
    server = getattr(item, "funcargs", {}).get("server")
    if report.failed and server is not None:
        report.sections.append(("server log, the end of it", server.tail()))
