"""Events that can be trusted: signed webhooks that an independent verifier accepts, and sockets that read on after a kill -9 of the server."""

import asyncio
import json
import threading
import time
from contextlib import suppress

import pytest
from rig_receiver import Hook, Receiver
from rig_server import Server
from rig_session import SESSIONS, made
from rig_wire import Wire, is_error, is_success
from standardwebhooks import Webhook, WebhookVerificationError
from websockets.sync.client import connect


def verifies(secret: str, hook: Hook, text: bytes | None = None) -> bool:
    try:
        Webhook(secret).verify((text or hook.text).decode(), hook.headers)
    except WebhookVerificationError:
        return False
    return True


def deliveries(api: Wire, session: str) -> dict[str, dict]:
    answer = api("GET", f"{SESSIONS}/{session}/deliveries")
    assert is_success(answer), answer
    return {d["event"]: d for d in answer.data["deliveries"]}


class TestWebhooks:
    def test_an_independent_verifier_accepts_ours_and_no_other(self, api, receiver):
        secret = api("GET", "/webhook/secret").data["secret"]
        hook = receiver.wait(made(api, callback_url=f"{receiver.url}/signed"), "capture_session.created")
        assert hook.headers["webhook-id"] == hook.body["event_id"]
        assert verifies(secret, hook)
        assert not verifies(secret, hook, hook.text.replace(b"created", b"deleted"))
        assert not verifies("whsec_" + "A" * 43 + "=", hook)

        rotated = api("POST", "/webhook/secret/rotate", {}).data["secret"]
        assert rotated != secret
        hook = receiver.wait(made(api, callback_url=f"{receiver.url}/signed"), "capture_session.created")
        assert verifies(secret, hook) and verifies(rotated, hook), "for a day either will do"
        assert is_error(api.As(None)("GET", "/webhook/secret"), 401)

    def test_a_refused_delivery_is_seen_and_comes_again_when_it_is_asked_for(self, api, receiver):
        receiver.refusals["/refused"] = 1
        session = made(api, callback_url=f"{receiver.url}/refused")
        limit = time.monotonic() + 10
        while (shown := deliveries(api, session)["capture_session.created"])["attempts"] == 0:
            assert time.monotonic() < limit
        assert (shown["status"], shown["response_code"]) == ("pending", 503) and shown["next_attempt_at"] and shown["last_error"]
        asked = time.monotonic()
        assert is_success(api("POST", f"{SESSIONS}/{session}/deliveries/{shown['event_id']}/redeliver", {}))
        hook = receiver.wait(session, "capture_session.created")
        assert hook.headers["webhook-id"] == shown["event_id"]
        assert time.monotonic() - asked < 4, "not when the schedule says"

    def test_a_receiver_may_call_back_before_it_answers(self, api, server):
        slow = Receiver()
        told = []
        slow.before_answer = lambda hook: told.append(api("GET", f"{SESSIONS}/{hook.body['capture_session_id']}").data["status"])
        try:
            session = made(api, callback_url=slow.url)
            assert is_success(api("POST", f"/capture/session/{session}/stop", {}))
            slow.wait(session, "capture_session.stopped")
            assert [h.event for h in slow.of(session)] == ["capture_session.created", "capture_session.stopped"]
            assert len(told) == 2 and told[1] == "stopped"
        finally:
            slow.close()


def test_the_official_client_reads_on_where_it_was(conn, api):
    """Its `url` is all that a program has to add to."""

    async def scenario() -> None:
        first = await conn.connect_websocket().connect()
        session = made(api, ws_connection_id=first.connection_id)
        heard = await anext(first.receive())
        assert heard["event"] == "capture_session.created" and "id" not in heard
        await first.close()
        assert is_success(api("POST", f"/capture/session/{session}/stop", {}))

        second = conn.connect_websocket()
        second.url += f"&last_event_id={heard['event_id']}"
        async with second:
            missed = await asyncio.wait_for(anext(second.receive()), 10)
        assert (missed["event"], missed["capture_session_id"]) == ("capture_session.stopped", session)

    asyncio.run(scenario())


def listen(api: Wire, resume: str = "") -> tuple[object, dict]:
    socket = connect(api("GET", f"/collection/default/websocket{resume}").data["websocket_url"], legacy=True)
    return socket, json.loads(socket.recv(timeout=10))


def test_a_killed_server_loses_no_event_and_tells_none_twice(own, receiver, measured):
    api = Wire(own.url, own.key)
    socket, hello = listen(api)
    bound = {"end_user_id": "u", "ws_connection_id": hello["connection_id"], "callback_url": f"{receiver.url}/killed"}
    acknowledged: list[str] = []

    def work() -> None:
        with suppress(OSError):
            while True:
                acknowledged.append(api("POST", SESSIONS, bound).data["session_id"])

    heard: list[dict] = []
    for round_ in range(3):
        worker = threading.Thread(target=work)
        worker.start()
        for _ in range(20 + 7 * round_):
            heard.append(json.loads(socket.recv(timeout=10)))
        # Then it does not listen for a while: these are told after the kill, or never.
        limit = time.monotonic() + 10
        while len(acknowledged) < len(heard) + 10:
            assert time.monotonic() < limit
        own.kill()
        worker.join(30)
        own.start()
        socket, resumed = listen(api, f"?last_event_id={heard[-1]['event_id']}")
        assert resumed["resumed"] == hello["connection_id"]
        # A session that was made but whose answer was lost may be told as well.
        while not set(acknowledged) <= {frame["capture_session_id"] for frame in heard}:
            heard.append(json.loads(socket.recv(timeout=10)))
    told = [frame["capture_session_id"] for frame in heard]
    measured("events over 3 kill -9: acknowledged / told / twice", f"{len(acknowledged)} / {len(told)} / {len(told) - len(set(told))}")
    assert len(set(told)) == len(told), "told twice"
    assert [s for s in told if s in set(acknowledged)] == acknowledged, "in order"
    for session in acknowledged:
        assert verifies(api("GET", "/webhook/secret").data["secret"], receiver.wait(session, "capture_session.created"))
