"""A transcript across what may happen to it: the server dies and comes back, the publisher comes again, writing is stopped and begun anew.
Nothing is said twice, and no two finals overlap. The film's speech and the local model are real."""

import time
import urllib.request
from collections import Counter

import pytest
from rig_publish import Publisher
from rig_server import Server
from rig_session import MIC, started, until
from rig_wire import Wire, is_success
from stage import script, wer

pytestmark = pytest.mark.timeout(150)


def said(api: Wire, stream: str) -> list[dict]:
    answer = api("GET", f"/rtstream/{stream}/transcription?page_size=1000")
    assert is_success(answer), answer
    return answer.data["transcription_records"]


def wait_for(api: Wire, stream: str, count: int, seconds: float = 40) -> list[dict]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if len(found := said(api, stream)) >= count:
            return found
        time.sleep(0.2)
    raise TimeoutError(f"{len(said(api, stream))} finals of {count}")


def gauge(own: Server, name: str) -> float:
    with urllib.request.urlopen(own.url + "/metrics", timeout=10) as answer:
        rows = [line for line in answer.read().decode().splitlines() if line.startswith(f"vitascope_{name}")]
    assert rows, f"no {name} in /metrics"
    return max(float(row.rsplit(" ", 1)[1]) for row in rows)


def repeats(heard: list[str], spoken: list[str]) -> list[tuple[str, ...]]:
    """Runs of six words that were heard more often than they are spoken. Six: Dickens himself says five of them twice, almost."""
    runs = lambda words: Counter(zip(*(words[n:] for n in range(6))))
    known = runs(spoken)
    return [run for run, count in runs(heard).items() if count > max(1, known[run])]


def write(api: Wire, stream: str, action: str) -> None:
    assert is_success(api("POST", f"/rtstream/{stream}/transcription", {"action": action}))


def test_nothing_is_said_twice_after_a_stop_a_crash_and_a_return(own, folder, measured):
    api = Wire(own.url, own.key)
    session, recorder, urls = started(api, MIC)
    streams = api("GET", f"/collection/default/capture/session/{session}").data["rtstreams"]
    stream = streams[0]["id"]
    first, _, third = script.PASSAGES
    publisher = Publisher(urls["mic:default"], "audio", folder, start=first.at - 1)
    assert until(api, session, "active") == "active"
    write(api, stream, "start")
    wait_for(api, stream, 2)
    # The last half minute is still in memory, and would be heard again.
    write(api, stream, "stop")
    stopped = said(api, stream)
    write(api, stream, "start")
    wait_for(api, stream, len(stopped) + 1)
    assert gauge(own, "transcript_lag_seconds") < 10
    assert gauge(own, "transcript_missed_samples") == 0

    own.kill()
    publisher.kill()
    own.start()
    before = said(api, stream)
    # The publisher comes back and goes on, as people do, with something else.
    publisher = Publisher(urls["mic:default"], "audio", folder, start=third.at - 1)
    wait_for(api, stream, len(before) + 2)
    publisher.end()
    assert is_success(recorder("POST", f"/capture/session/{session}/stop"))
    until(api, session, "exported", "failed", timeout=40)

    records = said(api, stream)
    assert [r["text"] for r in records[: len(before)]] == [r["text"] for r in before], "what was said stays"
    for record, following in zip(records, records[1:]):
        assert record["end"] <= following["start"], (record, following)
    for record in records:
        inside = [record["start"] - 1e-6 <= w["start"] <= w["end"] <= record["end"] + 1e-6 for w in record["word_timestamps"]]
        assert inside and all(inside), record
    heard = wer.words(" ".join(r["text"] for r in records))
    repeated = repeats(heard, wer.words(" ".join(first.texts + third.texts)))
    measured("after a stop, a crash and a return: finals, words said twice", f"{len(records)}, {len(repeated)}")
    assert not repeated, repeated
