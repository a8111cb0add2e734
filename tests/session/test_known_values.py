"""A known secret is found in a text however it is written there, and nothing else is."""

from __future__ import annotations

import base64
import html
import json
import string
import textwrap
from collections.abc import Callable
from html.entities import codepoint2name
from unicodedata import name as unicode_name
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from codex_nb.session.known_values import secrets_of_namespace
from codex_nb.session.outbound import Redactor
from codex_nb.tools.secrets import is_opaque

MARK = "[redacted: $SECRET]"
WORDS = st.lists(
    st.sampled_from(
        ["the", "model", "says", "it:", "a =", "b,", "c.d", "-> (e)", "f's", "17 %", "& 3.5", "<p>"]
    ),
    max_size=12,
).map(" ".join)
KEY_CHARACTERS = string.ascii_letters + string.digits + "_-+/=.~$!"


def is_mixed(value: str) -> bool:
    kinds = (str.isupper, str.islower, str.isdigit)
    return all(any(map(kind, value)) for kind in kinds)


TOKENS = st.text(string.ascii_letters + string.digits, min_size=16, max_size=60).filter(is_mixed)
KEYS = st.text(KEY_CHARACTERS, min_size=24, max_size=80).filter(
    lambda value: sum(map(str.isalnum, value)) > 16 and is_mixed(value)
)
PHRASES = st.sampled_from(["Pl4nted pass with spaces", 'odd "värld" & value/1+2', "пароль-от-базы-1 Ж"])
SECRETS = TOKENS | KEYS | PHRASES
WHOLE = st.binary(max_size=7)
Write = Callable[[str, bytes, bytes], str]


def wrapped(text: str, width: int, join: str) -> str:
    return join.join(text[start : start + width] for start in range(0, len(text), width))


def each_byte(value: str, write: str, join: str = "") -> str:
    return join.join(write.format(byte) for byte in value.encode())


def entity(character: str) -> str:
    named = codepoint2name.get(ord(character))
    return f"&{named};" if named else f"&#{ord(character)};"


def embedded(value: str, before: bytes, after: bytes) -> bytes:
    return before + value.encode() + after


MATHEMATICAL = {
    ord(first) + number: start + number
    for first, start, count in (("A", 0x1D400, 26), ("a", 0x1D41A, 26), ("0", 0x1D7CE, 10))
    for number in range(count)
}
# Ways of writing a text of which the secret may be a part.
ENCODINGS: dict[str, Write] = {
    "base64": lambda value, before, after: base64.b64encode(embedded(value, before, after)).decode(),
    "base64 without padding": lambda value, before, after: (
        base64.b64encode(embedded(value, before, after)).decode().rstrip("=")
    ),
    "urlsafe base64": lambda value, before, after: base64.urlsafe_b64encode(
        embedded(value, before, after)
    ).decode(),
    "base64 in lines": lambda value, before, after: base64.encodebytes(
        before * 20 + embedded(value, before, after)
    ).decode(),
    "base64 in short lines": lambda value, before, after: wrapped(
        base64.b64encode(embedded(value, before, after)).decode(), 20, "\r\n    "
    ),
    "base64 in the repr of a text": lambda value, before, after: repr(
        base64.encodebytes(before * 20 + embedded(value, before, after))
    ),
    "base64 of UTF-16": lambda value, before, _: base64.b64encode(before + value.encode("utf-16")).decode(),
    "base32": lambda value, before, after: base64.b32encode(embedded(value, before, after)).decode(),
    "base32 in lower case": lambda value, before, after: (
        base64.b32encode(embedded(value, before, after)).decode().lower()
    ),
    "hexadecimal": lambda value, before, after: embedded(value, before, after).hex(),
    "hexadecimal with blanks": lambda value, before, after: embedded(value, before, after).hex(" "),
    "hexadecimal in groups": lambda value, before, after: embedded(value, before, after).hex(" ", 2),
    "hexadecimal with colons": lambda value, before, after: embedded(value, before, after).hex(":").upper(),
    "hexadecimal with dashes": lambda value, before, after: embedded(value, before, after).hex("-"),
    "hexadecimal in lines": lambda value, before, after: wrapped(
        embedded(value, before, after).hex(), 32, "\n"
    ),
    "hexadecimal integers": lambda value, _, __: each_byte(value, "0x{:02x}", ", "),
    "hexadecimal integers in capitals": lambda value, _, __: each_byte(value, "0X{:02X}", ",\n  "),
    "hexadecimal of UTF-16": lambda value, before, _: (before + value.encode("utf-16-be")).hex(" "),
    "integers": lambda value, before, after: str(list(embedded(value, before, after))),
    "integers in lines": lambda value, _, __: textwrap.fill(" ".join(map(str, value.encode())), 40),
    "code points": lambda value, _, __: "+".join(f"chr({ord(each)})" for each in value),
    "percent-encoding": lambda value, _, __: quote(value, safe=""),
    "percent-encoding of a form": lambda value, _, __: quote_plus(value),
    "percent-encoding in lower case": lambda value, _, __: each_byte(value, "%{:02x}"),
    "percent-encoding in capitals": lambda value, _, __: each_byte(value, "%{:02X}"),
    "percent-encoding twice": lambda value, _, __: quote(quote(value, safe=""), safe=""),
    "decimal entities": lambda value, _, __: "".join(f"&#{ord(each)};" for each in value),
    "hexadecimal entities": lambda value, _, __: "".join(f"&#x{ord(each):04X};" for each in value),
    "named entities": lambda value, _, __: "".join(map(entity, value)),
    "HTML": lambda value, _, __: html.escape(value),
    "\\x": lambda value, _, __: each_byte(value, "\\x{:02x}"),
    "\\x in capitals": lambda value, _, __: each_byte(value, "\\x{:02X}"),
    "\\u": lambda value, _, __: "".join(f"\\u{ord(each):04x}" for each in value),
    "\\U": lambda value, _, __: "".join(f"\\U{ord(each):08X}" for each in value),
    "\\N": lambda value, _, __: "".join(f"\\N{{{unicode_name(each)}}}" for each in value),
    "octal": lambda value, _, __: each_byte(value, "\\{:03o}"),
    "octal without zeros": lambda value, _, __: each_byte(value, "\\{:o}"),
    "full-width": lambda value, _, __: value.translate({code: code + 0xFEE0 for code in range(0x21, 0x7F)}),
    "mathematical letters": lambda value, _, __: value.translate(MATHEMATICAL),
    "repr": lambda value, before, after: repr(embedded(value, before, after)),
    "ascii": lambda value, _, __: ascii(value),
    "JSON": lambda value, _, __: json.dumps({"v": value}),
    "JSON in JSON": lambda value, _, __: json.dumps(json.dumps({"v": f"\u00e9 {value}"})),
    "UTF-16 in a repr": lambda value, _, __: repr(value.encode("utf-16")),
    "UTF-16 with NULs": lambda value, _, __: value.encode("utf-16-le").decode("latin-1"),
    "in lines": lambda value, _, __: wrapped(value, 7, "\n"),
    "in lines with a margin": lambda value, _, __: wrapped(value, 9, "\r\n      "),
    "in lines of a comment": lambda value, _, __: wrapped(value, 9, "\n# "),
    "in lines of a repr": lambda value, _, __: repr(wrapped(value, 9, "\n")),
    "continued lines": lambda value, _, __: wrapped(value, 9, "\\\n"),
    "adjacent strings": lambda value, _, __: wrapped(value, 9, "'\n    '"),
    "a sum of strings": lambda value, _, __: wrapped(value, 9, '" + "'),
    "a list of characters": lambda value, _, __: str(list(value)),
    "characters of no width": lambda value, _, __: wrapped(value, 3, "\u200b"),
    "between tags": lambda value, _, __: wrapped(value, 5, "</b><span class='x'>"),
    "between colours": lambda value, _, __: wrapped(value, 4, "\x1b[0;31m"),
    "soft hyphens": lambda value, _, __: wrapped(value, 5, "\u00ad"),
}
BASE85: dict[str, Write] = {
    "base85": lambda value, before, after: base64.b85encode(embedded(value, before, after)).decode(),
    "Ascii85": lambda value, before, after: base64.a85encode(
        embedded(value, before, after), wrapcol=20
    ).decode(),
}


def leftover(value: str, clean: str) -> str:
    """Return the longest part of six characters or more of a secret, written in any way, that a text still shows."""
    return next((value[n : n + 6] for n in range(len(value) - 5) if value[n : n + 6] in clean), "")


@pytest.mark.parametrize("way", [*ENCODINGS, *BASE85])
@settings(max_examples=12)
@given(data=st.data())
def test_a_known_value_is_found_however_it_is_written(way: str, data: st.DataObject) -> None:
    write = (ENCODINGS | BASE85)[way]
    secret, before, after = data.draw(SECRETS), data.draw(WHOLE), data.draw(WHOLE)
    prefix, suffix = data.draw(WORDS), data.draw(WORDS)
    written = write(secret, before, after)
    text = Redactor({"$SECRET": secret})(f"{prefix} {written} {suffix}")
    assert MARK in text
    assert text.startswith(prefix[:-1])
    assert text.endswith(suffix)
    assert written not in text
    assert not leftover(secret, text)


@given(secret=TOKENS, data=st.data())
def test_a_value_of_which_some_characters_are_escaped_is_found(secret: str, data: st.DataObject) -> None:
    ways = ("{0}", "%{1:02x}", "%{1:02X}", "&#{1};", "&#x{1:x};", "\\x{1:02x}", "\\u{1:04x}")
    chosen = data.draw(st.lists(st.sampled_from(ways), min_size=len(secret), max_size=len(secret)))
    written = "".join(way.format(each, ord(each)) for way, each in zip(chosen, secret, strict=True))
    assert Redactor({"$SECRET": secret})(f"is {written}.") == f"is {MARK}."


@given(secret=TOKENS, capitals=st.lists(st.booleans(), min_size=200, max_size=200))
def test_hexadecimal_digits_may_be_of_either_case(secret: str, capitals: list[bool]) -> None:
    digits = secret.encode().hex()
    mixed = "".join(each.upper() if big else each for each, big in zip(digits, capitals, strict=False))
    assert Redactor({"$SECRET": secret})(f"is {mixed}.") == f"is {MARK}."


@given(secret=TOKENS.filter(lambda value: is_opaque(value) and not value.rstrip(string.digits).isalpha()))
def test_a_value_in_capitals_or_in_small_letters_is_found(secret: str) -> None:
    redact = Redactor({"$SECRET": secret})
    assert redact(f"is {secret.upper()}, {secret.lower()}.") == f"is {MARK}, {MARK}."


@given(secrets=st.lists(TOKENS, min_size=2, max_size=5, unique=True), text=WORDS)
def test_each_of_several_values_is_found_in_its_place(secrets: list[str], text: str) -> None:
    redact = Redactor({f"${number}": value for number, value in enumerate(secrets)})
    marks = [f"[redacted: ${number}]" for number in range(len(secrets))]
    for write in (str, lambda value: value.encode().hex(" "), lambda value: each_byte(value, "%{:02x}")):
        shown = redact("; ".join(f"{text} <{write(value)}>" for value in secrets))
        assert shown == "; ".join(f"{text} <{mark}>" for mark in marks)


@pytest.mark.parametrize("secret", ["ab%41cd-17x%zz9Q", "C:\\new\\x41-key-9Zq", "a&amp;b17&#65;-Zq9x"])
@pytest.mark.parametrize(
    "way", ["percent-encoding", "JSON", "repr", "HTML", "decimal entities", "\\x", "base64"]
)
def test_a_value_that_looks_escaped_itself_is_found(way: str, secret: str) -> None:
    redact = Redactor({"$SECRET": secret})
    for written in (secret, ENCODINGS[way](secret, b"", b"")):
        assert MARK in redact(f"is {written}")
        assert not leftover(secret, redact(f"is {written}"))


@pytest.mark.parametrize("secret", ["\\\\n<TOKEN>", "<b>a1</b>&#66;", "<apiKey><TOKEN></apiKey>"])
def test_a_value_that_reads_as_next_to_nothing_without_its_escapes_is_found_itself_alone(secret: str) -> None:
    others = " a1B <b>of</b> \\n text: "
    assert Redactor({"$SECRET": secret})(f"{others}{secret}{others}") == f"{others}{MARK}{others}"


ORDINARY = [
    "Temperatures rose by 2.5 % in 2024 (see Fig. 3 & Table 4), e.g. from 17 to 18 °C.",
    "for i, row in enumerate(rows):\n    print(f'{i}: {row[\"name\"]}\\n')\n",
    "array([ 72, 101, 108, 108, 111,  44,  32, 119, 111, 114, 108, 100])",
    "0000: 4865 6c6c 6f2c 2077 6f72 6c64 2e0a",
    "https://example.com/a%20b/c?q=%C3%A9t%C3%A9&n=1#top",
    "<p>Fish &amp; chips &#8212; caf&eacute; \\u00e9 \\x41 \\N{BULLET}</p>",
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ\nAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "       peak  height\n0     Eiger    3967\n1  Mönch\u00adstein    4110",
    "C:\\new\\table\\x-ray\\u-boat.txt and 5d41402abc4b2a76b9719d911017c592",
]


@given(text=st.sampled_from(ORDINARY) | st.text(max_size=300), secret=TOKENS)
def test_a_text_without_the_value_is_left_as_it_is(text: str, secret: str) -> None:
    assume(secret.casefold() not in "".join(filter(str.isalnum, text)).casefold())
    assert Redactor({"$SECRET": secret})(text) == Redactor({})(text)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert Redactor({})(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "a correct horse wins",
        "correct, horse",
        "correct-horse",
        "Correct\nhorse",
        "in summer 2024",
        "summer_2024.csv",
    ],
)
def test_prose_that_spells_a_password_of_words_is_left_as_it_is(text: str) -> None:
    assert Redactor({"$A": "correcthorse", "$B": "summer2024"})(text) == text


def test_a_view_of_bytes_in_any_state_keeps_no_other_secret_from_being_known() -> None:
    released = memoryview(b"kV9f3bQ7wLx2mZ4t")
    released.release()
    table = memoryview(bytes(16)).cast("B", (4, 4))
    views = {"password": released, "api_key": table, "pwd": memoryview(b"hunter2hunter2")}
    assert secrets_of_namespace(views) == {"hunter2hunter2"}
