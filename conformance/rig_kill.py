"""Kills with SIGKILL at random instants, one of server, recorder and app, and compares what is left with what was acknowledged.

A round is one session: an app (kill_app.py) that journals every answer, and publishers of microphone and screen, whose pictures bear
their numbers. What a round does follows from its seed. Used by test_crash.py for a few rounds and by bench/kill for as many as one likes.
"""

import json
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from rig_publish import Publisher
from rig_server import ROOT, Server, binaries
from rig_wire import Wire, is_success
from stage import frames, script
from stage.stage import die_with_parent

VICTIMS = ("server", "recorder", "app")
# The film's speech begins at 3 s: a final comes sooner if it begins there.
FILM_START = 3.0
SETTLE_WITHIN = 30.0
# Of media, at a kill of the server. Frames come eight a second, and the last one lasts as long as one.
MAY_LOSE = 1.0


@dataclass
class Outcome:
    seed: str
    victim: str
    after: float
    returns: bool
    settled: str = ""
    settled_after: float = 0.0
    acknowledged: int = 0
    finals: int = 0
    lost: float | None = None
    picture: str = ""
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lost = "" if self.lost is None else f", lost {self.lost:.2f} s"
        back = "back" if self.returns else "gone"
        verdict = "ok" if not self.wrong else "WRONG: " + "; ".join(self.wrong)
        return (
            f"{self.seed}: {self.victim} killed after {self.after:.2f} s, {back}; {self.settled} {self.settled_after:.1f} s later; "
            f"{self.acknowledged} facts, {self.finals} finals{lost}; {self.picture} {verdict}"
        )


class Round:
    def __init__(self, server: Server, folder: Path, seed: str, victim: str | None = None, returns: bool | None = None):
        rng = random.Random(seed)
        chosen, stays = rng.choices(VICTIMS, (2, 1, 1))[0], rng.random() < 0.75
        self.outcome = Outcome(seed, victim or chosen, rng.uniform(0.2, 9.0), stays if returns is None else returns)
        self.pause = rng.uniform(0.0, 2.0)
        self.server, self.folder, self.api = server, folder, Wire(server.url, server.key)
        self.journal = folder / f"journal-{seed}.jsonl"
        self.publishers: list[Publisher] = []
        self.film_at = FILM_START

    def run(self) -> Outcome:
        app = self._app()
        try:
            began = time.monotonic()
            while time.monotonic() < began + self.outcome.after:
                self._publish_if_started()
                time.sleep(0.01)
            self._kill(app)
            settled_from = self._go_on()
            self._settle(settled_from)
        finally:
            app.kill()
            app.wait(10)
            self._end_publishers()
        self._compare()
        return self.outcome

    def facts(self, kind: str | None = None) -> list[dict]:
        """What was acknowledged. A line that the killed app did not finish says nothing."""
        text = self.journal.read_bytes() if self.journal.exists() else b""
        all_facts = [json.loads(line) for line in text.split(b"\n")[:-1]]
        return [f for f in all_facts if kind in (None, f["kind"])]

    @property
    def _channels(self) -> dict | None:
        return next(iter(self.facts("channels")), None)

    def _app(self) -> subprocess.Popen:
        command = [sys.executable, str(ROOT / "conformance" / "kill_app.py"), self.server.url, self.server.key, str(self.journal), self.outcome.seed]
        with open(self.folder / f"app-{self.outcome.seed}.log", "ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)

    def _publish_if_started(self) -> None:
        if not self.publishers and (told := self._channels):
            self._publish(told)

    def _publish(self, told: dict) -> None:
        kinds = {"display:1": "video", "mic:default": "audio"}
        self.publishers = [Publisher(url, kinds[i], self.folder, start=self.film_at) for i, url in told["urls"].items()]

    def _end_publishers(self) -> None:
        for publisher in self.publishers:
            publisher.kill()
        self.publishers = []

    def _kill(self, app: subprocess.Popen) -> None:
        self.killed_at = time.time()
        if self.outcome.victim == "server":
            self.server.kill()
            self.killed_at = min(self.killed_at, time.time())
            self._end_publishers()
        elif self.outcome.victim == "recorder":
            self._end_publishers()
        else:
            app.kill()

    def _go_on(self) -> float:
        """What comes back comes back; whether it does or not, the session ends. From when on its end is waited for."""
        if self.outcome.victim == "server":
            self.server.start()
            self._measure_loss()
        told = self._channels
        if not told:
            return time.monotonic()
        if self.outcome.returns:
            time.sleep(self.pause)
            if not self.publishers:
                # Further on in the film than it was: what comes twice would be seen.
                self.film_at = 20.0
                self._publish(told)
            time.sleep(2.5)
            self._end_publishers()
            self.api("POST", f"/capture/session/{told['id']}/stop")
        elif self.outcome.victim == "app":
            # A recorder outlives its app by moments: nobody says good-bye.
            self._end_publishers()
        return time.monotonic()

    def _measure_loss(self) -> None:
        """How much of the picture is missing at its end, by the clock that server and test share."""
        told = self._channels
        if not told:
            return
        view = self.api("GET", f"/capture/session/{told['id']}").data
        health = next(c["health"] for c in view["channels"] if c["channel_id"] == "display:1")
        if health["last_sample_at"] and health["recorded_seconds"] > MAY_LOSE:
            last = datetime.fromisoformat(health["last_sample_at"]).timestamp()
            self.outcome.lost = self.killed_at - last
            if self.outcome.lost > MAY_LOSE:
                self.outcome.wrong.append(f"{self.outcome.lost:.2f} s of the picture are lost")

    def _settle(self, since: float) -> None:
        told = self._channels
        if not told:
            self.outcome.settled = "not started"
            return
        limit = since + SETTLE_WITHIN
        while True:
            view = self.api("GET", f"/collection/default/capture/session/{told['id']}").data
            # A session without media is stopped and says that there is nothing to export.
            over = view["status"] in ("exported", "failed") or (view["status"] == "stopped" and view["export_status"] == "failed")
            if over or time.monotonic() > limit:
                break
            time.sleep(0.1)
        self.outcome.settled, self.outcome.settled_after = view["status"], time.monotonic() - since
        if not over:
            self.outcome.wrong.append(f"still {view['status']} after {SETTLE_WITHIN} s")
        if view["status"] == "exported":
            self._look_at(view)
        elif self.outcome.lost is not None:
            self.outcome.wrong.append(f"there were pictures, and it is {view['status']}: {view['error']}")

    def _look_at(self, view: dict) -> None:
        seen = frames.sequence(frames.read(view["stream_url"]))
        self.outcome.picture = str(seen)
        if seen.illegible or seen.backwards:
            self.outcome.wrong.append("the picture is damaged")
        # One hole at the most: from the kill to where the film went on.
        hole = seen.missing
        if hole and hole != list(range(hole[0], hole[-1] + 1)):
            self.outcome.wrong.append("the picture has more holes than one")
        if hole and (self.film_at == FILM_START or hole[-1] != int(self.film_at * script.RATE) - 1):
            self.outcome.wrong.append(f"pictures {hole[0]} to {hole[-1]} are missing")

    def _compare(self) -> None:
        """Every fact of the journal is still so."""
        facts, wrong = self.facts(), self.outcome.wrong
        self.outcome.acknowledged = len(facts)
        self.outcome.finals = len(self.facts("final"))
        collections = {c["id"]: c["name"] for c in self.api("GET", "/collection").data["collections"]}
        heard: dict[str, list] = {}
        for fact in facts:
            if fact["kind"] == "session":
                answer = self.api("GET", f"/collection/default/capture/session/{fact['id']}")
                if not is_success(answer) or answer.data["metadata"] != fact["metadata"]:
                    wrong.append(f"session {fact['id']} is lost: {answer}")
            elif fact["kind"] == "collection" and collections.get(fact["id"]) != fact["name"]:
                wrong.append(f"collection {fact['id']} is lost")
            elif fact["kind"] == "token" and not is_success(self.api.As(fact["token"])("GET", "/collection/default/websocket")):
                wrong.append("a token is lost")
            elif fact["kind"] in ("final", "transcribing"):
                stream = fact["rtstream"]
                if stream not in heard:
                    heard[stream] = self.api("GET", f"/rtstream/{stream}/transcription?page_size=1000").data["transcription_records"]
                if fact["kind"] == "final" and not any(r["text"] == fact["text"] and abs(r["start"] - fact["start"]) < 0.001 for r in heard[stream]):
                    wrong.append(f"a final is lost: {fact['text']!r}")
        checked = subprocess.run([str(binaries() / "vitascope"), "check"], env=self.server.environment, capture_output=True, text=True, timeout=60)
        if checked.returncode != 0:
            wrong.append(f"vitascope check says {checked.returncode}: {checked.stdout[-500:]}{checked.stderr[-300:]}")
