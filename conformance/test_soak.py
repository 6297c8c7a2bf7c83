"""The short form of bench/soak: after some sessions the server has as many descriptors open as before them."""

import pytest
from rig_server import Server
from rig_soak import Soak

pytestmark = pytest.mark.timeout(120)


def test_sessions_leave_no_descriptor_open(folder, measured):
    server = Server(folder)
    server.start()
    try:
        soak = Soak(server, folder)
        soak.run(12)
    finally:
        server.kill()
    measured("descriptors before and after sessions", f"{soak.before} and {soak.after}")
    assert soak.sessions >= 2 and soak.after <= soak.before
