"""Capture calls 1-3 and 5-8 on the bare wire, and what a server must say to those who get them wrong."""

import re
import time

import pytest
from rig_publish import Publisher
from rig_session import MIC, SCREEN, SESSIONS, made, minted, started, status_of, until
from rig_wire import H264_SDP, Answer, Rtsp, is_error, is_success

SEED = {
    "session_id", "id", "collection_id", "end_user_id", "client_id", "status", "callback_url", "ws_connection_id", "metadata", "created_at", "channels",
    "primary_video_channel_id", "rtstreams", "export_status", "exported_video_id", "exported_videos", "stream_url", "player_url",
}  # fmt: skip


class TestCalls:
    def test_create_holds_session_id_and_no_id(self, api):
        answer = api("POST", SESSIONS, {"end_user_id": "u", "callback_url": None, "ws_connection_id": None, "metadata": None})
        assert is_success(answer)
        data = answer.data
        assert re.fullmatch(r"cap-[0-9a-f-]{36}", data["session_id"]) and "id" not in data, "Python would take both and fail"
        assert data["status"] == "created" and data["end_user_id"] == "u" and data["collection_id"].startswith("c-")
        assert not data.get("rtstreams"), "Python's create does not rename their ids"
        assert data.get("metadata", {}) == {} and data.get("channels", []) == []

    def test_the_seed_has_every_key_from_the_first_moment(self, api):
        session = made(api, metadata={"a": {"bC": [1, 2.5, None, "ü"]}})
        data = api("GET", f"{SESSIONS}/{session}").data
        assert SEED <= set(data), SEED - set(data)
        assert data["id"] == data["session_id"] == session
        assert data["metadata"] == {"a": {"bC": [1, 2.5, None, "ü"]}} and data["channels"] == data["rtstreams"] == []
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", data["created_at"])

    def test_the_collection_in_the_path_does_not_matter_for_reading(self, api):
        session = made(api)
        real = api("GET", f"{SESSIONS}/{session}").data["collection_id"]
        assert api("GET", f"/collection/{real}/capture/session/{session}").data["id"] == session

    def test_start_gives_a_stream_and_a_secret_url_for_each_channel(self, api):
        session, _, urls = started(api, MIC, SCREEN, {"channel_id": "system_audio:default"})
        assert set(urls) == {"mic:default", "display:1", "system_audio:default"} and len(set(urls.values())) == 3
        assert all(re.match(r"rtsp://[^/]+/.*[A-Za-z0-9_-]{20,}$", url) for url in urls.values()), urls
        data = api("GET", f"{SESSIONS}/{session}").data
        by_category = {s["channel_id"]: s for s in data["rtstreams"]}
        assert set(by_category) == {"mic", "screen", "system_audio"}
        for stream in data["rtstreams"]:
            assert {"rtstream_id", "id", "name", "media_types", "status", "collection_id", "created_at", "sample_rate"} <= set(stream)
            assert stream["id"] == stream["rtstream_id"]
        assert by_category["screen"]["name"] == "display:1" and by_category["screen"]["media_types"] == ["video"]
        assert by_category["system_audio"]["media_types"] == ["audio"], "a channel without a type is audio"
        assert [c["store"] for c in data["channels"]] == [True, True, True], "a channel without a word about it is stored"
        assert data["primary_video_channel_id"] == "display:1"

    def test_bare_channel_names_are_aliases_of_the_defaults(self, api):
        session, _, urls = started(api, {"channel_id": "mic", "name": "m"}, {"channel_id": "screen", "type": "video"})
        assert len(urls) == 2
        categories = [s["channel_id"] for s in api("GET", f"{SESSIONS}/{session}").data["rtstreams"]]
        assert categories == ["mic", "screen"]

    def test_no_secret_is_readable_with_the_api_key_alone(self, api):
        session, _, urls = started(api, MIC)
        text = api("GET", f"{SESSIONS}/{session}").text
        assert all(url.rsplit("/", 1)[1] not in text for url in urls.values())

    def test_token_says_when_it_ends(self, api):
        data = api("POST", "/capture/session/token", {"expires_in": 600}).data
        assert data["token"].startswith("st-") and data["expires_in"] == 600 and abs(data["expires_at"] - time.time() - 600) < 10
        assert api("POST", "/capture/session/token", {}).data["expires_in"] == 86400
        assert api("POST", "/capture/session/token", {"expires_in": None}).data["expires_in"] == 86400

    def test_list_filters_by_status_and_pages(self, api):
        ids = [made(api) for _ in range(3)]
        stopped = ids[1]
        assert is_success(minted(api)("POST", f"/capture/session/{stopped}/stop"))
        listed = api("GET", f"{SESSIONS}?status=stopped").data["sessions"]
        assert stopped in [s["id"] for s in listed] and all(s["status"] == "stopped" and SEED <= set(s) for s in listed)
        created = [s["id"] for s in api("GET", f"{SESSIONS}?status=created").data["sessions"]]
        assert ids[0] in created and ids[2] in created and stopped not in created
        got, cursor = [], ""
        for _ in range(1000):
            page = api("GET", f"{SESSIONS}?limit=2{cursor}").data
            assert len(page["sessions"]) <= 2
            got += [s["id"] for s in page["sessions"]]
            if page["next_page"] is None:
                break
            cursor = f"&cursor={page['next_page']}"
        assert len(got) == len(set(got)) and set(ids) <= set(got)

    def test_list_takes_the_states_the_document_forgets_and_no_others(self, api):
        for state in ("starting", "active", "stopping", "exported", "failed"):
            assert is_success(api("GET", f"{SESSIONS}?status={state}"))
        assert is_error(api("GET", f"{SESSIONS}?status=sleeping"), 400)

    def test_both_sdk_ways_to_a_collection(self, api):
        listed = api("GET", "/collection").data
        real = listed["default_collection"]
        assert real in [c["id"] for c in listed["collections"]]
        assert api("GET", "/collection/default").data["id"] == api("GET", f"/collection/{real}").data["id"] == real

    def test_health_and_root_answer_without_a_key(self, api):
        nobody = api.As(None)
        assert nobody("GET", "/health").status == 200
        assert nobody("GET", "/").json["success"] is True
        metrics = nobody("GET", "/metrics")
        assert metrics.status == 200 and "# TYPE" in metrics.text


class TestPaths:
    @pytest.mark.parametrize(
        "spelling", ["{s}", "{s}/", "/{s}", "/collection//default/capture/session/{id}", "//collection/default/capture/session/{id}/"]
    )
    def test_slashes_do_not_matter(self, api, spelling):
        session = made(api)
        answer = api("GET", spelling.format(s=f"{SESSIONS}/{session}", id=session))
        assert is_success(answer) and answer.data["id"] == session and "location" not in answer.headers

    def test_a_post_survives_a_slash_too(self, api):
        assert is_success(api("POST", SESSIONS + "/", {"end_user_id": "u"})) and is_success(api("POST", "/" + SESSIONS, {"end_user_id": "u"}))

    def test_bearer_is_as_good(self, api):
        session = made(api)
        answer = api.As(None)("GET", f"{SESSIONS}/{session}", headers={"authorization": f"Bearer {api.token}"})
        assert is_success(answer) and answer.data["id"] == session

    def test_unknown_paths_and_methods_answer_with_the_envelope(self, api):
        assert is_error(api("GET", "/no/such/thing"), 404)
        assert is_error(api("PUT", SESSIONS, {}), 405)


class TestRefusals:
    @pytest.mark.parametrize("session", ["cap-01890000-0000-7000-8000-000000000000", "cap-", "x", "m-1", "%2e%2e%2fetc", "cap-%00"])
    def test_unknown_session(self, api, session):
        assert is_error(api("GET", f"{SESSIONS}/{session}"), 404)
        recorder = minted(api)
        assert is_error(recorder("GET", f"/capture/session/{session}"), 404)
        assert is_error(recorder("POST", f"/capture/session/{session}/stop"), 404)
        assert is_error(recorder("POST", "/capture/session/start", {"session_id": session, "channels": [MIC]}), 404)

    def test_unknown_collection(self, api):
        assert is_error(api("POST", "/collection/c-nobody/capture/session", {"end_user_id": "u"}), 404)

    @pytest.mark.parametrize("token", [None, "", "sk-wrong", "st-wrong", "Bearer", "\u00e9"])
    def test_no_key_or_a_wrong_one(self, api, token):
        for method, path in (("GET", SESSIONS), ("POST", SESSIONS), ("GET", "/collection"), ("POST", "/capture/session/token")):
            assert is_error(api.As(None)(method, path, {}, headers={"x-access-token": token} if token else {}), 401)

    @pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"\xff\xfe", b'{"end_user_id":}', b"null", b'{"end_user_id": 7}', b"{}"])
    def test_malformed_create(self, api, body):
        assert is_error(api("POST", SESSIONS, raw=body), 400)

    def test_metadata_is_an_object(self, api):
        assert is_error(api("POST", SESSIONS, {"end_user_id": "u", "metadata": [1]}), 400)

    @pytest.mark.parametrize("value", [0, -1, "soon", 1.5, 10**30])
    def test_malformed_expiry(self, api, value):
        assert is_error(api("POST", "/capture/session/token", {"expires_in": value}), 400)

    @pytest.mark.parametrize(
        "channels",
        [
            None,
            [],
            "mic",
            [{}],
            [{"channel_id": ""}],
            [{"channel_id": "mic:default", "type": "smell"}],
            [MIC, MIC],
            [{"channel_id": 7}],
            [MIC | {"store": "maybe"}],
        ],
        ids=["null", "none", "text", "empty", "no name", "unknown kind", "twice", "number", "store"],
    )
    def test_channels_that_make_no_sense(self, api, channels):
        session, recorder = made(api), minted(api)
        assert is_error(recorder("POST", "/capture/session/start", {"session_id": session, "channels": channels}), 400)
        assert status_of(api, session) == "created", "a refused start changes nothing"

    def test_start_without_a_session(self, api):
        assert is_error(minted(api)("POST", "/capture/session/start", {"channels": [MIC]}), 400)

    def test_start_twice(self, api):
        session, recorder, _ = started(api, MIC)
        answer = recorder("POST", "/capture/session/start", {"session_id": session, "channels": [MIC]})
        assert is_error(answer, 409) or is_error(answer, 400), answer

    def test_a_callback_must_be_a_url(self, api):
        for url in ("ftp://127.0.0.1/x", "not a url", "file:///etc/passwd"):
            assert is_error(api("POST", SESSIONS, {"end_user_id": "u", "callback_url": url}), 400), url
        assert is_success(api("POST", SESSIONS, {"end_user_id": "u", "callback_url": ""}))

    def test_a_body_without_end(self, api):
        try:
            answer = api("POST", SESSIONS, raw=b'{"end_user_id":"' + b"x" * 20_000_000 + b'"}')
            assert answer.status in (400, 413) and answer.json["success"] is False
        except ConnectionError:
            # The answer can be lost with the connection that nobody read to the end; the server must not be.
            pass
        assert api("GET", "/health").status == 200


class TestTokens:
    def test_an_expired_token_is_nobody(self, api):
        recorder = minted(api, expires_in=1)
        session, limit = made(api), time.monotonic() + 6
        while (answer := recorder("GET", f"/capture/session/{session}")).status != 401:
            assert time.monotonic() < limit, answer
            time.sleep(0.1)
        assert is_error(answer, 401) and "expired" in answer.json["message"].lower()

    @pytest.mark.parametrize(
        "method, path",
        [
            ("POST", "/capture/session/token"), ("GET", SESSIONS), ("POST", SESSIONS), ("GET", "/collection"), ("GET", "/collection/default"),
            ("GET", "/video?collection_id=default"), ("GET", "/video/m-x"), ("GET", "/rtstream"), ("GET", "/rtstream/rts-x"),
            ("POST", "/rtstream/rts-x/transcription"), ("GET", "/rtstream/rts-x/transcription"), ("GET", f"{SESSIONS}/{{other}}"),
        ],
    )  # fmt: skip
    def test_over_reach_is_refused(self, api, method, path):
        answer = minted(api)(method, path.format(other=made(api)), {"end_user_id": "u", "action": "start"} if method == "POST" else None)
        assert is_error(answer, 403) or ("{other}" in path and is_error(answer, 404)), answer

    def test_a_token_may_publish_listen_and_read_what_it_started(self, api):
        session, recorder, _ = started(api, MIC)
        assert recorder("GET", f"/capture/session/{session}").data["status"] == "starting"
        assert recorder("GET", f"{SESSIONS}/{session}").data["id"] == session
        assert re.match(r"ws://", recorder("GET", "/collection/default/websocket").data["websocket_url"])
        assert is_success(recorder("POST", f"/capture/session/{session}/stop"))


class TestStates:
    def test_a_session_is_kept_for_ever_if_its_owner_says_so(self, api):
        session = made(api)
        for keep, shown in ((True, True), (None, True), (False, False)):
            assert api("PATCH", f"{SESSIONS}/{session}", {"keep": keep}).data["keep"] is shown
        assert api("GET", f"{SESSIONS}/{session}").data["keep"] is False
        assert is_error(api("PATCH", f"{SESSIONS}/{session}", {"keep": "for ever"}), 400)
        assert is_error(minted(api)("PATCH", f"{SESSIONS}/{session}", {"keep": True}), 403)

    def test_stop_before_start(self, api):
        session = made(api)
        assert is_success(minted(api)("POST", f"/capture/session/{session}/stop", {}))
        assert status_of(api, session) == "stopped"
        answer = minted(api)("POST", "/capture/session/start", {"session_id": session, "channels": [MIC]})
        assert is_error(answer, 409) or is_error(answer, 400), "a stopped session does not start"

    def test_stop_twice(self, api):
        session, recorder, _ = started(api, MIC)
        assert is_success(recorder("POST", f"/capture/session/{session}/stop"))
        assert is_success(recorder("POST", f"/capture/session/{session}/stop"))
        assert until(api, session, "stopped", "exported", "failed") != "failed"

    def test_the_owner_may_stop(self, api):
        session, _, _ = started(api, MIC)
        assert is_success(api("POST", f"/capture/session/{session}/stop"))

    def test_webhooks_are_retried_and_keep_their_time(self, api, receiver):
        receiver.refusals["/flaky"] = 1  # The second try comes after five seconds, the third after five minutes.
        session = made(api, callback_url=receiver.url + "/flaky")
        hook = receiver.wait(session, "capture_session.created", timeout=30)
        assert abs(hook.at - time.time()) < 30 and hook.body["data"] == {}
        assert receiver.refusals["/flaky"] == 0

    def test_any_publisher_makes_a_session(self, api, receiver, folder, measured):
        """ffmpeg instead of the recorder, straight from the film: whatever speaks RTSP will do."""
        session, recorder = made(api, callback_url=receiver.url + "/ffmpeg"), minted(api)
        recorder("POST", "/capture/session/start", {"session_id": session, "channels": [MIC, SCREEN]})
        urls = {c["channel_id"]: c["rtsp_url"] for c in recorder("GET", f"/capture/session/{session}").data["channels"]}
        publishers = [Publisher(urls["display:1"], "video", folder), Publisher(urls["mic:default"], "audio", folder)]
        receiver.wait(session, "capture_session.active", timeout=15)
        time.sleep(6)  # What is recorded is time itself.
        for publisher in publishers:
            assert publisher.running, publisher.words
            publisher.end()
        asked = time.time()
        assert is_success(recorder("POST", f"/capture/session/{session}/stop"))
        exported = receiver.wait(session, "capture_session.exported", "capture_session.failed", timeout=20)
        assert exported.event == "capture_session.exported", exported.body
        measured("ffmpeg as publisher: stop to exported", exported.at - asked, "s", "< 2")
        from stage import frames

        seen = frames.sequence(frames.read(exported.body["data"]["stream_url"]))
        measured("ffmpeg as publisher: picture", str(seen))
        assert seen.whole and seen.first == 0 and frames.film_time(seen.last) >= 5.5


class TestDoor:
    def test_an_unknown_path_is_refused(self, api):
        _, _, urls = started(api, SCREEN)
        wrong = urls["display:1"].rsplit("/", 1)[0] + "/" + "x" * 32
        with Rtsp(wrong) as door:
            assert door.announce() == 404

    def test_a_stopped_session_takes_nothing(self, api):
        session, recorder, urls = started(api, SCREEN)
        recorder("POST", f"/capture/session/{session}/stop")
        with Rtsp(urls["display:1"]) as door:
            assert door.announce() in (403, 404, 453, 455)

    def test_a_second_publisher_is_refused_and_the_first_goes_on(self, api, folder):
        _, _, urls = started(api, SCREEN)
        first = Publisher(urls["display:1"], "video", folder)
        try:
            limit = time.monotonic() + 15
            while True:
                with Rtsp(urls["display:1"]) as door:
                    told = door.announce()
                if told == 453 or time.monotonic() > limit:
                    break
                time.sleep(0.2)
            assert told == 453 and first.running, first.words
        finally:
            first.kill()

    @pytest.mark.parametrize("codec", ["VP8/90000", "H265/90000", "JPEG/90000"])
    def test_an_unsupported_codec_is_415(self, api, codec):
        _, _, urls = started(api, SCREEN)
        sdp = re.sub(r"a=fmtp.*\r\n", "", H264_SDP.replace("H264/90000", codec))
        with Rtsp(urls["display:1"]) as door:
            assert door.announce(sdp) == 415

    def test_sound_for_a_picture_is_415(self, api):
        _, _, urls = started(api, SCREEN)
        sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\na=control:streamid=0\r\n"
        with Rtsp(urls["display:1"]) as door:
            assert door.announce(sdp) == 415

    def test_garbage_ends_one_connection_and_not_the_door(self, api, folder):
        _, _, urls = started(api, SCREEN)
        with Rtsp(urls["display:1"]) as door:
            door.send(bytes(range(256)) * 400)
        with Rtsp(urls["display:1"]) as door:
            assert door.ask("RECORD") in (454, 455)
        with Rtsp(urls["display:1"]) as door:
            assert door.announce() == 200


class TestNotBuilt:
    @pytest.mark.parametrize(
        "method, path",
        [
            ("POST", "/video/m-x/reframe"), ("POST", "/rtstream"), ("POST", "/rtstream/event"),
            ("POST", "/rtstream/rts-x/understand"), ("POST", "/rtstream/rts-x/search"), ("POST", "/collection/default/search/v2"), ("POST", "/video/m-x/index/scene"),
            ("POST", "/timeline"), ("POST", "/editor"), ("POST", "/timeline_v2"),
        ],
    )  # fmt: skip
    def test_what_is_promised_and_not_built_says_so(self, api, method, path):
        answer: Answer = api(method, path, {} if method == "POST" else None)
        assert is_error(answer, 501), answer


class TestSdks:
    def test_python_reads_what_it_made(self, conn):
        made = conn.create_capture_session(end_user_id="py", metadata={"k": "v"})
        assert made.status == "created" and made.metadata == {"k": "v"}
        in_collection = conn.get_collection("default").create_capture_session(end_user_id="py2")
        assert in_collection.collection_id.startswith("c-")
        listed = {s.id for s in conn.list_capture_sessions()} & {made.id, in_collection.id}
        assert listed == {made.id, in_collection.id}
        assert conn.get_collection("default").get_capture_session(made.id).end_user_id == "py"

    def test_python_is_told_why(self, conn, server):
        import videodb
        from videodb.exceptions import AuthenticationError, InvalidRequestError

        with pytest.raises(InvalidRequestError, match="cap-nobody"):
            conn.get_capture_session("cap-nobody")
        with pytest.raises(AuthenticationError):
            videodb.connect(api_key="sk-wrong", base_url=server.url).list_capture_sessions()

    def test_python_with_a_slash_at_the_end_of_the_base_url(self, server):
        import videodb

        conn = videodb.connect(api_key=server.key, base_url=server.url + "/")
        assert conn.get_capture_session(conn.create_capture_session(end_user_id="u").id).status == "created"

    def test_npm_reads_what_it_made(self, server):
        from rig_browser import node

        told = node("node_sdk.js", server.url, server.key)
        assert told["made"].startswith("cap-") and told["made"] in told["listed"]
        assert told["got"] == {"id": told["made"], "status": "created", "endUserId": "node-user"} and told["token"].startswith("st-")
