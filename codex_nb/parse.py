"""Reading what others wrote: JSON, numbers, times and images, each bounded; what is not of its kind is refused or None.

Of an image only the parts are kept that make the picture: descriptions, comments, places, thumbnails, colour profiles
and what follows the end are left out, as nothing redacts them. A photo keeps the direction in which it was taken. The
formats: PNG (W3C), JPEG (ITU T.81, JFIF, EXIF), GIF89a, and WebP (RFC 9649).
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import struct
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

JsonObject = dict[str, Any]

MAX_DEPTH = 64
LATEST_S = 32_503_680_000  # the year 3000; later moments break the arithmetic of time zones
BYTES_OF_A_VALUE = 96
_NO_JSON = re.compile(rb"NaN|Infinity|\d[eE]\+?\d{3}")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


def loads(text: str | bytes, *, keep_surrogates: bool = False) -> Any:
    """Parse JSON text into values that can be written, compared and copied.

    Raises ValueError for anything else: also for more than MAX_DEPTH levels, NaN, and numbers out of range. Lone
    surrogates become question marks, which any encoding can hold, unless they are to be shown as what they are.
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "replace")
    try:
        value = _DECODER.decode(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError("the JSON text is nested too deeply") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and is_deeper(value, MAX_DEPTH):
        raise ValueError("the JSON text is nested too deeply")
    if not keep_surrogates and _SURROGATE.search(text):
        value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    return value


def loads_object(text: str | bytes) -> JsonObject:
    """Parse the JSON text of an object like :func:`loads`; an empty one for anything else."""
    try:
        return parse_object(loads(text))
    except ValueError:
        return {}


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def is_deeper(value: Any, levels: int) -> bool:
    """Whether objects and arrays lie within each other on more than so many levels."""
    level: list[Any] = [[value]]
    for _ in range(levels + 1):
        held = (one.values() if isinstance(one, dict) else one for one in level)
        level = [inner for values in held for inner in values if isinstance(inner, dict | list)]
    return bool(level)


def needs_care(raw: bytes) -> bool:
    """Whether JSON text may hold what ``loads`` refuses and other parsers let through."""
    return raw.count(b"[") + raw.count(b"{") > MAX_DEPTH or _NO_JSON.search(raw) is not None


def memory_of(raw: bytes) -> int:
    """Estimate from above how many bytes the parsed JSON text takes in memory."""
    width = 1 if raw.isascii() and b"\\u" not in raw else 4
    values = raw.count(b",") + raw.count(b"[") + raw.count(b"{")
    return width * len(raw) + BYTES_OF_A_VALUE * values


def fits(raw: bytes, memory: int) -> bool:
    """Whether the parsed JSON text takes at most so many bytes in memory."""
    at_most = (4 + BYTES_OF_A_VALUE) * len(raw)  # which needs no look at the text
    return at_most <= memory or memory_of(raw) <= memory


def parse_number(value: Any) -> float | None:
    """Read a finite number, also from text; None for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def parse_integer(value: Any) -> int | None:
    """Read a whole number of at most 15 digits, also from text; None for anything else."""
    number = parse_number(value)
    return None if number is None or abs(number) >= 1e15 else int(number)  # noqa: PLR2004  (floats count exactly so far)


def parse_time(value: Any) -> datetime | None:
    """Read seconds since the epoch as aware UTC; None for anything else."""
    seconds = parse_number(value)
    if isinstance(value, bool) or seconds is None or not 0 < seconds < LATEST_S:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def is_printable_ascii(text: str) -> bool:
    """Whether any header can hold a text as it is, spaces included."""
    return text.isascii() and text.isprintable()


def parse_boolean(value: Any) -> bool | None:
    """Read a truth value, also from text or from 1 and 0; None for anything else."""
    if isinstance(value, bool):
        return value
    return {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())


def parse_text(value: Any) -> str:
    """Read a text; an empty one for anything else."""
    return value if isinstance(value, str) else ""


def parse_object(value: Any) -> dict[str, Any]:
    """Read a JSON object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def parse_objects(value: Any) -> list[dict[str, Any]]:
    """Read the objects of a JSON array; none for anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


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
_TABLES = frozenset({0xC4, 0xCC, 0xDB})
_NUMBERS = frozenset({0xDC, 0xDD})  # of lines and of restarts
_JPEG_SEGMENTS = _FRAMES | _TABLES | _NUMBERS | {_SOS}
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
