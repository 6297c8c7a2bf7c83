"""The peer of `latency.py`: Moonshine's own streaming transcriber (PyPI moonshine-voice), with the same weights on the same sound.

Run by `latency.py` in a venv that has the package and numpy: `peer.py FILE.wav CHANNELS`. Prints the same lines as the example `live`.
Each channel is a stream of its own, fed in packets of 20 ms by a thread; interims come at its default of every half second.
"""

import json
import os
import sys
import threading
import time
import wave
from pathlib import Path

import moonshine_voice
import numpy
from moonshine_voice.moonshine_api import ModelArch
from moonshine_voice.transcriber import Transcriber, TranscriptEventListener

STAGGER = 1.37
PACKET = 320
lines, lock = [], threading.Lock()


class Listener(TranscriptEventListener):
    def __init__(self, channel, began):
        self.channel, self.began = channel, began

    def note(self, event, final):
        line = event.line
        with lock:
            lines.append({
                "channel": self.channel, "at": time.monotonic() - self.began, "final": final, "start": line.start_time,
                "end": line.start_time + line.duration, "text": line.text, "waited": 0.0, "computed": line.last_transcription_latency_ms / 1000,
            })

    def on_line_text_changed(self, event):
        self.note(event, False)

    def on_line_completed(self, event):
        self.note(event, True)


def stream(transcriber, pcm, channel, began):
    time.sleep(max(0, began - time.monotonic()))
    stream = transcriber.create_stream()
    stream.add_listener(Listener(channel, began))
    stream.start()
    for n in range(0, len(pcm), PACKET):
        time.sleep(max(0, began + (n + PACKET) / 16_000 - time.monotonic()))
        stream.add_audio(pcm[n : n + PACKET].tolist(), 16_000)
    stream.stop()


def main():
    file, count = sys.argv[1], int(sys.argv[2])
    with wave.open(file) as sound:
        pcm = numpy.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2").astype(numpy.float32) / 32768
    pcm = numpy.concatenate([pcm, numpy.zeros(16_000, numpy.float32)])
    transcriber = Transcriber(Path(moonshine_voice.__file__).parent / "assets/tiny-en", ModelArch.TINY)
    began, busy = time.monotonic() + 0.2, time.process_time()
    threads = [threading.Thread(target=stream, args=(transcriber, pcm, n, began + STAGGER * n)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for line in lines:
        print(json.dumps(line))
    print(json.dumps({"cpu": time.process_time() - busy}))
    sys.stdout.flush()
    os._exit(0)  # the library's own threads need not be waited for


if __name__ == "__main__":
    main()
