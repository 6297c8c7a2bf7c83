"""`index_audio` of the official SDK on real speech (calls 20 to 25): nothing else is called, and one socket hears the transcript and the index
(trap 10); without a language model, and with one that hangs while the server is killed. The speech and the local model are real."""

import asyncio
import time
from datetime import datetime

import pytest
import videodb
from rig_model import KEY, MODEL, SUMMARY, Model
from rig_publish import Publisher
from rig_server import Server
from rig_session import MIC, started, until
from rig_wire import Wire, is_error, is_success
from stage import script

pytestmark = pytest.mark.timeout(120)
FIRST = script.PASSAGES[0]


class Ear:
    """A socket of the official client, and what it has heard."""

    def __init__(self, socket):
        self.socket, self.frames = socket, []

    def of(self, channel: str) -> list[dict]:
        return [f for f in self.frames if f.get("channel") == channel]

    def finals(self) -> list[dict]:
        return [f for f in self.of("transcript") if f["data"]["is_final"]]

    async def until(self, what: str, heard, seconds: float = 40) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not heard():
                    self.frames.append(await anext(self._said))
        except TimeoutError:
            raise AssertionError(f"no {what} within {seconds} s; heard {[f.get('channel') for f in self.frames]}") from None

    async def __aenter__(self) -> "Ear":
        await self.socket.connect()
        self._said = self.socket.receive()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._said.aclose()
        await self.socket.close()


def words_of(api: Wire, stream: str) -> list[str]:
    answer = api("GET", f"/rtstream/{stream}/transcription?page_size=1000")
    return [w["word"] for r in answer.data["transcription_records"] for w in r["word_timestamps"]]


def lag(ear: Ear) -> float:
    """Of full windows: the frame of each comes after the final with its last word."""
    at = lambda frame: datetime.fromisoformat(frame["timestamp"])
    last = lambda frame: next(f for f in ear.finals() if f["data"]["end"] >= frame["data"]["end"] - 1e-6)
    return max((at(f) - at(last(f))).total_seconds() for f in ear.of("audio_index")[:2])


def ordered(records: list[dict]) -> bool:
    return all(r["start"] < r["end"] for r in records) and all(a["end"] <= b["start"] + 1e-6 for a, b in zip(records, records[1:]))


def test_the_words_themselves_where_no_model_is_configured(conn, server, api, folder, measured):
    async def scenario() -> None:
        session, recorder, urls = started(api, MIC)
        publisher = Publisher(urls["mic:default"], "audio", folder, start=FIRST.at - 1)
        assert until(api, session, "active") == "active"
        mic = conn.get_capture_session(session).get_rtstream("mic")[0]
        async with Ear(conn.connect_websocket()) as ear:
            index = mic.index_audio(
                prompt="Who is speaking?",
                batch_config={"type": "word", "value": 6},
                name="notes",
                ws_connection_id=ear.socket.connection_id,
            )
            assert (index.status, index.extraction_type, index.name) == ("running", "transcript", "notes")
            assert index.extraction_config == {"segmenter": "word", "segmentation_value": 6}
            await ear.until("two windows", lambda: len(ear.of("audio_index")) >= 2)
            assert [f for f in ear.of("transcript") if not f["data"]["is_final"]] and ear.finals(), "trap 10: the transcript comes by itself"

            [listed] = mic.list_scene_indexes()
            assert listed.extraction_config == {"segmenter": "word", "segmentation_value": "6"}, "numbers as text"
            shown = mic.get_scene_index(index.rtstream_index_id)
            assert (shown.rtstream_index_id, shown.prompt, shown.status) == (index.rtstream_index_id, "Who is speaking?", "running")
            shown.stop()
            assert mic.get_scene_index(index.rtstream_index_id).status == "stopped"
            assert is_success(api("PATCH", f"/rtstream/{mic.id}/index/scene/{index.rtstream_index_id}", {"prompt": "What is said?"}))
            shown.start()
            assert mic.get_scene_index(index.rtstream_index_id).prompt == "What is said?"
            publisher.end()
            assert is_success(recorder("POST", f"/capture/session/{session}/stop"))
            until(api, session, "exported", timeout=30)

            scenes = index.get_scenes(page_size=1000)
            assert scenes["next_page"] is False
            records = scenes["scenes"]
            await ear.until("the last window", lambda: len(ear.of("audio_index")) == len(records))
            measured("from a final to the frames of its windows, at most", lag(ear), "s", "< 1")
            assert lag(ear) < 1
            told = [f["data"] for f in ear.of("audio_index")]
            assert [{k: r[k] for k in ("start", "end", "text", "metadata")} for r in records] == told, "a frame is a record"
            assert all(f["index_id"] == index.rtstream_index_id and f["rtstream_id"] == mic.id and "id" not in f for f in ear.of("audio_index"))
            assert all(r["description"] == r["text"] for r in records) and ordered(records)
            assert {(r["metadata"]["model"], r["metadata"]["prompt_followed"]) for r in records} == {("transcript", False)}
            assert all(len(r["text"].split()) <= 6 for r in records) and len(records[0]["text"].split()) == 6
            assert " ".join(r["text"] for r in records[:2]) == " ".join(words_of(api, mic.id)[:12])
            assert records[0]["start"] > time.time() - 120, "seconds since the epoch"
            page = index.get_scenes(start=int(records[0]["start"]), end=records[0]["end"], page_size=1)
            assert (page["scenes"][0]["text"], page["next_page"]) == (records[0]["text"], False)
            assert mic.get_scene_index(index.rtstream_index_id).status == "stopped"

    asyncio.run(scenario())


def test_spoken_words_and_what_is_not_built_yet(conn, api, folder):
    session, _, urls = started(api, MIC)
    publisher = Publisher(urls["mic:default"], "audio", folder, start=FIRST.at - 1)
    assert until(api, session, "active") == "active"
    mic = conn.get_capture_session(session).get_rtstream("mic")[0]
    spoken = mic.index_spoken_words(length=4)
    assert spoken.extraction_config == {"segmenter": "word", "segmentation_value": 4}
    plain = mic.index_audio()
    assert plain.extraction_config == {"segmenter": "sentence", "segmentation_value": 3}
    with pytest.raises(videodb.exceptions.InvalidRequestError, match="not built yet"):
        mic.index_visuals(prompt="What is seen?")
    answer = api("POST", f"/rtstream/{mic.id}/index/scene", {"extraction_type": "transcript"})
    assert "VITASCOPE_COMPLETE_URL" in answer.data["warning"]
    assert is_error(api("GET", f"/rtstream/{mic.id}/index/ffffffffffffffff"), 404)
    publisher.kill()
    assert is_success(api("POST", f"/capture/session/{session}/stop"))


@pytest.fixture
def model():
    model = Model()
    yield model
    model.close()


@pytest.fixture
def own(folder, model):
    """A server of this test's own, since it will not survive it."""
    server = Server(folder, **model.settings)
    server.start()
    yield server
    if server.running:
        server.kill()


def test_a_model_that_hangs_holds_up_nothing_and_a_crash_loses_nothing(own, model, folder, measured):
    async def scenario() -> None:
        conn, api = videodb.connect(api_key=own.key, base_url=own.url), Wire(own.url, own.key)
        session, recorder, urls = started(api, MIC)
        publisher = Publisher(urls["mic:default"], "audio", folder, start=FIRST.at - 1)
        assert until(api, session, "active") == "active"
        mic = conn.get_capture_session(session).get_rtstream("mic")[0]
        async with Ear(conn.connect_websocket()) as ear:
            index = mic.index_audio(prompt="Sum it up.", batch_config={"type": "word", "value": 5}, ws_connection_id=ear.socket.connection_id)
            await ear.until("a window", lambda: ear.of("audio_index"))
            assert ear.of("audio_index")[0]["data"]["metadata"] == {"model": MODEL, "prompt_followed": True}
            model.answers.clear()
            # An answer may have been on its way; after that nothing comes but words.
            asked, heard = len(model.asked), len(ear.finals())
            await ear.until("words, though the model hangs", lambda: len(ear.finals()) >= heard + 2 and len(model.asked) > asked)
            made = len(ear.of("audio_index"))
            own.kill()
        publisher.kill()
        model.answers.set()
        own.start()
        before = index.get_scenes(page_size=1000)["scenes"]
        assert is_success(recorder("POST", f"/capture/session/{session}/stop"))
        assert until(api, session, "exported", "failed", timeout=40) == "exported"

        socket = conn.connect_websocket()
        socket.url += f"&last_event_id={last_id(ear)}"
        records = index.get_scenes(page_size=1000)["scenes"]
        async with Ear(socket) as again:
            await again.until("the last window", lambda: made + len(again.of("audio_index")) == len(records))
            told = [f["data"]["text"] for f in ear.of("audio_index") + again.of("audio_index")]
        assert told == [r["text"] for r in records], "each once, in order"
        assert records[: len(before)] == before, "what was made stays"
        assert len(records) > len(before) and ordered(records)
        assert all(r["text"].startswith(SUMMARY) for r in records)
        summarised = " ".join(r["text"].removeprefix(SUMMARY) for r in records).split()
        assert summarised == words_of(api, mic.id), "no word is missing, none is said twice"
        assert {(a["path"], a["key"], a["model"]) for a in model.asked} == {("/v1/chat/completions", f"Bearer {KEY}", MODEL)}
        assert all("Sum it up." in a["messages"][-1]["content"] for a in model.asked)
        measured("windows made before and after a kill -9", f"{len(before)} + {len(records) - len(before)}")

    asyncio.run(scenario())


def last_id(ear: Ear) -> str:
    return [f["event_id"] for f in ear.frames if "event_id" in f][-1]
