"""A server that speaks S3: moto, in an environment of its own, started for one test. Objects are looked at over its own HTTP."""

import os
import subprocess
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as Xml
from pathlib import Path

from rig_server import free_ports
from stage.stage import die_with_parent

BUCKET = "films"
# So old as if it had been written two hours ago: what is younger than an hour may get its row yet.
AGED = "import datetime, moto.s3.models as m\nreal = m.utcnow\nm.utcnow = lambda: real() - datetime.timedelta(hours=2)\n"
MAIN = "import sys\nfrom moto.server import main\nmain(sys.argv[1:])\n"


def python() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "vitascope" / "moto" / "bin" / "python"


class S3:
    """`with S3(folder) as s3:`; the bucket is there and empty."""

    def __init__(self, folder: Path, aged: bool = False, strict: bool = False):
        (self.port,) = free_ports(1)
        self.url, self._log = f"http://127.0.0.1:{self.port}", folder / "s3.log"
        self._program = (AGED if aged else "") + MAIN
        # After making the bucket, keys are looked at.
        self._env = {"PATH": os.environ["PATH"], "HOME": str(folder)} | ({"INITIAL_NO_AUTH_ACTION_COUNT": "1"} if strict else {})

    def __enter__(self) -> "S3":
        command = [str(python()), "-c", self._program, "-H", "127.0.0.1", "-p", str(self.port)]
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                command, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, preexec_fn=die_with_parent
            )
        until = time.monotonic() + 30
        while True:
            try:
                self.ask("PUT", f"/{BUCKET}")
                return self
            except urllib.error.URLError:
                assert time.monotonic() < until and self._process.poll() is None, self._log.read_text()
                time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(10)

    def settings(self, url: str | None = None, bucket: str = BUCKET) -> dict[str, str]:
        """For the environment of a server; `url` is another way to here."""
        return {
            "VITASCOPE_OBJECTS_URL": f"s3://{bucket}/lab",
            "AWS_ENDPOINT_URL": url or self.url,
            "AWS_ACCESS_KEY_ID": "lab",
            "AWS_SECRET_ACCESS_KEY": "lab-secret",
            # Nothing stays here that was sent: so what plays has come from there.
            "VITASCOPE_OBJECTS_CACHE": "0",
        }

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=lab/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, body, signed, method=method), timeout=10) as answer:
            return answer.read()

    def keys(self) -> dict[str, int]:
        """What is in the bucket, with how many bytes."""
        listed = Xml.fromstring(self.ask("GET", f"/{BUCKET}?list-type=2"))
        space = {"s3": listed.tag.partition("}")[0].strip("{")}
        return {o.findtext("s3:Key", None, space): int(o.findtext("s3:Size", None, space)) for o in listed.iterfind("s3:Contents", space)}
