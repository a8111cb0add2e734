"""What is left of an image that is sent: the picture, and nothing that does not show."""

from __future__ import annotations

import io

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codex_nb.parse import picture_only, picture_url
from tests.pictures import PLACES, data_url, encoded, find_leaks_in_images, kind_of, picture

SECRET = "pl4nt3d-in-an-image-0123456789"


def pixels(data: bytes) -> list[bytes]:
    """Return each frame of an image; a photo as it lies in the file."""
    with PIL.Image.open(io.BytesIO(data)) as opened:
        frames = []
        for number in range(getattr(opened, "n_frames", 1)):
            opened.seek(number)
            frames.append(opened.convert("RGBA").tobytes())
        return frames


@pytest.mark.parametrize("place", PLACES)
def test_what_does_not_show_is_taken_out_of_an_image_and_the_picture_stays(place: str) -> None:
    whole = PLACES[place](SECRET)
    assert find_leaks_in_images(data_url(whole).encode(), {"it": SECRET}, place)
    kind, shown = picture_only(whole) or ("", b"")
    assert kind == f"image/{kind_of(place)}"
    assert find_leaks_in_images(data_url(shown).encode(), {"it": SECRET}, place) == []
    assert pixels(shown)[0] == pixels(whole)[0]
    assert place.startswith("png") or pixels(shown) == pixels(whole)
    assert picture_only(shown) == (kind, shown)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_png_of_any_mode_keeps_its_picture(mode: str) -> None:
    whole = encoded("png", picture("L").convert("I").convert("I;16") if mode == "I;16" else picture(mode))
    assert pixels((picture_only(whole) or ("", b""))[1]) == pixels(whole)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 100, "subsampling": 0}])
def test_a_jpeg_of_any_mode_keeps_its_picture(mode: str, options: dict[str, object]) -> None:
    whole = encoded("jpeg", picture(mode), **options)
    assert pixels((picture_only(whole) or ("", b""))[1]) == pixels(whole)


def test_a_photo_stays_upright() -> None:
    whole = PLACES["jpeg EXIF"](SECRET)
    shown = (picture_only(whole) or ("", b""))[1]
    assert PIL.Image.open(io.BytesIO(shown)).getexif()[0x0112] == 6


def test_the_kind_of_an_image_is_what_its_bytes_say() -> None:
    assert picture_url(data_url(encoded("jpeg"), "png")) == data_url(encoded("jpeg"), "jpeg")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "data:,x",
        "data:text/plain;base64,c2VjcmV0c2VjcmV0",
        "data:image/png;base64,c2VjcmV0c2VjcmV0",
        "data:image/png;base64,A",
        f"data:image/svg+xml,<svg><text>{SECRET}</text></svg>",
        "https://example.com/a.png",
        *(
            data_url(data)
            for data in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xd9", b"GIF89a", b"RIFF\0\0\0\0WEBP")
        ),
    ],
)
def test_what_is_no_image_has_no_picture(url: str) -> None:
    assert picture_url(url) is None


@given(st.sampled_from(["png", "jpeg", "gif", "webp"]), st.data())
def test_an_image_that_is_cut_off_or_changed_anywhere_is_read_to_an_end(
    kind: str, data: st.DataObject
) -> None:
    whole = encoded(kind)
    start = data.draw(st.integers(0, len(whole)))
    inserted = data.draw(st.binary(max_size=20))
    end = data.draw(st.integers(start, len(whole)))
    shown = picture_only(whole[:start] + inserted + whole[end:])
    assert shown is None or picture_only(shown[1]) == shown


JPEG, PNG, GIF, WEBP = (encoded(kind) for kind in ("jpeg", "png", "gif", "webp"))
REPEATED = {
    "fill bytes between segments": (JPEG[:20], b"\xff", JPEG[20:]),
    "fill bytes in a scan": (JPEG[:-2], b"\xff", b"\xff\xd9"),
    "escaped bytes": (JPEG[:-2], b"\xff\x00", b"\xff\xd9"),
    "restarts": (JPEG[:20], b"\xff\xd0", JPEG[20:]),
    "comments": (JPEG[:20], b"\xff\xfe\x00\x02", JPEG[20:]),
    "empty chunks": (PNG[:33], b"\0\0\0\0tEXt\0\0\0\0", PNG[33:]),
    "blocks of a byte": (GIF[:-2], b"\x01a", b"\0;"),
    "empty extensions": (GIF[:-1], b"\x21\xfe\x00", b";"),
    "empty chunks of a WebP": (WEBP, b"SECR\0\0\0\0", b""),
}


@pytest.mark.parametrize("name", REPEATED)
def test_an_image_of_a_million_parts_is_read_to_an_end(name: str) -> None:
    before, part, after = REPEATED[name]
    assert picture_only(before + part * (2_000_000 // len(part)) + after) is not None
