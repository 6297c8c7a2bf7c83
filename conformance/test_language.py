"""The language model, and the vectors of texts, as clients ask for them: through the official SDKs, and in OpenAI's own protocol. What stands in
for the model speaks that protocol on loopback; the vectors are the local model's."""

import json
import subprocess
import urllib.error
import urllib.request

import pytest
import videodb
from rig_model import KEY, MODEL, SUMMARY, Model
from rig_server import Server
from rig_wire import is_error
from stage import wer
from test_asset_transcript import SPEECH, SPOKEN, spoken_film


@pytest.fixture(scope="module")
def model():
    model = Model()
    yield model
    model.close()


@pytest.fixture(scope="module")
def own_server(model, tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("language"), **model.settings)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def asked(model):
    model.asked.clear()
    model.says.clear()
    model.answers.set()
    model.refuses = 0
    return model.asked


@pytest.fixture
def collection(own_server):
    return videodb.connect(api_key=own_server.key, base_url=own_server.url).get_collection()


def ask(server, path, body=None, key=None):
    headers = {"authorization": f"Bearer {key or server.key}", "content-type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


class TestText:
    def test_row_generate_text(self, collection, asked):
        assert collection.generate_text("Say it") == {"output": SUMMARY + "Say it"}
        collection.generate_text("Say it", model_name="ultra", max_tokens=7, temperature=0.5)
        first, second = asked
        assert first["key"] == f"Bearer {KEY}" and {a["model"] for a in asked} == {MODEL}
        assert "max_tokens" not in first and (second["max_tokens"], second["temperature"]) == (7, 0.5)

    def test_row_generate_text_as_json_is_read(self, collection, asked, model):
        model.says += ["Sure!", "```json\n{\"moods\": [\"calm\"]}\n```"]
        assert collection.generate_text("Which moods?", response_type="json") == {"output": {"moods": ["calm"]}}
        assert len(asked) == 2 and asked[1]["messages"][-1]["content"].startswith("That was no JSON")
        model.says += ["no"] * 3
        with pytest.raises(videodb.exceptions.InvalidRequestError, match="answered 3 times without JSON"):
            collection.generate_text("Which moods?", response_type="json")

    def test_row_generate_text_of_a_long_prompt(self, collection, asked):
        prompt = "word " * 60_000 + "\nthe end"
        assert collection.generate_text(prompt) == {"output": SUMMARY + "the end"}
        assert asked[0]["messages"][0]["content"] == prompt

    def test_what_is_no_wish(self, api):
        for body in ({}, {"prompt": " "}, {"prompt": "x", "response_type": "xml"}):
            assert is_error(api("POST", "/collection/default/generate/text", body), 400)

    def test_without_a_model_it_says_what_to_set(self, conn, api):
        with pytest.raises(videodb.exceptions.InvalidRequestError, match="VITASCOPE_COMPLETE_URL"):
            conn.get_collection().generate_text("x")


class TestChat:
    MESSAGES = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]
    TOOLS = [{"type": "function", "function": {"name": "clip", "parameters": {"type": "object"}}}]

    def test_row_chat_completions_is_openais_own(self, own_server, asked):
        body = {"model": "gpt-4o-2024-11-20", "messages": self.MESSAGES, "tools": self.TOOLS, "tool_choice": "auto"}
        for path in ("/chat/completions", "/v1/chat/completions"):
            status, answer = ask(own_server, path, body)
            assert status == 200 and answer["object"] == "chat.completion" and answer["choices"][0]["message"]["role"] == "assistant"
            assert "success" not in answer
        sent = asked[0]
        assert (sent["messages"], sent["tools"], sent["tool_choice"]) == (self.MESSAGES, self.TOOLS, "auto")
        assert sent["model"] == MODEL and sent["key"] == f"Bearer {KEY}", "the model and the key are ours"

    def test_what_is_written_word_by_word_comes_word_by_word(self, own_server, asked, model):
        body = json.dumps({"messages": [{"role": "user", "content": "x"}], "stream": True}).encode()
        headers = {"authorization": f"Bearer {own_server.key}", "content-type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(own_server.url + "/v1/chat/completions", body, headers), timeout=30) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            first = answer.readline()
            assert b"Hello" in first, "before the second was written"
            model.answers.set()
            rest = b""
            while b"there" not in rest:
                rest += answer.readline()
            model.answers.set()
            assert b"[DONE]" in answer.read()

    def test_what_the_provider_says_of_our_key_stays_here(self, own_server, asked, model):
        model.refuses = 401
        status, answer = ask(own_server, "/chat/completions", {"messages": []})
        assert status == 503 and answer["error"]["type"] == "server_error"
        assert "refuses the server's key" in answer["error"]["message"] and KEY not in str(answer)
        model.refuses = 400
        status, answer = ask(own_server, "/chat/completions", {"messages": []})
        assert status == 400 and "no such key" in answer["error"]["message"]

    def test_what_is_no_chat(self, own_server, server, asked):
        assert ask(own_server, "/chat/completions", {"messages": "hello"})[0] == 400
        assert ask(own_server, "/chat/completions", {"messages": []}, key="sk-wrong")[0] == 401
        for path in ("/chat/completions", "/v1/chat/completions"):
            status, answer = ask(server, path, {"messages": []})
            assert status == 503 and "VITASCOPE_COMPLETE_URL" in answer["error"]["message"]


class TestEmbeddings:
    def test_vectors_are_the_local_models(self, server):
        texts = ["A man is eating food.", "Someone eats a meal.", "The stock market fell."]
        status, answer = ask(server, "/v1/embeddings", {"model": "text-embedding-3-small", "input": texts})
        assert status == 200 and answer["object"] == "list" and answer["model"] == "all-MiniLM-L6-v2"
        vectors = [item["embedding"] for item in answer["data"]]
        assert [item["index"] for item in answer["data"]] == [0, 1, 2] and {len(v) for v in vectors} == {384}
        near = lambda a, b: sum(x * y for x, y in zip(vectors[a], vectors[b]))  # noqa: E731
        assert near(0, 0) == pytest.approx(1, abs=1e-4) and near(0, 1) > 0.5 > 0.3 > near(0, 2)

    def test_vectors_in_base64_are_the_same(self, server):
        import base64
        import struct

        plain = ask(server, "/v1/embeddings", {"input": "A meal."})[1]["data"][0]["embedding"]
        packed = ask(server, "/v1/embeddings", {"input": "A meal.", "encoding_format": "base64"})[1]["data"][0]["embedding"]
        assert struct.unpack("<384f", base64.b64decode(packed)) == pytest.approx(plain, abs=1e-6)

    def test_what_is_no_text(self, server):
        for body in ({}, {"input": []}, {"input": [1, 2]}, {"input": "x", "encoding_format": "hex"}):
            status, answer = ask(server, "/v1/embeddings", body)
            assert status == 400 and answer["error"]["type"] == "invalid_request_error", body

    def test_models_are_those_that_answer(self, server, own_server):
        assert [m["id"] for m in ask(server, "/v1/models")[1]["data"]] == ["all-MiniLM-L6-v2"]
        assert [m["id"] for m in ask(own_server, "/v1/models")[1]["data"]] == [MODEL, "all-MiniLM-L6-v2"]


class TestSpeech:
    def hear(self, server, file, **fields):
        command = ["curl", "-s", "-H", f"authorization: Bearer {server.key}", "-F", f"file=@{file}", "-F", "model=whisper-1"]
        for name, value in fields.items():
            command += ["-F", f"{name}={value}"]
        return subprocess.run([*command, f"{server.url}/v1/audio/transcriptions"], check=True, capture_output=True, text=True, timeout=60).stdout

    def test_a_recording_and_a_film_are_heard(self, server, tmp_path):
        said = json.loads(self.hear(server, SPEECH))
        assert set(said) == {"text"} and wer.rate(SPOKEN, said["text"]) <= 0.08
        film = spoken_film(tmp_path / "film.mp4")
        before = set((server.data / "uploads").iterdir())
        verbose = json.loads(self.hear(server, film, response_format="verbose_json", language="en", **{"timestamp_granularities[]": "word"}))
        assert verbose["duration"] == pytest.approx(44, abs=0.5) and wer.rate(SPOKEN, verbose["text"]) <= 0.08
        assert " ".join(w["word"] for w in verbose["words"]) == verbose["text"] == " ".join(s["text"] for s in verbose["segments"])
        assert verbose["words"][0]["start"] == pytest.approx(1.15, abs=0.2)
        assert set((server.data / "uploads").iterdir()) == before, "nothing of it is kept"

    def test_other_forms(self, server):
        assert self.hear(server, SPEECH, response_format="text").startswith("It was the best of times")
        assert self.hear(server, SPEECH, response_format="srt").startswith("1\n00:00:01,")
        assert self.hear(server, SPEECH, response_format="vtt").startswith("WEBVTT\n\n00:00:01.")

    def test_what_cannot_be_heard_says_so(self, server, tmp_path):
        nothing, text = tmp_path / "nothing.wav", tmp_path / "text.wav"
        nothing.write_bytes(b"")
        text.write_text("no sound at all")
        for file, fields, word in ((nothing, {}, "empty"), (text, {}, "cannot be read"), (SPEECH, {"language": "fr"}, "cannot be transcribed"), (SPEECH, {"response_format": "xml"}, "response_format")):
            error = json.loads(self.hear(server, file, **fields))["error"]
            assert word in error["message"] and error["type"] == "invalid_request_error", error
