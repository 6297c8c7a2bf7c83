"""Files of every kind that people have, uploaded through the SDK and played whole: frames are counted and lengths measured.

Contract: core.md §4 (upload) and §5 (videos, audios). What cannot be cut as it lies is encoded, at once where a player asks for it.
"""

import subprocess
import time

import pytest
import videodb
from rig_media import ffmpeg, film, numbers, sound_seconds

X264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 250"
X265 = "-c:v libx265 -preset ultrafast -x265-params log-level=none"
HDR = "-color_trc smpte2084 -color_primaries bt2020 -colorspace bt2020nc"

# Of each: the file's name, frames a second, how its picture and its sound are coded, and frames in 7 seconds.
FILMS = {
    "hevc": ("a.mp4", "30", f"{X265} -pix_fmt yuv420p", "-c:a aac -ar 44100 -ac 1", 210),
    "b-frames in mkv": ("a.mkv", "24000/1001", f"{X264} -bf 3", "-c:a libmp3lame", 168),
    "vp9 and opus": ("a.webm", "25", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 128", "-c:a libopus", 175),
    "ten bits": ("a.mkv", "30000/1001", f"{X265} -pix_fmt yuv420p10le", "-c:a flac", 210),
    "hdr": ("a.mp4", "25", f"{X265} -pix_fmt yuv420p10le {HDR}", None, 175),
    "avi": ("a.avi", "25", "-c:v mpeg4 -q:v 2", "-c:a libmp3lame", 175),
    "transport stream": ("a.ts", "25", "-c:v mpeg2video -bf 2 -q:v 2", "-c:a mp2", 175),
    "quicktime, prores": ("a.mov", "24", "-c:v prores_ks", "-c:a pcm_s16le", 168),
    "sixty frames a second": ("a.mp4", "60", f"{X264} -bf 2", "-c:a aac", 420),
    "no sound": ("a.webm", "30", "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 4M", None, 210),
    "flash": ("a.flv", "25", "-c:v flv -q:v 2", "-c:a libmp3lame -ar 44100", 175),
    "3gp": ("a.3gp", "25", "-c:v mpeg4 -q:v 2", "-c:a aac", 175),
}


def test_row_upload_of_every_kind_of_film_plays_every_frame_once(conn, tmp_path):
    wrong = {}
    for what, (name, fps, video, audio, count) in FILMS.items():
        path = film(tmp_path / name, 7, fps=fps, size="512x288", video=video, audio=audio)
        made = conn.upload(file_path=str(path), name=what)
        seen = numbers(made.stream_url)
        if seen != list(range(count)):
            wrong[what] = f"{len(seen)} frames: {[n for n, m in zip(seen, range(count)) if n != m][:5]}"
        if abs(float(made.length) - 7) > 0.15:
            wrong[what] = f"{made.length} s long"
        if audio and abs(sound_seconds(made.stream_url) - 7) > 0.15:
            wrong[what] = f"{sound_seconds(made.stream_url)} s of sound"
        path.unlink()
    assert not wrong


SOUNDS = {
    "mp3 with a cover": ("a.mp3", "-map 0 -map 1 -frames:v 1 -c:v mjpeg -disposition:v attached_pic"),
    "flac": ("a.flac", "-map 0"),
    "ogg": ("a.ogg", "-map 0 -c:a libvorbis"),
    "wav": ("a.wav", "-map 0 -ac 6"),
    "adts": ("a.aac", "-map 0"),
    "m4a of 44.1 kHz": ("a.m4a", "-map 0 -ar 44100"),
    "opus": ("a.opus", "-map 0"),
}


def test_row_upload_of_every_kind_of_sound_is_an_audio_of_its_length(conn, tmp_path):
    wrong = {}
    for what, (name, words) in SOUNDS.items():
        path = tmp_path / name
        inputs = ["-f", "lavfi", "-i", "sine=f=440:r=48000:d=9,volume=4", "-f", "lavfi", "-i", "testsrc2=s=64x64:d=0.1"]
        ffmpeg(*inputs, *words.split(), str(path))
        made = conn.upload(file_path=str(path), name=what)
        if type(made).__name__ != "Audio":
            wrong[what] = type(made).__name__
        elif abs(sound_seconds(made.generate_url()) - 9) > 0.1 or abs(float(made.length) - 9) > 0.1:
            wrong[what] = f"{made.length} s long"
    assert not wrong


def frames_and_size(url: str) -> tuple[int, str]:
    """How many frames a player shows, and how large they are."""


    words = ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0", "-of", "csv=p=0"]
    words += ["-show_entries", "stream=width,height,nb_read_frames", url]
    said = subprocess.run(words, check=True, capture_output=True, text=True, timeout=120).stdout.strip().splitlines()[0]
    width, height, count = said.strip(",").split(",")[:3]
    return int(count), f"{width}x{height}"


def test_row_upload_of_unusual_pictures(conn, tmp_path):
    source = ["-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=5"]
    flat = tmp_path / "flat.mp4"
    ffmpeg(*source, *f"{X264} -bf 2".split(), str(flat))
    cases = {
        # What it becomes: frames and size.
        "turned": (["-i", str(flat), "-c", "copy", "-metadata:s:v", "rotate=90"], "turned.mp4", (125, "240x320")),
        "odd": ([*source, "-vf", "scale=333:241,setsar=1", "-c:v", "ffv1"], "odd.mkv", (125, "332x240")),
        "wide pixels": ([*source, *X264.split(), "-bf", "2", "-aspect", "16:9"], "wide.mp4", (125, "426x240")),
        "interlaced": ([*source, *X264.split(), "-flags", "+ildct+ilme", "-top", "1"], "fields.ts", (125, "320x240")),
        "animated gif": ([*source, "-vf", "fps=10"], "moving.gif", (50, "320x240")),
        "irregular": (
            [*source, "-vf", "select='lt(mod(n,50),9)+eq(mod(n,50),30)'", "-fps_mode", "passthrough", *X264.split()],
            "irregular.mkv",
            (29, "320x240"),
        ),
    }
    seen = {}
    for what, (words, name, _) in cases.items():
        path = tmp_path / name
        ffmpeg(*words, str(path))
        made = conn.upload(file_path=str(path), name=what)
        assert type(made).__name__ == "Video", what
        seen[what] = frames_and_size(made.stream_url)
    assert seen == {what: wanted for what, (_, _, wanted) in cases.items()}


def test_row_upload_takes_the_default_of_several_sounds(conn, tmp_path):
    path = tmp_path / "languages.mkv"
    picture = ["-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=5"]
    sounds = ["-f", "lavfi", "-i", "sine=f=300:d=2", "-f", "lavfi", "-i", "sine=f=900:d=5"]
    chosen = ["-map", "0", "-map", "1", "-map", "2", "-disposition:a:0", "0", "-disposition:a:1", "default"]
    ffmpeg(*picture, *sounds, *chosen, *X264.split(), "-bf", "2", "-c:a", "flac", str(path))
    made = conn.upload(file_path=str(path))
    assert sound_seconds(made.stream_url) == pytest.approx(5, abs=0.1)


def test_a_film_is_encoded_in_the_background_and_says_how_far_it_is(api, conn, tmp_path):
    path = film(tmp_path / "film.mkv", 20, video=f"{X264} -bf 3", audio="-c:a flac")
    made = conn.upload(file_path=str(path))
    told = []
    until = time.monotonic() + 90
    while time.monotonic() < until:
        percent = api("GET", f"/video/{made.id}").data.get("encoding")
        told.append(percent)
        if percent is None:
            break
        time.sleep(0.2)
    assert told[-1] is None, told
    known = [percent for percent in told if percent is not None]
    assert known == sorted(known) and all(0 <= percent <= 100 for percent in known)
    assert numbers(made.stream_url) == list(range(600))


def test_what_was_not_encoded_when_the_server_was_killed_is_encoded_after(own, tmp_path):
    path = film(tmp_path / "film.mkv", 30, size="1280x720", video=f"{X264} -bf 3", audio="-c:a flac")
    made = videodb.connect(api_key=own.key, base_url=own.url).upload(file_path=str(path))
    own.kill()
    own.start()
    assert numbers(made.stream_url) == list(range(900))
