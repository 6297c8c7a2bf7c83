"""The words that are spoken in uploaded videos, indexed and searched through both SDKs: by meaning and word for word, in a video and in a
collection. Every hit is played. The recordings are read by people, and the models are real."""

import urllib.request

import pytest
import videodb
from rig_browser import node
from rig_media import film, sound_seconds
from rig_wire import is_error
from stage.film import models_dir
from test_asset_transcript import spoken_film

TITLES = ("A tale of two cities", "Worstward")


@pytest.fixture(scope="module")
def library(server, tmp_path_factory):
    """A collection of two recordings and a film in which nobody speaks."""
    folder = tmp_path_factory.mktemp("library")
    conn = videodb.connect(api_key=server.key, base_url=server.url)
    collection = conn.create_collection("spoken", "What people said")
    tale = collection.upload(file_path=str(spoken_film(folder / "tale.mp4")), name=TITLES[0])
    worse = collection.upload(file_path=str(models_dir() / "speech" / "beckett.wav"), name=TITLES[1], media_type="audio")
    mute = collection.upload(file_path=str(film(folder / "mute.mp4", 2)), name="A tone")
    tale.index_spoken_words()
    mute.index_spoken_words()
    return collection, tale, worse, mute


class TestIndex:
    def test_row_index_spoken_word_exists_once(self, library):
        _, tale, *_ = library
        with pytest.raises(videodb.exceptions.InvalidRequestError, match="Spoken word index for video already exists"):
            tale.index_spoken_words()
        tale.index_spoken_words(force=True)
        tale.index_spoken_words(force=True, language_code="en_uk", segmentation_type="sentence")

    def test_row_index_shows_its_sentences(self, library, api):
        _, tale, _, mute = library
        records = api("GET", f"/video/{tale.id}/index?index_type=spoken_word").data
        assert records[0]["text"].startswith("It was the best of times") and len(records) > 5
        assert api("GET", f"/video/{mute.id}/index?index_type=spoken_word").data == []
        assert tale.get_scenes() is None

    def test_row_index_delete(self, conn, api, tmp_path):
        video = conn.upload(file_path=str(spoken_film(tmp_path / "gone.mp4")))
        video.index_spoken_words()
        assert video.search("season of light", search_type="keyword").shots
        assert api("POST", f"/video/{video.id}/index/delete", {"index_type": "spoken_word"}).status == 200
        with pytest.raises(videodb.exceptions.InvalidRequestError, match="No results found"):
            video.search("season of light", search_type="keyword")
        assert video.get_transcript_text(), "what was said stays"

    def test_what_cannot_be_indexed_says_so(self, library, api):
        _, tale, *_ = library
        assert is_error(api("POST", f"/video/{tale.id}/index", {"index_type": "words"}), 400)
        assert is_error(api("POST", f"/video/{tale.id}/index", {"segmentation_type": "llm"}), 501)
        assert is_error(api("POST", f"/video/{tale.id}/index", {"language_code": "fr", "force": True}), 400)
        assert is_error(api("POST", "/video/m-nobody/index", {}), 404)


class TestSemantic:
    @pytest.mark.parametrize(
        "question, moment",
        [("springtime full of optimism", 18), ("a cold season without any hope", 19.5), ("we will all go to paradise", 25.5), ("stupidity and folly", 8)],
    )
    def test_row_search_finds_what_is_meant(self, library, question, moment):
        _, tale, *_ = library
        shots = tale.search(question, search_type="semantic", index_type="spoken_word", stitch=False).shots
        assert shots[0].start < moment < shots[0].end < shots[0].start + 10, [(s.start, s.end, s.text, s.search_score) for s in shots]
        assert 0 < shots[0].search_score <= 1 and shots[0].video_id == tale.id and shots[0].video_title == TITLES[0]

    def test_every_hit_plays_at_once_and_exactly(self, library):
        _, tale, *_ = library
        found = tale.search("wisdom and foolishness", search_type="semantic", result_threshold=3, score_threshold=0)
        for shot in found.shots:
            assert shot.stream_url and shot.player_url
            assert sound_seconds(shot.stream_url) == pytest.approx(shot.end - shot.start, abs=0.1)
            urllib.request.urlopen(shot.player_url, timeout=10).close()
        compiled = found.compile()
        assert sound_seconds(compiled) == pytest.approx(sum(s.end - s.start for s in found.shots), abs=0.2)

    def test_row_search_of_a_collection(self, library, conn):
        collection, tale, *_ = library
        found = collection.search("the winter of despair", search_type="semantic", index_type="spoken_word")
        assert found.collection_id == collection.id and {s.video_id for s in found.shots} == {tale.id}
        assert "winter of despair" in found.shots[0].text
        with pytest.raises(videodb.exceptions.InvalidRequestError, match="No results found"):
            conn.create_collection("nothing", "").search("the winter of despair", search_type="semantic")

    def test_row_search_dynamic_score_percentage(self, library):
        _, tale, *_ = library

        def ask(percent, **more):
            return tale.search("hope and despair", search_type="semantic", result_threshold=8, score_threshold=0.0, dynamic_score_percentage=percent, stitch=False, **more).shots

        everything = ask(100)
        assert len(everything) == 8
        scores = [s.search_score for s in everything]
        assert scores == sorted(scores, reverse=True)
        for percent in (0, 20, 60):
            least = scores[0] - percent / 100 * (scores[0] - scores[-1])
            assert [s.search_score for s in ask(percent)] == [s for s in scores if s >= least - 1e-9]
        assert len(ask(None)) == len(ask(20)), "where nothing is said it is 20"

    def test_row_search_thresholds_and_order(self, library, api):
        _, tale, *_ = library
        assert len(tale.search("times", search_type="semantic", result_threshold=2, score_threshold=0.0, dynamic_score_percentage=100, stitch=False).shots) == 2
        with pytest.raises(videodb.exceptions.InvalidRequestError, match="No results found"):
            tale.search("times", search_type="semantic", score_threshold=0.99)
        body = {"query": "hope", "search_type": "semantic", "score_threshold": 0, "result_threshold": 6, "dynamic_score_percentage": 100, "stitch": False}
        docs = api("POST", f"/video/{tale.id}/search", body | {"sort_docs_on": "start", "dynamic_score_threshold": 3}).data["results"][0]["docs"]
        assert [d["start"] for d in docs] == sorted(d["start"] for d in docs)
        stitched = api("POST", f"/video/{tale.id}/search", body | {"stitch": None, "result_threshold": 50}).data["results"][0]["docs"]
        assert len(stitched) < 6 and all(a is b or a["end"] < b["start"] or b["end"] < a["start"] for a in stitched for b in stitched)

    def test_what_means_nothing(self, library, api):
        _, tale, *_ = library
        for body in ({}, {"query": " "}, {"query": "x", "search_type": "wild"}, {"query": "x", "result_threshold": 0}, {"query": "x", "dynamic_score_percentage": 101}):
            assert is_error(api("POST", f"/video/{tale.id}/search", body), 400), body
        assert is_error(api("POST", f"/video/{tale.id}/search", {"query": "x", "search_type": "scene"}), 501)
        assert is_error(api("POST", "/collection/c-nobody/search", {"query": "x"}), 404)


class TestKeyword:
    def test_row_search_keyword_gives_words_and_their_times(self, library):
        _, tale, *_ = library
        shots = tale.search("Hope", search_type="keyword").shots
        assert [s.text for s in shots] == ["hope"] and shots[0].search_score == 1
        words = [w for w in tale.get_transcript() if w["text"].lower().strip(".,") == "hope"]
        assert (shots[0].start, shots[0].end) == (words[0]["start"], words[0]["end"])
        assert sound_seconds(shots[0].stream_url) == pytest.approx(0.5, abs=0.05), "a word is shorter than can be seen: half a second is shown"

    def test_row_search_keyword_of_several_words(self, library):
        _, tale, *_ = library
        shots = tale.search("worst of times", search_type="keyword", result_threshold=10).shots
        assert [s.text for s in shots] == ["worst of times"] and len(tale.search("it was the", search_type="keyword").shots) > 5
        with pytest.raises(videodb.exceptions.InvalidRequestError, match="No results found"):
            tale.search("times worst", search_type="keyword")


def test_row_search_by_npm(server, library):
    _, tale, *_ = library
    told = node("node_search.js", server.url, server.key, tale.id)
    assert "winter of despair" in told["semantic"][0]["text"] and told["semantic"][0]["stream"].startswith(server.url)
    assert told["keyword"] == [{"text": "despair", "score": 1}] and told["compiled"].startswith(server.url)
    assert "already exists" in told["again"]


def test_another_accounts_words_are_not_found(library, conn, api, server):
    collection, tale, *_ = library
    made = api("POST", "/user/api_key", {}).data["api_key"]
    bound = videodb.connect(api_key=made, base_url=server.url)
    elsewhere = conn.create_collection("elsewhere", "")
    assert api("PUT", "/user/api-key-collections", {"api_key": made, "collection_ids": [elsewhere.id]}).status == 200
    with pytest.raises(videodb.exceptions.InvalidRequestError):
        bound.get_collection(collection.id).search("winter", search_type="semantic")


def test_what_was_deleted_is_not_found(conn, tmp_path, server):
    collection = conn.create_collection("gone", "")
    video = collection.upload(file_path=str(spoken_film(tmp_path / "gone.mp4")))
    video.index_spoken_words()
    assert collection.search("winter of despair", search_type="semantic").shots
    video.delete()
    with pytest.raises(videodb.exceptions.InvalidRequestError, match="No results found"):
        collection.search("winter of despair", search_type="semantic")
