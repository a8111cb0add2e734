"""Small pictures of every kind that is sent, each with a text in one of the places where it does not show."""

from __future__ import annotations

import base64
import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping

import PIL.Image
from PIL import ExifTags, PngImagePlugin

from tests.leaks import Leak, find_leaks

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PIXEL_URL = f"data:image/png;base64,{PIXEL}"
_DATA_URL = re.compile(rb"data:[^,\"\\]{0,100};base64,([A-Za-z0-9+/=]+)")
_LONG_BASE64 = re.compile(rb"[A-Za-z0-9+/]{200,}={0,2}")


def picture(mode: str = "RGB") -> PIL.Image.Image:
    """Return a picture in which every pixel differs."""
    drawn = PIL.Image.new("RGB", (9, 7))
    drawn.putdata([(number * 4, 255 - number * 4, number) for number in range(63)])
    return drawn.convert(mode)


def encoded(kind: str, drawn: PIL.Image.Image | None = None, **options: object) -> bytes:
    """Return a picture as a file of this kind: png, jpeg, gif or webp."""
    buffer = io.BytesIO()
    (drawn or picture()).save(buffer, format=kind.upper(), **options)
    return buffer.getvalue()


def data_url(data: bytes, kind: str = "png") -> str:
    """Return a file as a data URL."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def exif(text: str) -> PIL.Image.Exif:
    """Return EXIF data that says a text in its description, and where and how the photo was taken."""
    said = PIL.Image.Exif()
    said[ExifTags.Base.ImageDescription] = text
    said[ExifTags.Base.Orientation] = 6
    said.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = text.encode()
    return said


def _in_png(kind: bytes, data: bytes, *, at: int = 33) -> bytes:
    whole = encoded("png")
    return whole[:at] + chunk(kind, data) + whole[at:]


def _in_jpeg(marker: int, data: bytes) -> bytes:
    whole = encoded("jpeg")
    return whole[:2] + struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data + whole[2:]


def _in_gif(label: int, data: bytes) -> bytes:
    whole = encoded("gif")
    at = whole.index(b"\x2c", 13 + 3 * 2 ** ((whole[10] & 7) + 1))
    return whole[:at] + bytes([0x21, label, len(data)]) + data + b"\0" + whole[at:]


def _in_webp(kind: bytes, data: bytes) -> bytes:
    whole = encoded("webp", exif=exif("x"))
    body = whole[12:] + kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _texts(text: str, *, zipped: bool) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", text, zip=zipped)
    info.add_itxt("Note", text, zip=zipped)
    return info


def _frames(kind: str, text: str) -> bytes:
    options = {
        "save_all": True,
        "append_images": [picture().rotate(90), picture().rotate(180)],
        "exif": exif(text),
    }
    return encoded(kind, **options, **({"comment": text} if kind == "gif" else {"xmp": text.encode()}))


Hide = Callable[[str], bytes]
PLACES: Mapping[str, Hide] = {
    "png tEXt and iTXt": lambda text: encoded("png", pnginfo=_texts(text, zipped=False)),
    "png zTXt and compressed iTXt": lambda text: encoded("png", pnginfo=_texts(text, zipped=True)),
    "png eXIf": lambda text: encoded("png", exif=exif(text)),
    "png iCCP": lambda text: encoded("png", icc_profile=text.encode()),
    "png tIME": lambda text: _in_png(b"tIME", text.encode()),
    "png sPLT": lambda text: _in_png(b"sPLT", text.encode()),
    "png private chunk": lambda text: _in_png(b"prVt", text.encode()),
    "png unknown critical chunk": lambda text: _in_png(b"SECR", text.encode()),
    "png oversized gAMA": lambda text: _in_png(b"gAMA", text.encode()),
    "png behind the end": lambda text: encoded("png") + text.encode(),
    "png data in IEND": lambda text: encoded("png")[:-12] + chunk(b"IEND", text.encode()),
    "png frames": lambda text: _frames("png", text),
    "jpeg comment": lambda text: encoded("jpeg", comment=text),
    "jpeg EXIF": lambda text: encoded("jpeg", exif=exif(text)),
    "jpeg XMP": lambda text: _in_jpeg(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + text.encode()),
    "jpeg ICC": lambda text: encoded("jpeg", icc_profile=text.encode()),
    "jpeg IPTC": lambda text: _in_jpeg(0xED, b"Photoshop 3.0\0" + text.encode()),
    "jpeg JFIF thumbnail": lambda text: _in_jpeg(0xE0, b"JFIF\0\1\1\0\0\1\0\1\1\1" + text.encode()),
    "jpeg Adobe": lambda text: _in_jpeg(0xEE, b"Adobe" + text.encode()),
    "jpeg APP9": lambda text: _in_jpeg(0xE9, text.encode()),
    "jpeg between segments": lambda text: encoded("jpeg")[:20] + text.encode() + encoded("jpeg")[20:],
    "jpeg behind the end": lambda text: encoded("jpeg") + text.encode(),
    "gif comment": lambda text: encoded("gif", comment=text),
    "gif XMP": lambda text: _in_gif(0xFF, b"XMP DataXMP" + text.encode()),
    "gif application": lambda text: _in_gif(0xFF, b"SECRET__1.0" + text.encode()),
    "gif plain text": lambda text: _in_gif(0x01, text.encode()),
    "gif unknown extension": lambda text: _in_gif(0x77, text.encode()),
    "gif oversized control": lambda text: _in_gif(0xF9, text.encode()),
    "gif behind the end": lambda text: encoded("gif") + text.encode(),
    "gif frames": lambda text: _frames("gif", text),
    "webp EXIF": lambda text: encoded("webp", exif=exif(text)),
    "webp XMP": lambda text: encoded("webp", xmp=text.encode()),
    "webp ICC": lambda text: encoded("webp", icc_profile=text.encode()),
    "webp unknown chunk": lambda text: _in_webp(b"SECR", text.encode()),
    "webp behind the end": lambda text: encoded("webp") + text.encode(),
    "webp frames": lambda text: _frames("webp", text),
}  # fmt: skip


def kind_of(place: str) -> str:
    """Return the kind of file that a place is in."""
    return place.partition(" ")[0]


def images_in(body: bytes, *, is_long: bool = True) -> Iterator[bytes]:
    """Yield each image in a body: of data URLs, and of other base64 that ``is_long``."""
    for match in (*_DATA_URL.finditer(body), *(_LONG_BASE64.finditer(body) if is_long else ())):
        text = match[match.re.groups]
        yield base64.b64decode(text.rstrip(b"=") + b"=" * (-len(text.rstrip(b"=")) % 4))


def _inflated(data: bytes) -> Iterator[bytes]:
    """Yield what is compressed in the chunks of a PNG, but for the picture."""
    for begin in re.finditer(rb"\x78[\x01\x5e\x9c\xda]", data):
        try:
            yield zlib.decompressobj().decompress(data[begin.start() :], 1_000_000)
        except zlib.error:
            continue


def find_leaks_in_images(body: bytes, secrets: Mapping[str, str], place: str) -> list[Leak]:
    """Return the secrets in the images of a body, compressed ones as well."""
    found = []
    for data in images_in(body):
        for each in (data, *_inflated(data)):
            found += find_leaks(each, secrets, place)
    return found
