"""The demo's terminal: states as they change, the line being spoken rewritten in place, what was spoken beside what was heard.

Without a terminal it prints the same facts as plain lines, and no interim words.
"""

import difflib
import shutil
import sys
import textwrap
import time


class Screen:
    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._began = time.time()
        self._drafting = False
        self.frames: list[tuple[float, dict]] = []
        self.marks: dict[str, float] = {}

    @property
    def width(self) -> int:
        return max(72, min(shutil.get_terminal_size((110, 24)).columns, 132))

    def title(self, text: str, below: str) -> None:
        print(f"\n{self._paint(text, '1')}\n{self._paint(below, '2')}\n", flush=True)

    def fact(self, name: str, value: str, aside: str = "") -> None:
        self._line(f"{self._paint(name.ljust(11), '36')}{value}" + (f"  {self._paint(aside, '2')}" if aside else ""))

    def session(self, session: object) -> None:
        self._began = time.time()
        self.fact("session", session.id)

    def state(self, at: float, state: str, data: dict) -> None:
        self.marks[state] = at
        aside = f"{at - self._began:6.1f} s"
        if state == "active":
            aside += f"   {', '.join(s['name'] for s in data.get('rtstreams', []))}"
        if state == "exported" and "stopping" in self.marks:
            aside += f"   {at - self.marks['stopping']:.2f} s after stopping"
        self.fact("state", f"{state:<10}", aside)

    def words(self, at: float, frame: dict) -> None:
        self.frames.append((at, frame))
        said = frame["data"]
        room = self.width - 34
        if said["is_final"]:
            first, *rest = textwrap.wrap(said["text"], room) or [""]
            self._line(f"{self._paint('heard'.ljust(11), '36')}{first:<{room}}  {self._paint(self._lateness(at, said), '2')}")
            for line in rest:
                self._line(" " * 11 + line)
        elif self._live and said["text"]:
            tail = said["text"][-room:]
            sys.stdout.write(f"\r\x1b[2K{' ' * 11}\x1b[2m{tail} …\x1b[0m")
            sys.stdout.flush()
            self._drafting = True

    def _lateness(self, at: float, said: dict) -> str:
        """The final's delay after its last word, and that of the words as they were shown."""
        from stage import delays

        since = next((i for i in range(len(self.frames) - 2, -1, -1) if self.frames[i][1]["data"]["is_final"]), -1)
        found = delays.measure(self.frames[since + 1 :])
        if not found.shown:
            return f"final {at - said['end']:.1f} s"
        return f"words {delays.quantile(found.shown, 0.5):.1f}  final {found.finals[0]:.1f} s"

    def beside(self, spoken: list[str], heard: str) -> None:
        """The spoken lines at the left, at the right what was heard for each; a line that differs is marked."""
        from stage import wer

        half = (self.width - 8) // 2
        tokens = heard.split()
        flat = [(word, i) for i, token in enumerate(tokens) for word in wer.words(token)]
        reference = [word for line in spoken for word in wer.words(line)]
        place = _places(reference, [word for word, _ in flat])
        self._line("\n   " + self._paint("spoken".ljust(half) + "  heard", "36"))
        at = 0
        for line in spoken:
            end = at + len(wer.words(line))
            part = flat[place[at] : place[end] if end < len(reference) else len(flat)]
            text = " ".join(tokens[i] for i in dict.fromkeys(i for _, i in part))
            same = wer.words(line) == [w for w, _ in part]
            left, right = textwrap.wrap(line, half), textwrap.wrap(text, half) or [""]
            for i in range(max(len(left), len(right))):
                said, got = (column[i] if i < len(column) else "" for column in (left, right))
                mark = " " if same or i else "≠"
                self._line(f" {mark} {said:<{half}}  {got if same else self._paint(got, '33')}")
            at = end
        self._line("")

    def _line(self, text: str) -> None:
        print(("\r\x1b[2K" if self._drafting else "") + text, flush=True)
        self._drafting = False

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._live else text


def _places(spoken: list[str], heard: list[str]) -> list[int]:
    """For each place between spoken words, the place between heard words that belongs to it."""
    places = [0] * (len(spoken) + 1)
    for _, a0, a1, b0, b1 in difflib.SequenceMatcher(a=spoken, b=heard, autojunk=False).get_opcodes():
        for k in range(a0, a1):
            places[k] = max(places[k], b0 + min(k - a0, b1 - b0))
        places[a1] = b1
    return places
