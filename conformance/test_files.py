"""Usage and files to take away, as the SDKs and plain clients see them. Contract: core.md §14."""

import urllib.request

import pytest
from rig_browser import node
from rig_wire import Wire, is_error, is_success

PAYMENT = [
    ("POST", "/billing/checkout"), ("GET", "/billing/checkouts"), ("POST", "/billing/topup"),
    ("GET", "/billing/auto_recharge"), ("POST", "/billing/auto_recharge"),
]  # fmt: skip


class TestUsage:
    def test_python_reads_what_was_used(self, conn, api):
        before = conn.check_usage()
        assert is_success(api("GET", "/user"))
        after = conn.check_usage()
        assert after["credit_balance"] == 0 and after["usage_this_month"] == 0, "nobody is billed"
        assert after["breakdown"]["requests"] >= before["breakdown"]["requests"] + 2
        assert all(isinstance(n, (int, float)) for n in after["breakdown"].values()), after["breakdown"]
        assert after["in_all"]["requests"] >= after["breakdown"]["requests"] and after["months"][0]["month"] == after["month"]
        assert conn.get_invoices() == []

    def test_npm_reads_it_as_well(self, server):
        told = node("node_files.js", server.url, server.key, "usage")
        assert told["usage"]["creditBalance"] == 0 and told["usage"]["breakdown"]["requests"] > 0
        assert told["invoices"] == {}, "this SDK makes an object of a list, and there is nothing in it"

    @pytest.mark.parametrize("method, path", PAYMENT)
    def test_there_is_nothing_to_pay(self, api, method, path):
        answer = api(method, path, {"amount": 50} if method == "POST" else None)
        assert is_error(answer, 403) and "nothing to pay" in answer.json["message"]

    def test_a_kill_loses_seconds_at_most_and_a_stop_nothing(self, own):
        api = Wire(own.url, own.key)
        sent = b"x" * 5000
        url = api("GET", "/collection/default/upload_url").data["upload_url"]
        form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + sent + b"\r\n--b--\r\n"
        request = urllib.request.Request(url, form, {"content-type": "multipart/form-data; boundary=b"})
        assert urllib.request.urlopen(request, timeout=10).status == 200
        # Asking writes it down.
        counted = api("GET", "/billing/usage").data["breakdown"]
        assert counted["bytes_in"] == len(sent) and counted["bytes_stored"] == len(sent)
        own.kill()
        own.start()
        after = api("GET", "/billing/usage").data["breakdown"]
        assert after["bytes_in"] == len(sent) and after["requests"] == counted["requests"] + 1
        for _ in range(20):
            api("GET", "/user")
        assert own.stop() == 0
        own.start()
        assert api("GET", "/billing/usage").data["breakdown"]["requests"] == after["requests"] + 21
