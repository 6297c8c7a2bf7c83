"""Uploads, as both SDKs and plain clients send them. Contract: core.md §4, rows GET upload_url and POST <upload_url>."""

import http.client
import json
import os
import re
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest
from rig_wire import Wire, is_error, is_success

KINDS = ["application/octet-stream", "text/plain; charset=utf-8", "application/json"]


def send(url: str, file: bytes, name: str = "a film", kind: str = KINDS[0], part: str = "file") -> dict:
    """One part of a form, without a key."""
    edge = "edge-of-the-form"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="{part}"; filename="{name}"\r\nContent-Type: {kind}\r\n\r\n'
    body = head.encode() + file + f"\r\n--{edge}--\r\n".encode()
    request = urllib.request.Request(url, body, {"content-type": f"multipart/form-data; boundary={edge}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_row_upload_url_is_absolute_secret_and_one_of_a_kind(api, server):
    answer = api("GET", "/collection/default/upload_url?name=a%20film")
    assert is_success(answer)
    url = answer.data["upload_url"]
    assert url.startswith(server.url + "/") and re.search(r"/[0-9a-f]{32}$", url)
    assert api("GET", "/collection/default/upload_url").data["upload_url"] != url
    assert is_error(api("GET", "/collection/c-nobodys/upload_url"), 404)
    assert is_error(api.As(None)("GET", "/collection/default/upload_url"), 401)


@pytest.mark.parametrize("kind", KINDS)
def test_row_post_upload_url_takes_any_part_without_a_key_and_gives_it_back(api, kind):
    url, file = api("GET", "/collection/default/upload_url").data["upload_url"], os.urandom(2_000_000)
    assert send(url, file, kind=kind, part="whatever")["success"] is True
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.read() == file


def test_row_post_upload_url_as_the_python_sdk_does(conn, tmp_path):
    """The SDK's own steps, up to the call that makes an asset of the file."""
    import requests

    path = tmp_path / "übung eins.mp4"
    path.write_bytes(os.urandom(100_000))
    data = conn.get(path=f"collection/{conn.get_collection().id}/upload_url", params={"name": path.stem})
    url = data.get("upload_url")
    with path.open("rb") as file:
        response = requests.post(url, files={"file": (path.stem, file, "application/octet-stream")}, timeout=30)
    response.raise_for_status()
    assert requests.get(url, timeout=30).content == path.read_bytes()


def test_a_form_without_a_file_says_so_and_an_unknown_url_is_not_found(api):
    url = api("GET", "/collection/default/upload_url").data["upload_url"]
    assert is_error(api.As(None)("POST", urlsplit(url).path, {"a": 1}), 400)
    assert is_error(api.As(None)("GET", urlsplit(url).path), 404)
    with pytest.raises(urllib.error.HTTPError) as refused:
        send(url[:-1], b"x")
    assert refused.value.code == 404


def test_a_received_file_survives_kill_9_and_a_half_one_does_not(own):
    api = Wire(own.url, own.key)
    whole = api("GET", "/collection/default/upload_url").data["upload_url"]
    half = api("GET", "/collection/default/upload_url").data["upload_url"]
    file = os.urandom(300_000)
    send(whole, file)
    at = urlsplit(half)
    line = http.client.HTTPConnection(at.hostname, at.port, timeout=30)
    line.putrequest("POST", at.path)
    line.putheader("content-type", "multipart/form-data; boundary=edge")
    line.putheader("content-length", "1000000")
    line.endheaders(b'--edge\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + bytes(100_000))
    own.kill()
    own.start()
    line.close()
    with urllib.request.urlopen(whole, timeout=30) as answer:
        assert answer.read() == file
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(half, timeout=30)
    assert refused.value.code == 404
