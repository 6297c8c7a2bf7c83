"""The library: images as the SDK and plain clients see them. Contract: core.md §5, rows GET/PATCH/DELETE /image and generate_url."""

import urllib.request

from rig_media import ffmpeg
from rig_wire import is_error, is_success


def test_row_get_images_lists_those_of_a_collection_and_images_are_renamed_and_deleted(conn, api, tmp_path):
    shelf = conn.create_collection(name="of images", description="")
    assert shelf.get_images() == []
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:d=0.1", "-frames:v", "1", str(tmp_path / "a.png"))
    image = shelf.upload(file_path=str(tmp_path / "a.png"))
    assert [i.id for i in shelf.get_images()] == [image.id]
    assert shelf.get_image(image.id).url == image.url
    assert api("PATCH", f"/image/{image.id}", {"name": "renamed"}).data["name"] == "renamed"
    signed = image.generate_url()
    assert urllib.request.urlopen(signed, timeout=30).read() == (tmp_path / "a.png").read_bytes()
    image.delete()
    assert shelf.get_images() == [] and is_error(api("GET", f"/image/{image.id}"), 404)


def test_row_image_of_nobody_is_not_found_by_any_call(api):
    for method, path in [
        ("GET", "/image/img-nobodys"),
        ("PATCH", "/image/img-nobodys"),
        ("DELETE", "/image/img-nobodys"),
        ("POST", "/image/img-nobodys/generate_url"),
        ("GET", "/images/img-nobodys/guessed"),
        ("GET", "/signed/9999999999999999/guessed/img-nobodys/image"),
    ]:
        assert is_error(api(method, path, *([{}] if method in ("PATCH", "POST") else [])), 404), (method, path)


def test_row_assets_lists_across_collections_and_says_what_is_asked_wrongly(api):
    whole = api("GET", "/assets/?asset_type=video,audio,image&sort_by=size&sort_order=asc&page=1&page_size=100")
    assert is_success(whole) and isinstance(whole.data, list), whole
    assert is_error(api("GET", "/assets?name_pattern=%28"), 400)
    assert is_error(api("GET", "/assets?collection_id=c-nobodys"), 404)
