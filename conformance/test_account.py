"""Keys and tokens: what each may see, and that what it opened ends with it. The wire first, then the official SDKs."""

import asyncio
import subprocess
import time

import pytest
from rig_server import binaries
from rig_session import MIC, SESSIONS, made, minted, started
from rig_wire import Wire, is_error, is_success


def key(api: Wire) -> Wire:
    return api.As(api("POST", "/user/api_key").data["api_key"])


def bound(api: Wire, *collections: str) -> Wire:
    new = key(api)
    assert is_success(api("PUT", "/user/api-key-collections", {"api_key": new.token, "collection_ids": list(collections)}))
    return new


def collection(api: Wire) -> str:
    return api("POST", "/collection", {"name": "apart"}).data["id"]


class TestKeys:
    def test_a_key_is_minted_listed_and_revoked(self, api):
        new = key(api)
        assert new.token.startswith("sk-") and is_success(new("GET", "/user"))
        listed = api("GET", "/user/api_key").data
        mine = [k for k in listed if new.token.startswith(k["key"]) and len(k["key"]) > 8]
        assert len(mine) == 1 and mine[0]["created_at"].endswith("Z") and new.token not in str(listed)
        assert is_success(api("DELETE", f"/user/api_key/{mine[0]['key']}"))
        assert is_error(new("GET", "/user"), 401) and mine[0] not in api("GET", "/user/api_key").data

    def test_the_user_is_told_truly(self, api):
        told, collections = api("GET", "/user").data, api("GET", "/collection").data
        assert told["user_id"].startswith("u-") and told["user_name"] and told["user_email"] is None
        assert told["collections"] == [c["id"] for c in collections["collections"]]
        assert told["default_collection"] == collections["default_collection"]

    def test_a_bound_key_sees_its_collections_and_no_others(self, api):
        apart = collection(api)
        narrow, session = bound(api, apart), made(api)
        theirs = api("POST", f"/collection/{apart}/capture/session", {"end_user_id": "u"}).data["session_id"]
        for name in (apart, "default"):
            assert [s["id"] for s in narrow("GET", f"/collection/{name}/capture/session").data["sessions"]] == [theirs]
        assert is_error(narrow("GET", f"{SESSIONS}/{session}"), 404) and narrow("GET", f"{SESSIONS}/{theirs}").data["id"] == theirs
        assert narrow("GET", "/user").data["collections"] == [apart]
        assert is_error(narrow("POST", "/collection", {"name": "n"}), 403) and is_error(narrow("POST", "/user/api_key"), 403)


def cli(server, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run([str(binaries() / "vitascope"), *words], env=server.env, capture_output=True, text=True, timeout=30)


class TestCommandLine:
    def test_keys_are_minted_listed_and_revoked(self, server, api):
        for words in (["key"], ["key", "mint"]):
            minted_now = cli(server, *words).stdout.strip()
            assert minted_now.startswith("sk-") and is_success(api.As(minted_now)("GET", "/user"))
        listed = cli(server, "key", "list").stdout.splitlines()
        assert any(line.split()[1] == minted_now[:11] for line in listed) and all("whole account" in line or " c-" in line for line in listed)
        revoked = time.monotonic()
        assert cli(server, "key", "revoke", minted_now[:11]).returncode == 0
        ended = time.monotonic()
        while not is_error(api.As(minted_now)("GET", "/user"), 401):
            assert time.monotonic() < ended + 1, f"still good a second after it was revoked, {time.monotonic() - revoked:.1f} s in all"
            time.sleep(0.05)
        refused = cli(server, "key", "revoke", "sk-nobody")
        assert refused.returncode != 0 and "not found" in refused.stderr


class TestSockets:
    """Each socket is the Python SDK's, opened with a key or a token of its own."""

    def closing(self, server, secret: str, end, within: float = 1.0):
        """Code and reason with which the server closes the socket of `secret`, once `end` has been called; and how long that took."""
        import videodb
        from websockets.exceptions import ConnectionClosed

        async def watch():
            connection = await videodb.connect(api_key=secret, base_url=server.url).connect_websocket().connect()
            assert connection.connection_id
            await asyncio.to_thread(end)
            began = time.monotonic()
            try:
                await asyncio.wait_for(connection._connection.recv(), within + 1)
            except ConnectionClosed as closed:
                return closed.rcvd.code, closed.rcvd.reason, time.monotonic() - began
            raise AssertionError("a frame came instead of the end")

        return asyncio.run(watch())

    def test_a_revoked_key_loses_its_sockets(self, server, api, measured):
        secret = key(api).token
        code, reason, took = self.closing(server, secret, lambda: api("DELETE", f"/user/api_key/{secret}"))
        measured("key revoked to socket closed", took, "s", "< 1")
        assert (code, reason) == (1008, "the API key is not valid") and took < 1

    def test_a_key_revoked_by_the_command_line_too(self, server, api, measured):
        secret = key(api).token
        code, _, took = self.closing(server, secret, lambda: cli(server, "key", "revoke", secret))
        measured("key revoked by hand to socket closed", took, "s", "< 1")
        assert code == 1008 and took < 1

    def test_a_revoked_token_too(self, server, api):
        secret = minted(api).token
        code, reason, took = self.closing(server, secret, lambda: api("DELETE", f"/capture/session/token/{secret}"))
        assert (code, reason) == (1008, "the client token is not valid") and took < 1

    def test_the_tokens_of_a_revoked_key_too(self, server, api):
        owner = key(api)
        secret = minted(owner).token
        code, _, took = self.closing(server, secret, lambda: api("DELETE", f"/user/api_key/{owner.token}"))
        assert code == 1008 and took < 1
        assert is_error(api.As(secret)("GET", "/collection/default/websocket"), 401)

    def test_an_expired_token_too(self, server, api):
        token = api("POST", "/capture/session/token", {"expires_in": 2}).data
        code, reason, _ = self.closing(server, token["token"], lambda: None, within=3)
        assert (code, reason) == (1008, "the client token has expired")
        # `expires_at` is cut to whole seconds.
        assert time.time() < token["expires_at"] + 2

    def test_a_bound_key_hears_only_of_its_collections(self, server, api):
        """Two sessions name the same connection; only what lies in the key's collection is told to it."""
        import videodb

        apart = collection(api)
        narrow = bound(api, apart)

        async def hear():
            connection = await videodb.connect(api_key=narrow.token, base_url=server.url).connect_websocket().connect()
            request = {"end_user_id": "u", "ws_connection_id": connection.connection_id}
            api("POST", SESSIONS, request)
            heard = api("POST", f"/collection/{apart}/capture/session", request).data["session_id"]
            async for frame in connection.receive():
                await connection.close()
                return frame["capture_session_id"], heard

        told, wanted = asyncio.run(asyncio.wait_for(hear(), 10))
        assert told == wanted


class TestTokens:
    def test_publish_paths_are_shown_to_the_token_that_started_and_to_the_owner(self, api):
        session, recorder, urls = started(api, MIC)
        assert urls["mic:default"].startswith("rtsp://")
        stranger = minted(api)
        for path in (f"/capture/session/{session}", f"{SESSIONS}/{session}"):
            answer = stranger("GET", path)
            assert is_error(answer, 403) and urls["mic:default"].rsplit("/", 1)[1] not in answer.text
        assert api("GET", f"/capture/session/{session}").data["channels"][0]["rtsp_url"] == urls["mic:default"]
        assert recorder("GET", f"/capture/session/{session}").data["channels"][0]["rtsp_url"] == urls["mic:default"]

    def test_another_token_of_the_account_may_stop_it(self, api):
        session, _, _ = started(api, MIC)
        assert is_success(minted(api)("POST", f"/capture/session/{session}/stop"))

    def test_the_user_of_a_token_is_seen_on_what_it_starts(self, api, conn):
        """Call 5 `user_id`: the session keeps the end user it was made for, and names the token's user as its client."""
        session = made(api, end_user_id="whose-desk")
        assert conn.get_capture_session(session).client_id is None
        recorder = minted(api, user_id="laptop-7")
        assert is_success(recorder("POST", "/capture/session/start", {"session_id": session, "channels": [MIC]}))
        seen = conn.get_capture_session(session)
        assert (seen.client_id, seen.end_user_id) == ("laptop-7", "whose-desk")

    @pytest.mark.parametrize("value", [1, 1.0, 600, 86_400 * 400, 10**10])
    def test_any_positive_number_of_seconds_will_do(self, api, value):
        data = api("POST", "/capture/session/token", {"expires_in": value}).data
        assert data["expires_in"] == value and abs(data["expires_at"] - time.time() - value) < 10

    @pytest.mark.parametrize(
        "body",
        [{"expires_in": v} for v in (0, -1, 0.5, "600", "", True, [600], {}, 1e300, 10**30)] + [{"user_id": 7}, {"user_id": ["u"]}],
        ids=str,
    )
    def test_what_is_no_number_of_seconds_is_refused(self, api, body):
        assert is_error(api("POST", "/capture/session/token", body), 400)

    def test_python_is_told_what_a_token_may_not(self, api, server):
        import videodb
        from videodb.exceptions import AuthenticationError, InvalidRequestError

        token = videodb.connect(session_token=minted(api).token, base_url=server.url)
        with pytest.raises(InvalidRequestError, match="client token"):
            token.generate_client_token()
        with pytest.raises(InvalidRequestError, match="client token"):
            token.get_collections()
        with pytest.raises(AuthenticationError):
            videodb.connect(session_token="st-nobody", base_url=server.url).connect_websocket()
