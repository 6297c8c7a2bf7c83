"""A picture of the player at work: headless Chromium plays the page for a moment and is photographed over its DevTools protocol."""

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import websockets

# Resolves with where the video is, once it has played past `until`.
_PLAY = """new Promise((done, fail) => {
  const began = Date.now();
  let playing = false;
  const look = () => {
    const video = document.querySelector('video');
    if (video && !playing) { playing = true; video.muted = true; video.play().catch(() => { playing = false; }); }
    if (video && video.currentTime > UNTIL) return done(video.currentTime);
    const said = document.querySelector('#message:not([hidden])')?.textContent;
    if (said || Date.now() - began > 20000) return fail(said || 'nothing, but the video does not play');
    setTimeout(look, 50);
  };
  look();
})"""


def photograph(page: str, at: float, place: Path) -> float | None:
    """Plays `page` from second `at`, and puts its picture at `place`. Where the video was then; None without a Chromium."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not chromium:
        return None
    profile = Path(tempfile.mkdtemp(prefix="vitascope-chromium-"))
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
    command += ["--disable-component-update", "--hide-scrollbars", "--mute-audio", "--window-size=1280,900", "--remote-debugging-port=0"]
    command += [f"--user-data-dir={profile}", f"{page}#t={at}"]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # Its sockets go into the profile, too, so that all of it can be removed.
    browser = subprocess.Popen(command, start_new_session=True, env=os.environ | {"TMPDIR": str(profile)}, **quiet)
    try:
        return asyncio.run(asyncio.wait_for(_photograph(profile, at, place), 45))
    finally:
        # The browser is a family of processes, and a group of its own.
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()
        shutil.rmtree(profile, ignore_errors=True)


class Refused(RuntimeError):
    """The browser would not do what it was asked."""


async def _photograph(profile: Path, at: float, place: Path) -> float:
    async with websockets.connect(await _page(profile), max_size=32 << 20) as line:
        count = 0

        async def ask(method: str, **params: object) -> dict:
            nonlocal count
            count += 1
            await line.send(json.dumps({"id": count, "method": method, "params": params}))
            while (told := json.loads(await line.recv())).get("id") != count:
                pass
            if "error" in told:
                raise Refused(told["error"].get("message"))
            return told["result"]

        async def play() -> dict:
            # On a slow machine the page may still be taking the place of the empty one when it is first asked.
            for _ in range(5):
                try:
                    return await ask("Runtime.evaluate", expression=_PLAY.replace("UNTIL", str(at + 1.5)), awaitPromise=True, returnByValue=True)
                except Refused as refused:
                    last = refused
                    await asyncio.sleep(0.3)
            raise last

        await ask("Emulation.setDeviceMetricsOverride", width=1280, height=800, deviceScaleFactor=1, mobile=False)
        played = await play()
        if "exceptionDetails" in played:
            raise RuntimeError(f"the player says: {played['result'].get('value') or played['exceptionDetails']['text']}")
        shot = await ask("Page.captureScreenshot", format="png")
        place.write_bytes(base64.b64decode(shot["data"]))
        return played["result"]["value"]


async def _page(profile: Path, patience: float = 20) -> str:
    """The address of the page's DevTools socket, once the browser has one."""
    limit = time.monotonic() + patience
    while time.monotonic() < limit:
        try:
            port = (profile / "DevToolsActivePort").read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=5) as answer:
                pages = [p for p in json.load(answer) if p["type"] == "page" and p["url"].startswith("http")]
            if pages:
                return pages[0]["webSocketDebuggerUrl"]
        except (OSError, IndexError):
            pass
        await asyncio.sleep(0.1)
    raise TimeoutError("Chromium has not opened the page")
