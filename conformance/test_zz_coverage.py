"""If no SDK or HTTP test calls it, it does not exist: every operation that docs/coverage.md calls done was called in this run.

The file's name puts it last. It asks the server's own metrics, which count answers by route.
"""

import re
import urllib.request

import pytest
from rig_server import ROOT


def test_every_operation_that_is_done_was_called(request, server):
    modules = {item.module.__name__ for item in request.session.items}
    if not {"test_capture_api", "test_first_light"} <= modules:
        pytest.skip("only a part of the tests runs")
    with urllib.request.urlopen(server.url + "/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    counted = re.findall(r'^vitascope_http_requests_total\{method="(\w+)",route="([^"]+)",status="(\d+)"\}', metrics, re.MULTILINE)
    called = {f"{method} {route}" for method, route, status in counted if status != "501"}
    table = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
    done = {f"{method} {route}" for method, route in re.findall(r"^\| (\w+) `([^`]+)` \| done \|$", table, re.MULTILINE)}
    assert len(done) > 20
    assert sorted(done - called) == []
