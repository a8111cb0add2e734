"""Images as they are sent: the parts of the file that make the picture, and nothing that does not show.

Descriptions, comments, places, thumbnails, colour profiles and what follows the end are left out, as nothing redacts
them. A photo keeps the direction in which it was taken. The formats: PNG (W3C), JPEG (ITU T.81, JFIF, EXIF), GIF89a,
and WebP (RFC 9649).
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PNG = b"\x89PNG\r\n\x1a\n"
# By a file's first bytes: what is sent as an image is not redacted, so its name does not suffice.
_IMAGE_TYPES = (
    (re.compile(re.escape(_PNG)), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
)


def image_type(data: bytes) -> str | None:
    """Return the media type of an image, None for what is not a PNG, JPEG, GIF or WebP image."""
    return next((media_type for signature, media_type in _IMAGE_TYPES if signature.match(data)), None)


def picture_url(url: str) -> str | None:
    """Return an image, a data URL, without what does not show; None for what is no image."""
    head, _, encoded = url.partition(",")
    if not head.startswith("data:image/") or not head.endswith(";base64"):
        return None
    try:
        return picture_of(binascii.a2b_base64(encoded))
    except ValueError:
        return None


def picture_of(data: bytes) -> str | None:
    """Return an image as a data URL, without what does not show; None for what is no image."""
    found = picture_only(data)
    return found and f"data:{found[0]};base64,{base64.b64encode(found[1]).decode('ascii')}"


def picture_only(data: bytes) -> tuple[str, bytes] | None:
    """Return the media type of an image, and the image without what does not show; None for what is no image."""
    media_type = image_type(data)
    read = {"image/png": _png, "image/jpeg": _jpeg, "image/gif": _gif, "image/webp": _webp}
    try:
        shown = read[media_type](data) if media_type else None
    except (IndexError, struct.error):  # it is cut off before its picture
        return None
    return (media_type, shown) if media_type and shown else None


# The chunks of a PNG that make the picture, with the most bytes that each can have.
_PNG_CHUNKS = {b"IHDR": 13, b"PLTE": 768, b"tRNS": 256, b"gAMA": 4, b"sRGB": 1, b"IDAT": 2**31}
_PNG_END = b"\0\0\0\0IEND\xae\x42\x60\x82"


def _png(data: bytes) -> bytes | None:
    pieces, kinds, place = [_PNG], [b""], len(_PNG)
    while place + 12 <= len(data) and kinds[-1] != b"IEND":
        size, kind = struct.unpack_from(">I4s", data, place)
        chunk = data[place : place + 12 + size]
        place += 12 + size
        kinds.append(kind)
        if size <= _PNG_CHUNKS.get(kind, -1) and len(chunk) == 12 + size:
            pieces.append(chunk)
    is_picture = kinds[1:2] == [b"IHDR"] and any(piece[4:8] == b"IDAT" for piece in pieces[2:])
    return b"".join([*pieces, _PNG_END]) if is_picture else None


_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_SOS = 0xDA
_MARKER = re.compile(rb"\xff([^\x00\xff])")
_MARKER_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SEGMENTS = _FRAMES | {
    0xC4,
    0xCC,
    _SOS,
    0xDB,
    0xDC,
    0xDD,
}  # tables, and the numbers of lines and of restarts
_APP0, _APP1, _APP14 = 0xE0, 0xE1, 0xEE
_ADOBE_SIZE = 12
_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112
_DIRECTIONS = range(2, 9)


def _jpeg(data: bytes) -> bytes | None:
    pieces, markers, place = [_SOI], set[int](), len(_SOI)
    while (found := _MARKER.search(data, place)) and (marker := found[1][0]) != _EOI[1]:
        begin = place = found.end()
        if marker in _ALONE:
            continue
        place += max(2, struct.unpack_from(">H", data, begin)[0])
        content = data[begin + 2 : place]
        if marker in _JPEG_SEGMENTS:
            pieces.append(_segment(marker, content))
            markers.add(marker)
        else:
            pieces.append(_application(marker, content))
        if marker == _SOS:
            scan = _MARKER_AFTER_SCAN.search(data, place)
            pieces.append(data[place : scan.start() if scan else len(data)])
            place += len(pieces[-1])
    is_picture = _SOS in markers and not _FRAMES.isdisjoint(markers)
    return b"".join([*pieces, _EOI]) if is_picture else None


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _application(marker: int, content: bytes) -> bytes:
    """Return what a segment says of colours and of the direction, written anew; empty for all else."""
    if marker == _APP0 and content.startswith(b"JFIF\0"):
        return _segment(marker, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    if marker == _APP14 and content.startswith(b"Adobe") and len(content) == _ADOBE_SIZE:
        return _segment(marker, b"Adobe\0\x64\0\0\0\0" + content[-1:])
    if marker == _APP1 and content.startswith(_EXIF) and (direction := _direction(content[len(_EXIF) :])):
        entry = struct.pack(">HHIHH", _ORIENTATION, 3, 1, direction, 0)
        return _segment(marker, _EXIF + b"MM\0*\0\0\0\x08\0\1" + entry + b"\0\0\0\0")
    return b""


def _direction(exif: bytes) -> int:
    """Return the direction that EXIF says a photo was taken in, as a number from 2 to 8; 0 for none."""
    order = "<" if exif[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for number in range(count):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * number)
            if (tag, kind) == (_ORIENTATION, 3):
                return int(value) if value in _DIRECTIONS else 0
    except struct.error:
        return 0
    return 0


_GIF_HEAD = 13
_IMAGE, _EXTENSION, _CONTROL, _CONTROL_SIZE = 0x2C, 0x21, 0xF9, 8


def _gif(data: bytes) -> bytes | None:
    place = _GIF_HEAD + _table_size(data[10])
    pieces, has_picture = [data[:place]], False
    while place < len(data) and data[place] in {_IMAGE, _EXTENSION}:
        begin, is_image = place, data[place] == _IMAGE
        place = _end_of_blocks(data, begin + (11 + _table_size(data[begin + 9]) if is_image else 2))
        if place > len(data):
            break
        if is_image or (data[begin + 1] == _CONTROL and place - begin == _CONTROL_SIZE):
            pieces.append(data[begin:place])
        has_picture = has_picture or is_image
    return b"".join([*pieces, b";"]) if has_picture else None


def _table_size(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _end_of_blocks(data: bytes, place: int) -> int:
    """Return where a row of blocks ends, each of which begins with its size; beyond the data when it is cut off."""
    while place < len(data) and data[place]:
        place += data[place] + 1
    return place + 1


# The chunks of a WebP that make the picture, with the most bytes that each can have.
_WEBP_CHUNKS = {b"VP8 ": 2**31, b"VP8L": 2**31, b"ALPH": 2**31, b"VP8X": 10, b"ANIM": 6, b"ANMF": 2**31}
_ANIMATED_OR_TRANSPARENT = 0x12  # of the flags of VP8X; others announce a profile, EXIF and XMP
_FRAME_HEAD = 16


def _webp(data: bytes) -> bytes | None:
    (size,) = struct.unpack_from("<I", data, 4)
    chunks = list(_webp_chunks(data[12 : 8 + size]))
    if not any(chunk[:4] in {b"VP8 ", b"VP8L", b"ANMF"} for chunk in chunks):
        return None
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _webp_chunks(data: bytes, *, is_frame: bool = False) -> Iterator[bytes]:
    place = 0
    while place + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, place)
        content = data[place + 8 : place + 8 + size]
        place += 8 + size + size % 2
        if size > _WEBP_CHUNKS.get(kind, -1) or len(content) < size or (is_frame and kind == b"ANMF"):
            continue
        if kind == b"VP8X":
            content = bytes([content[0] & _ANIMATED_OR_TRANSPARENT, 0, 0, 0]) + content[4:]
        elif kind == b"ANMF":
            content = content[:_FRAME_HEAD] + b"".join(_webp_chunks(content[_FRAME_HEAD:], is_frame=True))
        yield kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
