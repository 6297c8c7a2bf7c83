"""The library: images as the SDK and plain clients see them. Contract: core.md §5, rows GET/PATCH/DELETE /image and generate_url."""

from rig_wire import is_error, is_success


def test_row_get_images_is_an_empty_list_where_there_are_none(conn):
    assert conn.get_collection().get_images() == []


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
