"""The transcript of what was uploaded, through both SDKs: words with times, sentences, windows; made once, and made whole after a crash.
The recordings are read by people, and the local model is real."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from queue import Queue

import pytest
import videodb
from rig_browser import node
from rig_media import ffmpeg, film
from rig_receiver import Receiver
from rig_server import ROOT, Server
from rig_wire import Wire, is_error
from stage import wer
from stage.film import models_dir
from test_ingest import slot_with

SPEECH = models_dir() / "speech" / "two_cities.wav"
SPOKEN = (ROOT / "fixtures" / "speech" / "two_cities.txt").read_text()
LENGTH = 44


def spoken_film(path, lead=0.0, rounds=1):
    """A film of a test picture in which somebody reads, after `lead` seconds, `rounds` times."""
    sound = f"[1:a]aresample=48000,adelay={int(lead * 1000)}:all=1[a]"
    words = ["-f", "lavfi", "-i", f"testsrc2=s=320x180:r=10:d={lead + LENGTH * rounds}", "-stream_loop", str(rounds - 1), "-i", str(SPEECH)]
    words += ["-filter_complex", sound, "-map", "0:v", "-map", "[a]", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "10"]
    ffmpeg(*words, "-pix_fmt", "yuv420p", "-c:a", "aac", "-ac", "2", "-shortest", str(path))
    return path


@pytest.fixture(scope="module")
def video(server, tmp_path_factory):
    conn = videodb.connect(api_key=server.key, base_url=server.url)
    return conn.upload(file_path=str(spoken_film(tmp_path_factory.mktemp("speech") / "speech.mp4")), name="A tale")


def spoken(entries):
    return [e for e in entries if e["text"] != "-"]


class TestWords:
    def test_row_transcription_gives_words_with_times_and_silence_between(self, video, measured):
        began = time.monotonic()
        entries = video.get_transcript()
        measured("transcript of 44 s, through the SDK", time.monotonic() - began, "s")
        words = spoken(entries)
        rate = wer.rate(SPOKEN, " ".join(w["text"] for w in words))
        measured("word error rate of an uploaded recording", 100 * rate, "%", "8")
        assert rate <= 0.08
        assert all(isinstance(e["start"], float) and isinstance(e["end"], float) and e["start"] <= e["end"] for e in entries)
        assert all(a["end"] <= b["start"] + 0.03 for a, b in zip(words, words[1:])), "words follow each other"
        assert all(w["speaker"] == "A" and w["word"] == w["text"] for w in words)
        silence = [e for e in entries if e["text"] == "-"]
        assert silence[0]["start"] == 0 and all("speaker" not in e and e["end"] - e["start"] >= 0.1 for e in silence)
        assert entries[-1]["end"] == pytest.approx(LENGTH, abs=0.3)
        assert video.transcript_text == " ".join(w["text"] for w in words)

    def test_row_transcription_is_made_once(self, video, api):
        video.get_transcript()
        began = time.monotonic()
        assert api("GET", f"/video/{video.id}/transcription").data["text"] == video.get_transcript_text()
        assert time.monotonic() - began < 0.5

    def test_row_transcription_by_sentence_and_by_time(self, video):
        sentences = video.get_transcript(segmenter="sentence")
        assert sentences[0]["text"].startswith("It was the best of times") and len(sentences) > 5
        assert all(s["text"][-1] in ".?!" for s in sentences)
        windows = video.get_transcript(segmenter="time", length=5)
        assert [w["start"] for w in windows] == [5.0 * n for n in range(len(windows))] and len(windows) == 9
        assert " ".join(w["text"] for w in windows) == " ".join(s["text"] for s in sentences)

    def test_row_transcription_of_a_part(self, video):
        part = spoken(video.get_transcript(start=10, end=20))
        assert part and all(w["end"] > 10 and w["start"] < 20 for w in part)
        assert len(video.get_transcript_text(start=10, end=20)) < len(video.get_transcript_text()) / 2

    def test_times_are_the_recordings_own(self, conn, video, tmp_path):
        """The same words 3.7 s later, in a file of their own."""
        later = conn.upload(file_path=str(spoken_film(tmp_path / "later.mp4", lead=3.7)))
        first, second = spoken(video.get_transcript()), spoken(later.get_transcript())
        known = {}
        for w in first:
            known.setdefault(w["text"].lower().strip(".,"), []).append(w["start"])
        off = []
        for w in second:
            starts = known.get(w["text"].lower().strip(".,"), [])
            near = [w["start"] - 3.7 - s for s in starts if abs(w["start"] - 3.7 - s) < 1]
            off += [min(near, key=abs)] if near else []
        assert len(off) > 0.9 * len(first)
        assert sorted(abs(o) for o in off)[int(0.95 * len(off))] < 0.2

    def test_row_transcription_post_makes_it_anew(self, video, api):
        before = video.get_transcript_text()
        assert video.generate_transcript()["success"] is True
        assert video.generate_transcript(force=True, language_code="en_us")["success"] is True
        assert video.get_transcript_text() == before, "a recording is heard the same each time"
        answer = api("POST", f"/video/{video.id}/transcription", {"force": False, "language_code": None})
        assert answer.data["word_timestamps"] and answer.data["text"]

    def test_captions_are_what_was_said(self, video, api, server):
        video.get_transcript()
        base = video.stream_url.removeprefix(server.url).rsplit("/", 1)[0]
        written = api("GET", f"{base}/captions.vtt").text
        assert written.startswith("WEBVTT") and "best of times" in written
        part = video.generate_stream(timeline=[[13.4, 16.8], [1.0, 4.8]]).removeprefix(server.url).rsplit("/", 1)[0]
        cues = api("GET", f"{part}/captions.vtt").text
        assert cues.index("season of") < cues.index("worst of") and "wisdom" not in cues
        assert "00:00:00." in cues and "00:00:03." in cues


class TestWhatCannotBe:
    def test_a_language_that_no_model_writes_is_refused(self, video):
        with pytest.raises(videodb.exceptions.InvalidRequestError, match="language_code .fr. cannot be transcribed"):
            video.generate_transcript(language_code="fr")

    def test_a_film_without_sound_says_so(self, conn, tmp_path):
        mute = conn.upload(file_path=str(film(tmp_path / "mute.mp4", 2, audio=None)))
        with pytest.raises(videodb.exceptions.InvalidRequestError, match="has no sound"):
            mute.get_transcript()

    def test_silence_is_one_entry(self, conn, tmp_path):
        path = tmp_path / "silence.mp4"
        ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x180:r=10:d=3", "-f", "lavfi", "-i", "anullsrc=r=48000:cl=stereo", "-c:v", "libx264", "-bf", "0", "-g", "10", "-pix_fmt", "yuv420p", "-c:a", "aac", "-t", "3", str(path))
        quiet = conn.upload(file_path=str(path))
        assert [e["text"] for e in quiet.get_transcript()] == ["-"] and quiet.get_transcript_text() == ""

    def test_questions_that_mean_nothing(self, video, api):
        for query in ("segmenter=line", "start=5&end=2", "start=x", "segmenter=time&length=0", "start=-3"):
            assert is_error(api("GET", f"/video/{video.id}/transcription?{query}"), 400), query
        for path in ("/video/m-nobody/transcription", "/audio/a-nobody/transcription"):
            assert is_error(api("GET", path), 404)
        assert is_error(api("POST", f"/video/{video.id}/transcription", {"language_code": "no language"}), 400)


def test_row_transcription_of_audio_that_is_still_being_encoded(conn, api):
    audio = conn.upload(file_path=str(SPEECH))
    answer = api("GET", f"/audio/{audio.id}/transcription")
    assert wer.rate(SPOKEN, answer.data["text"]) <= 0.08
    assert api("POST", f"/audio/{audio.id}/transcription", {}).data["word_timestamps"]
    api("DELETE", f"/audio/{audio.id}")
    assert is_error(api("GET", f"/audio/{audio.id}/transcription"), 404)


def test_who_asks_at_once_gets_the_same(conn, api, tmp_path):
    video = conn.upload(file_path=str(spoken_film(tmp_path / "asked.mp4", lead=1.0)))
    with ThreadPoolExecutor(4) as pool:
        asked = pool.map(lambda _: api("GET", f"/video/{video.id}/transcription"), range(4))
        texts = [answer.json["success"] and answer.data["text"] for answer in asked]
    assert all(texts) and len(set(texts)) == 1


def test_a_callback_is_told_of_what_is_there_already(video, api):
    video.get_transcript()
    told, receiver = Queue(), Receiver()
    receiver.before_answer = told.put
    try:
        asked = api("POST", f"/video/{video.id}/transcription", {"callback_url": receiver.url})
        hook = told.get(timeout=20)
        assert hook.body["id"] == asked.data["id"] and hook.body["success"]
    finally:
        receiver.close()


def test_row_transcription_by_npm(server, video):
    told = node("node_transcript.js", server.url, server.key, video.id)
    assert [e["text"] for e in told["words"]][:3] == ["-", "It", "was"] and told["text"].startswith("It was the best of times")
    assert told["made"]


@pytest.mark.timeout(150)
def test_a_transcript_goes_on_where_a_crash_left_it(own: Server, tmp_path):
    api, rounds = Wire(own.url, own.key), 8
    path = spoken_film(tmp_path / "long.mp4", rounds=rounds)
    video = api("POST", "/collection/default/upload", {"url": slot_with(api, path)}).data["id"]
    asked = api("POST", f"/video/{video}/transcription", {"callback_url": "http://127.0.0.1:9/nobody"})
    poll = asked.data["output_url"].removeprefix(own.url)
    database = own.data / "vitascope.db"

    def heard() -> int:
        said = subprocess.run(["python3", "-c", f"import sqlite3; print(sqlite3.connect('file:{database}?mode=ro', uri=True).execute('select count(*) from asset_utterance').fetchone()[0])"], capture_output=True, text=True)
        return int(said.stdout or 0)

    limit = time.monotonic() + 60
    while (before := heard()) < 8:
        assert time.monotonic() < limit
        time.sleep(0.05)
    own.kill()
    kept = heard()
    assert kept >= before
    own.start()
    limit = time.monotonic() + 90
    while (answer := api("GET", poll)).json.get("status") == "processing":
        assert time.monotonic() < limit
    assert answer.json["success"], answer.text
    words = spoken(api("GET", f"/video/{video}/transcription").data["word_timestamps"])
    assert wer.rate(SPOKEN * rounds, " ".join(w["text"] for w in words)) <= 0.08, "nothing is heard twice or left out"
    assert all(a["end"] <= b["start"] + 0.03 for a, b in zip(words, words[1:]))
