"""The eyes and ears of these tests, tried on a film whose every frame and beep is known: what cannot see a fault proves nothing."""

import subprocess

import pytest
from stage import film, frames, script, sound, wer


@pytest.fixture(scope="module")
def reel():
    return film.build()[0]


def cut(reel, path, *options: str):
    """The first ten seconds, with something done to them."""
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-y",
        "-t",
        "10",
        "-i",
        str(reel),
        *options,
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-c:a",
        "pcm_s16le",
        str(path),
    ]
    subprocess.run(command, check=True, timeout=60)
    return str(path)


def test_the_film_itself_is_whole(reel):
    seen = frames.sequence(frames.read(str(reel)))
    count = round(script.LENGTH * script.RATE)
    assert seen.whole and (seen.first, seen.last, seen.frames) == (0, count - 1, count)


def test_flashes_and_beeps_are_where_the_script_says(reel):
    flashes = frames.flash_times(frames.read(str(reel)))
    beeps = sound.onsets(sound.samples(str(reel)), script.BEEP_HZ)
    assert flashes == pytest.approx(script.FLASHES, abs=0.001) and beeps == pytest.approx(script.FLASHES, abs=0.005)
    assert sound.onsets(sound.samples(str(film.build()[1])), script.TONE_HZ) == pytest.approx(script.TONES, abs=0.005)


def test_a_dropped_frame_is_missed(reel, tmp_path):
    seen = frames.sequence(frames.read(cut(reel, tmp_path / "a.mkv", "-vf", "select='not(between(n,40,42))'", "-fps_mode", "vfr")))
    assert seen.missing == [40, 41, 42] and not seen.whole


def test_a_frame_out_of_order_is_noticed(reel, tmp_path):
    # Frames 3 and 4 change places.
    seen = frames.sequence(frames.read(cut(reel, tmp_path / "b.mkv", "-vf", "trim=end_frame=10,shuffleframes=0 1 2 4 3 5 6 7 8 9")))
    assert seen.backwards and not seen.whole


def test_what_cannot_be_read_is_not_guessed(reel, tmp_path):
    seen = frames.sequence(frames.read(cut(reel, tmp_path / "c.mkv", "-vf", "drawbox=x=300:y=0:w=200:h=48:color=gray:t=fill:enable='eq(n,7)'")))
    assert seen.illegible == 1 and not seen.whole


def test_a_smaller_and_coarser_picture_is_still_read(reel, tmp_path):
    assert frames.sequence(frames.read(cut(reel, tmp_path / "d.mkv", "-vf", "scale=640:360", "-crf", "36"))).whole


def test_a_late_beep_is_measured(reel, tmp_path):
    path = cut(reel, tmp_path / "e.mkv", "-af", "adelay=120:all=1")
    ((_, offset),) = sound.offsets(frames.flash_times(frames.read(path)), sound.onsets(sound.samples(path), script.BEEP_HZ))
    assert offset == pytest.approx(0.12, abs=0.005)


def test_speech_is_no_beep(reel):
    between = [b for b in sound.onsets(sound.samples(str(reel)), script.BEEP_HZ) if 3 < b < 23.9]
    assert between == []


def test_word_errors_are_counted():
    assert wer.rate("It was the Best of times,", "it was the best of times") == 0
    assert wer.rate("try again fail again", "try a gain fail") == pytest.approx(3 / 4)
    assert wer.rate("one two", "") == 1
