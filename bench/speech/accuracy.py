#!/usr/bin/env python3
"""Word error rates of finals, and words where nobody speaks: `bench/speech/accuracy.py [dev|held|music|noise …]` (default: held music noise).

Speech is heard as it is, through the telephone (300-3400 Hz, 8 kHz, µ-law and back), and 30 dB more quietly. The settings may be chosen on `dev`
alone. Needs ffmpeg and `cargo build --release -p vitascope-ai --examples`; the models come from `./run setup`.
`--show` prints what was heard otherwise than it was said.
"""

import difflib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import evaluation

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
TRANSCRIBE = os.environ.get("VITASCOPE_TRANSCRIBE_BIN") or str(TARGET / "release/examples/transcribe")
MODELS = os.environ.get("VITASCOPE_MODELS_DIR") or str(evaluation.CACHE / "models")
MUSIC_SECONDS = 75  # of each piece: the shortest has 73

TELEPHONE = "highpass=f=300,highpass=f=300,lowpass=f=3400,lowpass=f=3400"
CONDITIONS = {
    "clean": None,
    "telephone": [f"-af {TELEPHONE} -ar 8000 -c:a pcm_mulaw -f wav", "-ar 16000 -c:a pcm_s16le -f wav"],
    "quiet": ["-af volume=-30dB -c:a pcm_s16le -f wav"],
}
MINUTE = "-t 75 -ar 16000 -ac 1 -c:a pcm_s16le"
NOISES = {
    "silence": "anullsrc=r=16000",
    "white noise": "anoisesrc=r=16000:c=white:a=0.3:s=1",
    "white noise, faint": "anoisesrc=r=16000:c=white:a=0.003:s=2",
    "pink noise": "anoisesrc=r=16000:c=pink:a=0.5:s=3",
    "brown noise": "anoisesrc=r=16000:c=brown:a=0.9:s=4",
    "brown noise, faint": "anoisesrc=r=16000:c=brown:a=0.02:s=5",
    "mains hum": "aevalsrc='0.1*sin(2*PI*50*t)+0.06*sin(2*PI*100*t)+0.04*sin(2*PI*150*t)+0.02*sin(2*PI*250*t)':s=16000",
    "ringing": "aevalsrc='0.2*(sin(2*PI*440*t)+sin(2*PI*480*t))*lt(mod(t\\,6)\\,2)':s=16000",
    "dial tone, then busy": "aevalsrc='0.2*(sin(2*PI*480*t)+sin(2*PI*620*t))*if(lt(t\\,20)\\,1\\,lt(mod(t\\,1)\\,0.5))':s=16000",
    "siren": "aevalsrc='0.4*sin(2*PI*(700*t+60*sin(2*PI*0.5*t)))':s=16000",
    "clicks": "aevalsrc='0.9*(random(0)-0.5)*exp(-900*mod(t\\,0.31))':s=16000",
    "claps": "aevalsrc='1.2*(random(0)-0.5)*exp(-70*mod(t\\,0.47))':s=16000",
    "engine": "aevalsrc='0.3*(random(0)-0.5)+0.3*sin(2*PI*87*t)*(1+0.5*sin(2*PI*11*t))+0.2*sin(2*PI*174*t)':s=16000",
    "chords": "aevalsrc='0.12*(sin(2*PI*220*pow(2\\,floor(mod(t\\,4))/12)*t)+sin(2*PI*277.2*pow(2\\,floor(mod(t\\,4))/12)*t)"
    "+sin(2*PI*329.6*pow(2\\,floor(mod(t\\,4))/12)*t))*(0.3+0.7*exp(-2*mod(t\\,1)))':s=16000",
    "melody with vibrato": "aevalsrc='0.25*sin(2*PI*330*pow(2\\,floor(mod(t*2.3\\,7))/12)*t+3*sin(2*PI*5.5*t))"
    "+0.12*sin(2*PI*660*pow(2\\,floor(mod(t*2.3\\,7))/12)*t+6*sin(2*PI*5.5*t))':s=16000",
}
CONTRACTIONS = {
    "i'm": "i am", "you're": "you are", "we're": "we are", "they're": "they are", "that's": "that is", "it's": "it is", "i've": "i have",
    "you've": "you have", "i'll": "i will", "you'll": "you will", "don't": "do not", "can't": "can not", "cannot": "can not",
    "isn't": "is not", "you'd": "you would",
}
ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = ". . twenty thirty forty fifty sixty seventy eighty ninety".split()


def spoken(number):
    """A numeral as it is read, up to 99; longer ones digit by digit."""
    n = int(number)
    if len(number) > 2 or (len(number) > 1 and number[0] == "0"):
        return " ".join(ONES[int(d)] for d in number)
    return ONES[n] if n < 20 else (TENS[n // 10] + (" " + ONES[n % 10] if n % 10 else ""))


def words(text):
    """Lower case, no punctuation, contractions written out, numerals as words, `Mr.`, `OK`, `*` and `#` as they are said."""
    text = text.lower().replace("’", "'")
    for short, long in CONTRACTIONS.items():
        text = re.sub(rf"\b{short}\b", long, text)
    text = text.replace("'", "")
    text = re.sub(r"\bmr\b\.?", "mister", text)
    text = re.sub(r"\bok\b", "okay", text).replace("*", " star ").replace("#", " pound ")
    text = re.sub(r"\d+", lambda m: f" {spoken(m[0])} ", text)
    return re.findall(r"[a-z]+", text)


def errors(said, heard):
    """Substitutions, insertions and deletions; a word written as two, or two as one, is no error (voicemail, voice mail)."""
    far = len(said) + len(heard) + 1
    rows = [[far] * (len(heard) + 1) for _ in range(len(said) + 1)]
    for i in range(len(said) + 1):
        for j in range(len(heard) + 1):
            best = 0 if i == j == 0 else far
            if i and j:
                best = min(best, rows[i - 1][j - 1] + (said[i - 1] != heard[j - 1]))
            if i:
                best = min(best, rows[i - 1][j] + 1)
            if j:
                best = min(best, rows[i][j - 1] + 1)
            if i > 1 and j and said[i - 2] + said[i - 1] == heard[j - 1]:
                best = min(best, rows[i - 2][j - 1])
            if i and j > 1 and said[i - 1] == heard[j - 2] + heard[j - 1]:
                best = min(best, rows[i - 1][j - 2])
            rows[i][j] = best
    return rows[-1][-1]


def hear(path):
    done = subprocess.run([TRANSCRIBE, MODELS, str(path)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["text"]


def ffmpeg(source, options, target):
    subprocess.run(f"ffmpeg -nostdin -loglevel error {source} {options} -y {target}", shell=True, check=True)
    return target


def variant(path, steps, folder):
    for n, step in enumerate(steps or []):
        path = ffmpeg(f"-i {path}", step, folder / f"{path.stem}.{n}.wav")
    return path


def show(said, heard):
    for tag, a, b, c, d in difflib.SequenceMatcher(None, said, heard, autojunk=False).get_opcodes():
        if tag != "equal":
            print(f"      {' '.join(said[max(0, a - 2):a])} [{' '.join(said[a:b])} → {' '.join(heard[c:d])}]")


def speech(part, folder):
    for condition, steps in CONDITIONS.items():
        wrong = count = 0
        for path in sorted((evaluation.made() / part).glob("*.wav")):
            said = words(path.with_suffix(".txt").read_text())
            heard = words(hear(variant(path, steps, folder)))
            found = errors(said, heard)
            wrong, count = wrong + found, count + len(said)
            print(f"  {condition:<10} {path.stem:<8} {100 * found / len(said):5.1f} %  ({found} of {len(said)})", flush=True)
            if "--show" in sys.argv:
                show(said, heard)
        print(f"{part} {condition:<10}          {100 * wrong / count:5.1f} %  ({wrong} of {count})", flush=True)


def quiet(kind, name, path):
    heard = hear(path)
    print(f"{kind}: {name:<32} {len(heard.split())} words {heard[:150]}", flush=True)
    return len(heard.split())


def music(folder):
    for path in sorted((evaluation.made() / "music").glob("*.wav")):
        quiet("music", path.stem, path)
        quiet("music", f"{path.stem}, quiet", ffmpeg(f"-t {MUSIC_SECONDS} -i {path}", "-af volume=-30dB -c:a pcm_s16le", folder / "quiet.wav"))


def noise(folder):
    for name, source in NOISES.items():
        quiet("noise", name, ffmpeg(f'-f lavfi -i "{source}"', MINUTE, folder / "noise.wav"))


def main():
    wanted = [a for a in sys.argv[1:] if not a.startswith("-")] or ["held", "music", "noise"]
    with tempfile.TemporaryDirectory() as name:
        for part in wanted:
            {"music": music, "noise": noise}.get(part, lambda folder: speech(part, folder))(Path(name))


if __name__ == "__main__":
    main()
