"""What recording a 1080p screen costs: vitascope-capture beside ffmpeg's x11grab with the same encoder settings.

Three scenes of 20 s on an X server in memory: a still page of text, a terminal that scrolls ten lines a second, a moving picture.
Prints processor time in percent of one core (encoder included), resident memory, and what an hour would take on disk.
Needs xvfb, xterm, mpv and ffmpeg, and `cargo build --release -p vitascope-recorder`. Run it on a quiet machine: python3 bench/recorder.py
"""

import http.server
import json
import os
import signal
import socketserver
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
RECORDER = os.environ.get("VITASCOPE_CAPTURE_BIN") or str(TARGET / "release" / "vitascope-capture")
SECONDS = 20
SIZE = "1920x1080"
TICKS = os.sysconf("SC_CLK_TCK")
# As media::encoder sets them, with a key frame each 4 s.
ENCODER = "-c:v libx264 -preset veryfast -tune zerolatency -threads 1 -crf 24 -maxrate 4000k -bufsize 8000k -g 60 -pix_fmt yuv420p"
SCROLL = 'i=0; while :; do i=$((i+1)); echo "$i $(head -c 120 /dev/urandom | base64 -w0)"; sleep 0.1; done'


class Sink(socketserver.StreamRequestHandler):
    """Takes one RTSP publication and counts its bytes."""

    def handle(self):
        while first := self.rfile.read(1):
            if first == b"$":
                length = int.from_bytes(self.rfile.read(3)[1:], "big")
                self.server.received += len(self.rfile.read(length))
                continue
            self.rfile.readline()
            headers = {}
            while line := self.rfile.readline().strip():
                name, value = line.split(b":", 1)
                headers[name.lower()] = value.strip()
            self.rfile.read(int(headers.get(b"content-length", 0)))
            self.wfile.write(b"RTSP/1.0 200 OK\r\nCSeq: " + headers[b"cseq"] + b"\r\nSession: 1\r\n\r\n")


class Door(http.server.BaseHTTPRequestHandler):
    """The three capture calls, for one channel."""

    def answer(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        channels = [{"channel_id": "display:1", "rtsp_url": self.server.rtsp}]
        body = json.dumps({"success": True, "data": {"status": "starting", "channels": channels}}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


@contextmanager
def running(*command, **options):
    child = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL, **options)
    try:
        yield child
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGTERM)
        child.wait()


def family(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    threads = [c for t in Path(f"/proc/{pid}/task").iterdir() for c in (t / "children").read_text().split()]
    return {str(pid), *children, *threads}


def cost(pid):
    """Processor seconds and resident MB of a process and its children."""
    seconds = megabytes = 0
    for member in family(pid):
        fields = Path(f"/proc/{member}/stat").read_text().rsplit(")", 1)[1].split()
        seconds += (int(fields[11]) + int(fields[12])) / TICKS
        megabytes += int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return seconds, megabytes


def watched(pid, received):
    """Percent of a core, MB, MB an hour over the time of the scene, from the second second on."""
    time.sleep(1)
    before, bytes_before, began = cost(pid)[0], received(), time.monotonic()
    time.sleep(SECONDS)
    after, megabytes = cost(pid)
    took = time.monotonic() - began
    return 100 * (after - before) / took, megabytes, (received() - bytes_before) / took * 3600 / 1e6


def with_recorder(env):
    sink = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Sink)
    door = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
    sink.received, sink.daemon_threads = 0, True
    door.rtsp = f"rtsp://127.0.0.1:{sink.server_address[1]}/bench"
    for server in (sink, door):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    with running(RECORDER, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as recorder:

        def ask(command, params):
            request = json.dumps({"command": command, "commandId": command, "params": params})
            recorder.stdin.write(f"videodb_recorder|{request}\n".encode())
            recorder.stdin.flush()
            while (message := json.loads(recorder.stdout.readline().split(b"|", 1)[1])).get("commandId") != command:
                pass
            assert message["status"] == "success", message

        ask("init", {"apiUrl": f"http://127.0.0.1:{door.server_port}"})
        channel = {"channel_id": "display:1", "type": "video", "store": True}
        ask("startRecording", {"sessionId": "bench", "uploadToken": "st-bench", "channels": [channel]})
        found = watched(recorder.pid, lambda: sink.received)
        ask("stopRecording", {"sessionId": "bench"})
        ask("shutdown", {})
    return found


def with_x11grab(env, folder):
    file = folder / "grab.mkv"
    grab = f"-f x11grab -framerate 15 -video_size {SIZE} -i {env['DISPLAY']} {ENCODER} -flush_packets 1 -y {file}"
    with running("ffmpeg", "-nostdin", "-loglevel", "error", *grab.split(), env=env) as ffmpeg:
        return watched(ffmpeg.pid, lambda: file.stat().st_size if file.exists() else 0)


def draw(folder):
    """A page of text and half a minute of moving picture."""
    line = "The quick brown fox jumps over the lazy dog and goes on with more words until the line of text fills the page"
    (folder / "page.txt").write_text("\n".join(f"{n} {line}" for n in range(48)))
    text = f"drawtext=fontsize=18:fontcolor=black:textfile={folder}/page.txt"
    for source, rest in [
        ("color=white:s=1920x1080", ["-vf", text, "-frames:v", "1", str(folder / "page.png")]),
        ("mandelbrot=s=1280x720:r=30", ["-t", "30", "-c:v", "libx264", "-preset", "ultrafast", "-crf", "18", "-pix_fmt", "yuv420p", str(folder / "moving.mp4")]),
    ]:
        subprocess.run(["ffmpeg", "-nostdin", "-loglevel", "error", "-y", "-f", "lavfi", "-i", source, *rest], check=True)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder)
        told = folder / "display"
        with told.open("wb") as tell, running("Xvfb", "-displayfd", "1", "-screen", "0", f"{SIZE}x24", stdout=tell):
            while not told.read_text().endswith("\n"):
                time.sleep(0.05)
            env = os.environ | {"DISPLAY": f":{told.read_text().strip()}", "PULSE_SERVER": "unix:/nonexistent"}
            play = "mpv --no-config --vo=x11 --no-audio --fs --no-osc --really-quiet --loop --image-display-duration=inf".split()
            scenes = {
                "still page": [*play, str(folder / "page.png")],
                "scrolling terminal": ["xterm", "-geometry", "300x80+0+0", "-e", "bash", "-c", SCROLL],
                "moving picture": [*play, str(folder / "moving.mp4")],
            }
            print(f"{'scene':<20} {'program':<18} {'% of a core':>12} {'MB':>6} {'MB an hour':>11}")
            for scene, command in scenes.items():
                for program, measure in [("vitascope-capture", with_recorder), ("ffmpeg x11grab", lambda e: with_x11grab(e, folder))]:
                    with running(*command, env=env, stdout=subprocess.DEVNULL):
                        time.sleep(2)
                        percent, memory, hour = measure(env)
                    print(f"{scene:<20} {program:<18} {percent:>12.1f} {memory:>6.0f} {hour:>11.0f}", flush=True)


if __name__ == "__main__":
    main()
