"""tus 1.0 by raw HTTP: core, creation, expiration, termination, checksum; cuts at random places and kill -9 between them."""

import base64
import hashlib
import http.client
import os
import random
import time
import urllib.request
from contextlib import suppress
from urllib.parse import urlsplit

VERSION = {"tus-resumable": "1.0.0"}
PIECE = VERSION | {"content-type": "application/offset+octet-stream"}


def call(url: str, method: str, headers: dict, body: bytes | None = None) -> tuple[int, dict]:
    at = urlsplit(url)
    line = http.client.HTTPConnection(at.hostname, at.port, timeout=30)
    try:
        # A refusal may come, and the line close, before all of the body was read.
        with suppress(BrokenPipeError, ConnectionResetError):
            line.request(method, at.path, body, headers)
        answer = line.getresponse()
        answer.read()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}
    finally:
        line.close()


def create(server, length: int, **more: str) -> tuple[str, str]:
    name = base64.b64encode("ein Film.mp4".encode()).decode()
    headers = VERSION | {"x-access-token": server.key, "upload-length": str(length), "upload-metadata": f"filename {name}"} | more
    status, got = call(f"{server.url}/collection/default/tus", "POST", headers)
    assert status == 201 and got["tus-resumable"] == "1.0.0"
    assert got["upload-expires"].endswith(" GMT")
    return got["location"], got["x-upload-url"]


def offset(url: str) -> int:
    status, got = call(url, "HEAD", VERSION)
    assert status == 200 and got["cache-control"] == "no-store"
    return int(got["upload-offset"])


def read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


def test_options_tell_what_is_spoken(server):
    url, _ = create(server, 10)
    status, got = call(url, "OPTIONS", {})
    assert (status, got["tus-version"]) == (204, "1.0.0")
    assert set(got["tus-extension"].split(",")) == {"creation", "expiration", "termination", "checksum"}
    assert "sha1" in got["tus-checksum-algorithm"] and int(got["tus-max-size"]) > 10**9


def test_a_file_in_pieces_is_the_file(server):
    file = os.urandom(1_000_000)
    url, whole = create(server, len(file))
    at = 0
    for end in (1, 300_000, 300_001, len(file)):
        status, got = call(url, "PATCH", PIECE | {"upload-offset": str(at)}, file[at:end])
        assert (status, int(got["upload-offset"])) == (204, end)
        at = end
    assert offset(url) == len(file) and read(whole) == file


def test_an_empty_file_is_whole_at_once(server):
    url, whole = create(server, 0)
    assert (offset(url), read(whole)) == (0, b"")


def test_what_is_sent_wrongly_is_refused_and_changes_nothing(server):
    url, _ = create(server, 10)
    wrong = [
        (412, PIECE | {"tus-resumable": "0.2.2", "upload-offset": "0"}),
        (415, VERSION | {"content-type": "text/plain", "upload-offset": "0"}),
        (409, PIECE | {"upload-offset": "5"}),
        (400, PIECE),
        (400, PIECE | {"upload-offset": "0", "upload-checksum": "crc7 AAAA"}),
        (460, PIECE | {"upload-offset": "0", "upload-checksum": "sha1 " + base64.b64encode(bytes(20)).decode()}),
        (413, PIECE | {"upload-offset": "0", "content-length": "11"}),
    ]
    for status, headers in wrong:
        assert call(url, "PATCH", headers, b"hello world" if status == 413 else b"hello")[0] == status, headers
        assert offset(url) == 0
    assert call(url[:-1], "HEAD", VERSION)[0] == 404
    for length in ("-1", "x", str(10**15)):
        headers = VERSION | {"x-access-token": server.key, "upload-length": length}
        assert call(f"{server.url}/collection/default/tus", "POST", headers)[0] in (400, 413), length
    assert call(f"{server.url}/collection/default/tus", "POST", VERSION | {"upload-length": "5"})[0] == 401


def test_a_checksum_that_is_right_is_taken(server):
    file = os.urandom(50_000)
    url, whole = create(server, len(file))
    for algorithm, start, end in (("sha1", 0, 20_000), ("sha256", 20_000, 50_000)):
        total = base64.b64encode(hashlib.new(algorithm, file[start:end]).digest()).decode()
        headers = PIECE | {"upload-offset": str(start), "upload-checksum": f"{algorithm} {total}"}
        assert call(url, "PATCH", headers, file[start:end])[0] == 204
    assert read(whole) == file


def test_an_upload_that_is_ended_is_gone(server):
    url, whole = create(server, 10)
    assert call(url, "PATCH", PIECE | {"upload-offset": "0"}, b"hello")[0] == 204
    assert call(url, "DELETE", VERSION)[0] == 204
    assert call(url, "HEAD", VERSION)[0] == 404
    assert call(whole, "GET", {})[0] == 404


def test_cuts_at_random_places_and_kill_9_lose_no_byte_that_was_acknowledged(own):
    file, dice = os.urandom(4_000_000), random.Random(4)
    url, whole = create(own, len(file))
    acknowledged, rounds, until = 0, 0, time.monotonic() + 60
    while acknowledged < len(file):
        at = offset(url)
        assert acknowledged <= at <= len(file), "what was acknowledged is there"
        if at == len(file):
            break
        end = min(len(file), at + dice.randrange(1, 700_000))
        if rounds % 2:
            status, _ = call(url, "PATCH", PIECE | {"upload-offset": str(at)}, file[at:end])
            if status in (409, 423):
                # The server still writes what the broken connection brought: a client asks again where to go on.
                assert time.monotonic() < until, "the server never finished with a broken piece"
                continue
            assert status == 204
            acknowledged = end
        else:
            broken_off(url, at, file[at:end], len(file) - at)
        if rounds % 3 == 0:
            own.kill()
            own.start()
        rounds += 1
    # What HEAD told to be whole is there to be read.
    assert offset(url) == len(file) and read(whole) == file


def test_a_piece_whose_sum_was_never_checked_is_taken_back_after_kill_9(own):
    url, _ = create(own, 1_000_000)
    assert call(url, "PATCH", PIECE | {"upload-offset": "0"}, bytes(1000))[0] == 204
    line = broken_off(url, 1000, os.urandom(200_000), 500_000, "sha1 " + base64.b64encode(bytes(20)).decode(), hang_up=False)
    own.kill()
    own.start()
    line.close()
    assert offset(url) == 1000


def broken_off(url: str, at: int, piece: bytes, promised: int, checksum: str | None = None, hang_up: bool = True):
    """Sends less than it promised."""
    to = urlsplit(url)
    line = http.client.HTTPConnection(to.hostname, to.port, timeout=30)
    line.putrequest("PATCH", to.path)
    sent = PIECE | {"upload-offset": str(at), "content-length": str(promised)} | ({"upload-checksum": checksum} if checksum else {})
    for key, value in sent.items():
        line.putheader(key, value)
    line.endheaders(piece)
    if hang_up:
        line.close()
    return line
