"""Plays one URL in VLC's own library and prints, as JSON, the number of every picture it shows and when, in seconds since the first.

The library is what `vlc` is made of; it is asked for here since the program refuses to run as root. Pictures are shown in real time, none is left out for
coming late. What they ought to be is not decided here.
"""

import ctypes as c
import json
import sys
import time

from costs import ROOT  # noqa: F401  (puts the rig on the path)
from rig_media import BITS, BOX, _number

ENDED, FAILED = 6, 7
LIMIT = 120


class Screen:
    """Where VLC puts its pictures: one in memory, read when it is shown."""

    def __init__(self):
        self.memory, self.pitch, self.shown = (c.c_uint8 * 1)(), 1, []

    def set_up(self, _, chroma, width, height, pitches, lines):
        for k, letter in enumerate(b"I420"):
            chroma[k] = bytes([letter])
        self.pitch, rows = (width[0] + 31) // 32 * 32, (height[0] + 31) // 32 * 32
        for plane, share in enumerate((1, 2, 2)):
            pitches[plane], lines[plane] = self.pitch // share, rows // share
        self.memory = (c.c_uint8 * (self.pitch * rows * 3 // 2))()
        return 1

    def lock(self, _, planes):
        at, size = c.addressof(self.memory), len(self.memory) * 2 // 3
        planes[0], planes[1], planes[2] = at, at + size, at + size + size // 4
        return None

    def display(self, *_):
        row = bytes(self.memory[BOX // 2 * self.pitch + BOX * k + BOX // 2] for k in range(BITS + 2))
        self.shown.append((_number(row), time.monotonic()))


def main(url: str) -> None:
    pointer, number = c.c_void_p, c.POINTER(c.c_uint)
    vlc, screen = c.CDLL("libvlc.so.5"), Screen()
    for name in ("libvlc_new", "libvlc_media_new_location", "libvlc_media_player_new_from_media"):
        getattr(vlc, name).restype = pointer
    words = [b"--no-audio", b"--no-drop-late-frames", b"--no-skip-frames", b"--quiet", b"--avcodec-hw=none"]
    library = pointer(vlc.libvlc_new(len(words), (c.c_char_p * len(words))(*words)))
    player = pointer(vlc.libvlc_media_player_new_from_media(pointer(vlc.libvlc_media_new_location(library, url.encode()))))
    # They are kept until the end: VLC holds no reference that Python knows of.
    format_ = c.CFUNCTYPE(c.c_uint, c.POINTER(pointer), c.POINTER(c.c_char), number, number, number, number)(screen.set_up)
    lock = c.CFUNCTYPE(pointer, pointer, c.POINTER(pointer))(screen.lock)
    display = c.CFUNCTYPE(None, pointer, pointer)(screen.display)
    vlc.libvlc_video_set_callbacks(player, lock, None, display, None)
    vlc.libvlc_video_set_format_callbacks(player, format_, None)
    vlc.libvlc_media_player_play(player)
    limit = time.monotonic() + LIMIT
    while vlc.libvlc_media_player_get_state(player) not in (ENDED, FAILED) and time.monotonic() < limit:
        time.sleep(0.05)
    vlc.libvlc_media_player_stop(player)
    print(json.dumps([(n, at - screen.shown[0][1]) for n, at in screen.shown]))


if __name__ == "__main__":
    main(sys.argv[1])
