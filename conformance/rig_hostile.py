"""Files that mean harm, or look as if they did: cut, bent, endless, huge by their own word, and pointing at other files and at the network.

`cases` yields them in a fixed order, the most telling kinds first; what is random in them comes from the seed. A trap is set beside: a file
and a server on loopback that nobody has business with, and that tell when somebody came.
"""

import ctypes
import os
import random
import select
import struct
import subprocess
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path

MB = 1 << 20


@dataclass(frozen=True)
class Case:
    what: str
    content: bytes
    name: str = "film.mp4"
    # Whether anybody could take it for good.
    harmless: bool = False


class Trap:
    """A secret file and a local server. Whoever opens the one or asks the other is written down."""

    SECRET = b"the-secret-of-the-house-7f3a"
    _OPENED = 0x20  # IN_OPEN

    def __init__(self, folder: Path):
        self.path = folder / "secret.ts"
        self.path.write_bytes(self.SECRET * 100)
        self.asked: list[str] = []
        trap = self

        class Door(BaseHTTPRequestHandler):
            def do_GET(self):
                trap.asked.append(self.path)
                self.send_error(404)

            do_HEAD = do_POST = do_GET

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/secret.ts"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        libc = ctypes.CDLL(None, use_errno=True)
        self._watch = libc.inotify_init1(os.O_NONBLOCK)
        assert self._watch >= 0 and libc.inotify_add_watch(self._watch, str(self.path).encode(), self._OPENED) >= 0

    def sprung(self) -> list[str]:
        """What came since the last look."""
        opened = bool(select.select([self._watch], [], [], 0)[0]) and bool(os.read(self._watch, 64 * 1024))
        found = self.asked[:] + (["the file was opened"] if opened else [])
        self.asked.clear()
        return found

    def close(self) -> None:
        self._server.shutdown()
        os.close(self._watch)


def make(folder: Path, name: str, words: str) -> bytes:
    """A sound file, made once for each folder."""
    path = folder / name
    if not path.exists():
        inputs = "-f lavfi -i testsrc2=s=160x120:r=15:d=2 -f lavfi -i sine=f=440:r=48000:d=2"
        subprocess.run(["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *inputs.split(), *words.split(), str(path)], check=True, timeout=120)
    return path.read_bytes()


GOOD = {
    "faststart.mp4": "-c:v libx264 -bf 0 -g 15 -pix_fmt yuv420p -c:a aac -ac 2 -movflags +faststart",
    "film.mp4": "-c:v libx264 -bf 2 -pix_fmt yuv420p -c:a aac",
    "fragments.mp4": "-c:v libx264 -g 15 -pix_fmt yuv420p -c:a aac -movflags frag_keyframe+empty_moov",
    "film.mov": "-c:v mjpeg -pix_fmt yuvj420p -c:a pcm_s16le",
    "film.webm": "-c:v libvpx -deadline realtime -cpu-used 8 -c:a libopus",
    "film.mkv": "-c:v libx264 -preset ultrafast -c:a flac",
    "film.avi": "-c:v mpeg4 -c:a mp3",
    "film.ts": "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac",
    "film.flv": "-c:v flv1 -c:a mp3 -ar 44100",
    "film.ogv": "-c:v libtheora -c:a libvorbis",
    "film.mpg": "-c:v mpeg2video -r 25 -c:a mp2",
    "film.gif": "-an -t 1",
    "film.apng": "-an -t 1 -f apng",
    "sound.wav": "-vn",
    "sound.flac": "-vn",
    "sound.mp3": "-vn",
    "sound.m4a": "-vn -c:a aac",
    "sound.opus": "-vn -c:a libopus",
    "picture.jpg": "-an -frames:v 1 -pix_fmt yuvj420p",
    "picture.png": "-an -frames:v 1",
    "picture.bmp": "-an -frames:v 1",
    "picture.webp": "-an -frames:v 1",
}


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I", len(body) + 8) + kind + body


def patched(file: bytes, mark: bytes, at: int, words: bytes) -> bytes:
    """Other bytes `at` behind the first place where the mark stands."""
    place = file.index(mark) + len(mark) + at
    return file[:place] + words + file[place + len(words) :]


def png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def zeros(count: int) -> bytes:
    """So many of them, in little."""
    deflate, block = zlib.compressobj(9), bytes(MB)
    return b"".join(deflate.compress(block) for _ in range(count // MB)) + deflate.flush()


def avi_with(words: bytes) -> bytes:
    """Subtitles in an AVI, as a playlist: ffmpeg once opened what stood there."""
    gab2 = b"GAB2\0" + struct.pack("<HIHI", 2, 10, 4, len(words)) + b"s\0u\0b\0\0\0" + words
    strh = b"txts" + b"\0" * 16 + struct.pack("<II", 1, 25) + b"\0" * 28
    lists = lambda kind, body: b"LIST" + struct.pack("<I", len(body) + 4) + kind + body  # noqa: E731
    chunk = lambda kind, body: kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)  # noqa: E731
    avih = struct.pack("<IIIIIIIIII", 40000, 0, 0, 0, 1, 0, 1, 0, 16, 16) + bytes(16)
    body = lists(b"hdrl", chunk(b"avih", avih) + lists(b"strl", chunk(b"strh", strh) + chunk(b"strf", b""))) + lists(b"movi", chunk(b"00tx", gab2))
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"AVI " + body


def bits(*fields: tuple[int, int] | int) -> bytes:
    """Bits of an SPS: (value, width), or a number in Exp-Golomb."""
    text = ""
    for field in fields:
        text += format(field[0], f"0{field[1]}b") if isinstance(field, tuple) else "0" * ((field + 1).bit_length() - 1) + format(field + 1, "b")
    text += "1"
    text += "0" * (-len(text) % 8)
    return bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))


def huge_sps(side: int) -> bytes:
    blocks = side // 16 - 1
    return b"\x67" + bits((66, 8), (0xC0, 8), (62, 8), 0, 0, 2, 1, (0, 1), blocks, blocks, (1, 1), (1, 1), (0, 1), (0, 1))


def pointing(trap: Trap) -> Iterator[Case]:
    """Files that name other files."""
    for where in (f"file://{trap.path}", str(trap.path), trap.url, f"concat:{trap.path}|{trap.path}", f"subfile,,start,0,end,64,,:{trap.path}"):
        playlist = f"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10.0,\n{where}\n#EXT-X-ENDLIST\n".encode()
        yield Case(f"a playlist of {where.split('/')[0]}", playlist, "film.m3u8")
        yield Case(f"the same, called a film, {where.split('/')[0]}", playlist, "film.mp4")
        yield Case(f"subtitles in AVI that are a playlist of {where.split('/')[0]}", avi_with(playlist), "film.avi")
    name = str(trap.path)
    yield Case("a concat script", f"ffconcat version 1.0\nfile '{name}'\n".encode(), "film.ffconcat")
    yield Case("SVG that embeds a file", f'<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{name}"/></svg>'.encode(), "a.svg")
    yield Case("SVG that embeds a URL", f'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><image href="{trap.url}"/></svg>'.encode(), "a.png")
    yield Case("a DASH manifest", f'<?xml version="1.0"?><MPD><Period><AdaptationSet><Representation><BaseURL>{trap.url}</BaseURL></Representation></AdaptationSet></Period></MPD>'.encode(), "a.mpd")
    yield Case("SDP", b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 9 RTP/AVP 96\r\n", "a.sdp")
    yield Case("a playlist behind zeros", b"\0" * 64 + f"#EXTM3U\n#EXTINF:1,\n{trap.url}\n".encode(), "a.mp3")
    yield Case("a playlist behind ID3", b"ID3\x04\0\0\0\0\0\0" + f"#EXTM3U\n#EXTINF:1,\n{trap.url}\n".encode(), "a.mp3")
    yield Case("a playlist with a mark", b"\xef\xbb\xbf" + f"#EXTM3U\n#EXTINF:1,\nfile://{name}\n".encode(), "a.mp3")
    reference = box(b"rdrf", b"\0\0\0\0url ", struct.pack(">I", len(trap.url) + 1), trap.url.encode() + b"\0")
    yield Case("QuickTime that refers to a URL", box(b"ftyp", b"qt  \0\0\0\0") + box(b"moov", box(b"rmra", box(b"rmda", reference))), "a.mov")


def elsewhere(good: bytes, trap: Trap) -> Iterator[Case]:
    """MP4 whose samples lie in another file."""
    for url in (trap.url, f"file://{trap.path}"):
        old, new = box(b"url ", b"\0\0\0\1"), box(b"url ", b"\0\0\0\0" + url.encode() + b"\0")
        bent = good.replace(old, new)
        grown = len(new) - len(old)
        for kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
            at = bent.find(kind)
            while at > 0:
                size = struct.unpack(">I", bent[at - 4 : at])[0] + grown * (good.count(old) if kind == b"moov" else 1)
                bent = bent[: at - 4] + struct.pack(">I", size) + bent[at:]
                at = bent.find(kind, at + 4)
        yield Case(f"samples in {url[:5]}", bent, "a.mp4")


def claims(good: bytes) -> Iterator[Case]:
    """MP4 that says more of itself than is so."""
    word = lambda n: struct.pack(">I", n)  # noqa: E731
    yield Case("four billion samples of one size", patched(good, b"stsz", 4, word(1) + word(0xFFFFFFFF)))
    yield Case("four billion sizes", patched(good, b"stsz", 8, word(0xFFFFFFFF)))
    yield Case("samples that last for ever", patched(good, b"stts", 8, word(0xFFFFFFFF) * 2))
    yield Case("a billion ticks a second", patched(good, b"mdhd", 12, word(1_000_000_000)))
    yield Case("no tick at all", patched(good, b"mdhd", 12, word(0)))
    yield Case("one tick a second", patched(good, b"mdhd", 12, word(1)))
    yield Case("a movie clock that stands", patched(good, b"mvhd", 12, word(0)))
    yield Case("pictures of 65535 by 65535", patched(good, b"avc1", 24, b"\xff\xff\xff\xff"))
    yield Case("a box of nine exabytes", patched(good, b"moov", -8, word(1)))
    yield Case("chunks of the file behind its end", patched(good, b"stco", 8, word(0xFFFFFFF0)))
    yield Case("no sample anywhere", patched(good, b"stsc", 12, word(0)))
    yield Case("a speed of zero", patched(good, b"elst", 16, word(0)))
    yield Case("an edit from before the beginning", patched(good, b"elst", 12, word(0x80000000)))
    yield Case("SPS of noise", patched(good, b"avcC", 8, bytes(range(200, 220))))
    old = good[good.index(b"avcC") - 4 :]
    old = old[: struct.unpack(">I", old[:4])[0]]
    for side in (1024 * 64, 16384):
        sps = huge_sps(side)
        new = box(b"avcC", b"\x01\x42\xc0\x3e\xff\xe1", struct.pack(">H", len(sps)), sps, b"\x01\0\4\x68\xce\x3c\x80")
        padded = new + box(b"free", bytes(max(0, len(old) - len(new) - 8))) if len(new) < len(old) - 7 else new
        if len(padded) == len(old):
            yield Case(f"H.264 of {side} by {side}", good.replace(old, padded))


def deep() -> Iterator[Case]:
    ftyp = box(b"ftyp", b"isom\0\0\0\0")
    nested = b"".join(struct.pack(">I", 8 * (100_000 - n)) + b"moov" for n in range(100_000))
    yield Case("a hundred thousand boxes in each other", ftyp + nested)
    yield Case("a million boxes", ftyp + box(b"free") * 1_000_000)
    yield Case("a million boxes in one", ftyp + box(b"moov", box(b"mvhd", bytes(100)), box(b"trak") * 1_000_000))
    packed = zeros(1024 * MB)
    for size in (0xFFFFFFFF, 1024 * MB):
        compressed = box(b"cmov", box(b"dcom", b"zlib"), box(b"cmvd", struct.pack(">I", size), packed))
        yield Case("a gigabyte of zeros as a description", ftyp + box(b"moov", compressed), "a.mov")
    ebml = b"\x1a\x45\xdf\xa3\x93\x42\x82\x88matroska\x42\x87\x81\x04\x42\x85\x81\x02"
    yield Case("Matroska in itself", ebml + b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" * 50_000, "a.mkv")
    yield Case("Matroska with an element of all there is", ebml + b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" + b"\x16\x54\xae\x6b\x01\x7f\xff\xff\xff\xff\xff\xff", "a.mkv")


def bombs() -> Iterator[Case]:
    """Little that becomes much."""
    yield Case("PNG of 65535 by 65535 and nothing in it", png(65_535, 65_535, zlib.compress(b"")), "a.png")
    yield Case("GIF of 65535 by 65535", b"GIF89a\xff\xff\xff\xff\xf0\0\0" + bytes(6) + (b"\x2c\0\0\0\0\xff\xff\xff\xff\0\x02\x02\x44\x01\0") * 50 + b";", "a.gif")
    frame = b"\x21\xf9\x04\0\x01\0\0\0\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0"
    yield Case("GIF of a hundred thousand pictures", b"GIF89a\x01\0\x01\0\xf0\0\0" + bytes(6) + frame * 100_000 + b";", "a.gif", harmless=True)
    yield Case("BMP of two billion lines", b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 20_000, 0x7FFFFFFF, 1, 24, 0, 0, 0, 0, 0, 0), "a.bmp")
    yield Case("JPEG of 65535 by 65535", b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\x03\x01\x11\0\x02\x11\0\x03\x11\0\xff\xda\0\x0c\x03\x01\0\x02\0\x03\0\0\x3f\0" + bytes(1000) + b"\xff\xd9", "a.jpg")
    yield Case("a raw film of 30000 by 30000", b"YUV4MPEG2 W30000 H30000 F25:1 Ip A1:1 C420\nFRAME\n" + bytes(MB), "a.y4m")
    yield Case("a zip of a gigabyte", b"PK\x03\x04\x14\0\0\0\x08\0" + bytes(16) + b"\x01\0\0\0a" + zeros(1024 * MB), "a.mp4")
    yield Case("WAV of four gigabytes and 65535 channels", b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x10\0data\xff\xff\xff\xff" + bytes(MB), "a.wav")
    yield Case("WAV of one sample a second", b"RIFF\x24\0\x10\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x01\0\0\0\x02\0\0\0\x02\0\x10\0data\0\0\x10\0" + bytes(MB), "a.wav")
    yield Case("MPEG-TS of nothing, 64 MB", (b"\x47\x1f\xff\x10" + b"\xff" * 184) * (64 * MB // 188), "a.ts")
    yield Case("MP3 of silence and noise", (b"\xff\xfb\x90\x64" + bytes(413)) * 20_000, "a.mp3", harmless=True)
    yield Case("FLAC of 2^36 samples", b"fLaC\x80\0\0\x22\x10\0\x10\0\0\0\0\0\0\0\x0b\xb8\x02\xff\xff\xff\xff\xff" + bytes(16) + bytes(1000), "a.flac")
    yield Case("zeros, 32 MB", bytes(32 * MB))
    yield Case("H.264 of 16384 by 16384, raw", (b"\0\0\0\1" + huge_sps(16_384) + b"\0\0\0\1\x68\xce\x3c\x80" + b"\0\0\0\1\x65\x88\x84" + bytes(200)) * 50, "a.h264")
    yield Case("PNG of 30000 by 30000", png(30_000, 30_000, zeros(900 * MB)), "a.png")
    yield Case("PNG that is its own size at most", png(7000, 7000, zeros(50 * MB)), "a.png")


def heavy(folder: Path) -> Iterator[Case]:
    """Sound files that cost what they cost to decode and encode."""
    words = "-f lavfi -i color=black:s=7000x7000:r=1:d=20 -an -c:v mjpeg -pix_fmt yuvj420p"
    yield Case("49 megapixels, twenty times", make(folder, "large.mov", words), "large.mov")
    words = "-f lavfi -i color=black:s=7680x4320:r=1:d=20 -an -c:v mjpeg -pix_fmt yuvj420p"
    yield Case("8K, twenty times", make(folder, "eight.mov", words), "eight.mov", harmless=True)
    words = "-f lavfi -i color=black:s=7680x4320:r=1:d=3 -an -c:v prores_ks"
    yield Case("8K of ten bits", make(folder, "ten.mov", words), "ten.mov", harmless=True)
    words = "-f lavfi -i color=black:s=4096x2304:r=30:d=4 -map 2:v -c:v libx264 -preset ultrafast -g 300"
    yield Case("a film of 4096 by 2304", make(folder, "wide.mkv", words), "wide.mkv", harmless=True)
    words = "-f lavfi -i color=black:s=16x16:r=1000:d=60 -map 2:v -c:v mpeg4"
    yield Case("a thousand pictures a second", make(folder, "quick.mkv", words), "quick.mkv", harmless=True)
    words = "-f lavfi -i color=black:s=16x16:r=0.1:d=86400 -map 2:v -c:v mpeg4"
    yield Case("a day of a picture each ten seconds", make(folder, "slow.mkv", words), "slow.mkv", harmless=True)
    words = "-filter_complex [1:a]asplit=16[a][b][c][d][e][f][g][h][i][j][k][l][m][n][o][p] -map [a] -map [b] -map [c] -map [d] -map [e] -map [f] -map [g] -map [h]"
    words += " -map [i] -map [j] -map [k] -map [l] -map [m] -map [n] -map [o] -map [p] -c:a pcm_s16le"
    yield Case("sixteen sounds", make(folder, "sounds.mkv", words), "sounds.mkv", harmless=True)
    words = "-map 0:v -t 2 -c:v mjpeg -pix_fmt yuvj420p -vf setpts='if(gt(N,28),600000/TB,PTS)' -fps_mode passthrough"
    yield Case("a picture, and a week later another", make(folder, "leap.mkv", words), "leap.mkv", harmless=True)


def named(good: bytes, photo: bytes) -> Iterator[Case]:
    """Names that are no names, and contents that are no such thing."""
    for name in ("../../../etc/passwd", "-i", "$(touch x).mp4", "a\0b.mp4", "x" * 3000, "file:a|b.mp4", "%d.mp4", "..", "CON", "\u202egnp.mp4"):
        yield Case(f"a film called {name[:12]!r}", good, name, harmless=True)
    yield Case("a photograph called a film", photo, "film.mp4", harmless=True)
    yield Case("a film called a photograph", good, "photo.jpg", harmless=True)
    yield Case("a program", b"\x7fELF\x02\x01\x01" + bytes(2000))
    yield Case("a page", b"<!doctype html><html><video src='film.mp4'></video></html>")
    yield Case("a document", b"%PDF-1.7\n" + bytes(range(256)) * 50)
    yield Case("one byte", b"\0")
    yield Case("two films in one", good + good, harmless=True)


def torn(folder: Path, noise: random.Random) -> Iterator[Case]:
    """Good files, cut off or bent at random, without end."""
    names = list(GOOD)
    while True:
        for name in names:
            good = make(folder, name, GOOD[name])
            if noise.random() < 0.4:
                yield Case(f"{name}, cut off", good[: noise.randrange(1, len(good))], name)
            else:
                bent = bytearray(good)
                # The beginning says the most.
                reach = noise.choice([100, 1000, len(bent)])
                for _ in range(noise.choice([1, 5, 50])):
                    bent[noise.randrange(min(reach, len(bent)))] = noise.choice([0, 1, 127, 128, 255, noise.randrange(256)])
                yield Case(f"{name}, bent", bytes(bent), name)


def telling(folder: Path, trap: Trap) -> Iterator[Case]:
    good, photo = (make(folder, name, GOOD[name]) for name in ("faststart.mp4", "picture.jpg"))
    for kind in (pointing(trap), elsewhere(good, trap), claims(good), deep(), bombs(), heavy(folder), named(good, photo)):
        yield from kind


def few(folder: Path, trap: Trap, seed: int) -> Iterator[Case]:
    """Twenty of all kinds that cost little to make."""
    good, photo = (make(folder, name, GOOD[name]) for name in ("faststart.mp4", "picture.jpg"))
    yield from islice(pointing(trap), 2, None, 4)
    yield next(elsewhere(good, trap))
    yield from islice(claims(good), 0, None, 4)
    yield next(deep())
    yield from islice(bombs(), 4)
    yield next(named(good, photo))
    yield from islice(torn(folder, random.Random(seed)), 3)


def cases(folder: Path, trap: Trap, seed: int, count: int) -> Iterator[Case]:
    """So many of them."""
    given = 0
    for case in telling(folder, trap):
        if given == count:
            return
        given += 1
        yield case
    noise = torn(folder, random.Random(seed))
    for _ in range(count - given):
        yield next(noise)
