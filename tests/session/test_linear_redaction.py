"""Redaction, and every pattern of the package, take time in proportion to the text, whatever the text is."""

from __future__ import annotations

import importlib
import json
import pkgutil
import random
import re
import string
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import codex_nb
from codex_nb.session.outbound import Redactor

RANDOM = random.Random(7)
LETTERS = string.ascii_letters + string.digits


def random_text(length: int, alphabet: str = LETTERS) -> str:
    return "".join(RANDOM.choices(alphabet, k=length))


KNOWN = {f"$SECRET_{number}": random_text(24) for number in range(20)}
SOURCE = "".join(path.read_text() for path in sorted(Path(codex_nb.__file__).parent.glob("session/*.py")))
WORDS = [random_text(RANDOM.randint(2, 9), string.ascii_lowercase) for _ in range(2_000)]
# What a text repeats.
PIECES = {
    "letters": "a", "digits": "1", "blanks": " ", "lines": "\n", "lines and blanks": "\n ", "tabs": "\t", "NULs": "\0",
    "backslashes": "\\", "quotes": '"', "quotes of both kinds": "'\"", "long quotes": '"""', "f": "f'",
    "brackets": "(", "closing brackets": ")", "square brackets": "[", "braces": "{", "calls": "token=(",
    "tags": "<", "blocks": "<data-", "closing blocks": "</data-", "comments": "<!--", "entities": "&#97;",
    "ampersands": "&", "amp": "&amp;", "percent": "%41", "signs of percent": "%", "percent twice": "%25",
    "escapes": "\\x41", "units": "\\u0041", "names": "\\N{BULLET}", "open names": "\\N{", "dots": ".",
    "attributes": "a.", "dashes": "-", "underscores": "_", "equals": "=", "colons": ":", "semicolons": "a=b;",
    "slashes": "/", "hashes": "#", "stars": "*", "backticks": "`", "dollars": "$", "tildes": "~", "at": "@",
    "exclamation": "!", "carets": "^", "integers": "97, 98, ", "hexadecimal": "0x41, ", "sk": "sk-", "JWT": "eyJ",
    "parts of JWT": "eyJaaaaaaaa.", "private keys": "-----BEGIN PRIVATE KEY-----", "addresses": "://a:",
    "bearers": "bearer ", "basic": "Basic ", "Azure": "AccountKey = ", "GitHub": "ghp_", "Slack": "xoxb-",
    "SendGrid": "SG.aaaaaaaaaaaaaaaa.", "webhooks": "hooks.slack.com/services/", "passwords": "password",
    "assignments": "token = a1b2\n", "long assignments": "token = abc123def456ghi\n", "names and values": "key=",
    "JSON": '{"token":"ab12cd34ef56","n":1},', "open JSON": '{"token":"', "open brackets": "keys = [\n",
    "attributes of HTML": "name=token value=a1b2c3d4e5 ", "truncated": "\n… [1 characters left out] …\n",
    "truncated strings": "'… (1 characters)", "markdown links": "[a](", "images": "![", "tables": "|a",
    "emphasis": "*a_", "ANSI": "\x1b[", "OSC": "\x1b]", "URLs": "http://a", "mentions": "@cell:", "magics": "%%",
    "headers": "authorization: ", "commands": "mysql -u root -p ", "options": " -p", "arguments": "token a1b2 ",
    "entries": "name: token\n value: ", "elements": "<token>a", "arrows": "'a1b2' -> token ", "users": "a:5432:",
    "manifests": "kind: secret\ndata:\n", "breaks before names": "\\ntoken", "pipes": "echo a | passwd ",
    "logins": "login('a', 'b1c2', ", "rows": "token,key\na1,b2c3d4e5\n",
    "rows of names": "token,key\n", "lists of names": "['token', 'key'], ", "open lists": "(token, 'a1', ",
    "tables of HTML": "<tr><th>token</th><td>a1</td></tr>",
    "columns": "[['a1', 'b2']], columns=['a', 'token'] ",
}  # fmt: skip
TEXTS: dict[str, Callable[[int], str]] = (
    {
        name: lambda size, piece=piece: (piece * (size // len(piece) + 1))[:size]  # type: ignore[misc]
        for name, piece in PIECES.items()
    }
    | {
        "prose": lambda size: " ".join(RANDOM.choices(WORDS, k=size // 6)),
        "base64": random_text,
        "base64 in lines": lambda size: "\n".join(random_text(76) for _ in range(size // 77)),
        "short base64": lambda size: " ".join(random_text(24) for _ in range(size // 25)),
        "hexadecimal digits": lambda size: random_text(size, "0123456789abcdef"),
        "words of a stem": lambda size: " ".join(
            f"pat{random_text(6, string.ascii_lowercase)}" for _ in range(size // 10)
        ),
        "beginnings of values": lambda size: " ".join(
            value[:15] for value in [*KNOWN.values()] * (size // 320 + 1)
        )[:size],
        "values": lambda size: " ".join([*KNOWN.values()] * (size // 500 + 1))[:size],
        "values in hexadecimal": lambda size: " ".join(
            value.encode().hex(":") for value in [*KNOWN.values()] * (size // 1_440 + 1)
        )[:size],
    }
)
# What notebooks hold.
ORDINARY: dict[str, Callable[[int], str]] = {
    "prose": TEXTS["prose"],
    "base64": TEXTS["base64"],
    "base64 in lines": TEXTS["base64 in lines"],
    "hexadecimal digits": TEXTS["hexadecimal digits"],
    "code": lambda size: (SOURCE * (size // len(SOURCE) + 1))[:size],
    "JSON": lambda size: json.dumps(
        [{"id": n, "name": RANDOM.choice(WORDS), "value": RANDOM.random()} for n in range(size // 60)]
    ),
    "a table of numbers": lambda size: "\n".join(
        ",".join(f"{RANDOM.random():.6f}" for _ in range(10)) for _ in range(size // 90)
    ),
    "a frame": lambda size: "".join(
        f"{n:>6}  {RANDOM.choice(WORDS):>10} {RANDOM.random():.4f}\n" for n in range(size // 26)
    ),
    "HTML": lambda size: "".join(
        f"<td class='a'>{RANDOM.choice(WORDS)} &amp; {n}</td>\n" for n in range(size // 36)
    ),
    "a log": lambda size: "".join(
        f"14:00:{n % 60:02} INFO token refreshed for user={RANDOM.choice(WORDS)}\n" for n in range(size // 50)
    ),
    "settings": lambda size: "".join(f"LEVEL_{n}={RANDOM.choice(WORDS)}\n" for n in range(size // 16)),
    "Chinese": lambda size: "".join(RANDOM.choices([chr(code) for code in range(0x4E00, 0x5000)], k=size)),
    "integers": TEXTS["integers"],
    "ANSI": TEXTS["ANSI"],
}
TEXTS |= ORDINARY | {
    "one long line": lambda size: random_text(size, string.printable[:95]),
    "UTF-16": lambda size: "".join(f"{each}\0" for each in ORDINARY["code"](size // 2)),
    "words like names": lambda size: " ".join(
        RANDOM.choice(["pat", "key", "token", "auth"]) + RANDOM.choice(WORDS) for _ in range(size // 9)
    ),
    "other assignments": lambda size: "".join(
        f"API_TOKEN_{n} = '{random_text(20)}'\n" for n in range(size // 40)
    ),
    "the repr of code": lambda size: repr(ORDINARY["code"](size))[:size],
}
SMALL, LARGE = 50_000, 200_000
SLACK = 2.5  # times what is in proportion
QUICK_S = 0.02
MOST_TIMES = 40.0


def seconds(action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return time.process_time() - start


def is_linear(run: Callable[[str], object], short: str, long: str) -> bool:
    """Whether a longer text takes as much longer; the best of a few measurements counts."""
    for _ in range(4):
        taken = seconds(lambda: run(long))
        if taken < QUICK_S or taken <= seconds(lambda: run(short)) * len(long) / len(short) * SLACK:
            return True
    return False


@pytest.mark.parametrize("kind", TEXTS)
def test_redaction_takes_time_in_proportion_to_the_text(kind: str) -> None:
    assert is_linear(Redactor(KNOWN), TEXTS[kind](SMALL), TEXTS[kind](LARGE))


@pytest.mark.skipif(
    sys.gettrace() is not None, reason="measuring coverage slows ours and not what it is compared with"
)
@pytest.mark.parametrize("kind", TEXTS)
def test_redaction_takes_a_bounded_multiple_of_what_reading_ordinary_code_takes(kind: str) -> None:
    redact, text, code = Redactor(KNOWN), TEXTS[kind](LARGE), ORDINARY["code"](LARGE)
    ratios = []
    for _ in range(5):
        reference = seconds(lambda: (json.dumps(code), re.findall(r"\w+", code)))
        ratios.append(seconds(lambda: redact(text)) / reference)
        if ratios[-1] < MOST_TIMES:
            break
    assert min(ratios) < MOST_TIMES


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Yield every pattern that a module of the package holds, by itself or in a table."""
    for module in pkgutil.walk_packages(codex_nb.__path__, "codex_nb."):
        if module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            for number, each in enumerate(value if isinstance(value, list | tuple) else (value,)):
                pattern = getattr(each, "pattern", None) if not isinstance(each, re.Pattern) else each
                if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
                    yield f"{module.name}.{name}[{number}]", pattern


# They are asked at the beginning of a line or of a short text only.
AT_THE_BEGINNING = {
    "_CELL_MAGIC",
    "_QUESTION",
    "_FRAME",
    "_IN_FRAME",
    "_CODE_BEGINS",
    "_LINE_MAGIC",
    "_SIZE",
    "_QUOTED",
    "_VALUE",
    "ATTRIBUTES",
    "_LAST_ARGUMENT",
    "_ASSIGNMENT",
    "_BETWEEN",
    "_SHAPE",
    "_SETTING",
    "_ENVIRONMENT",
    "_KEY_FOLLOWS",
    "_PAIR",
    "_CLOSES",
    "_AMOUNT",
    "_ARGUMENT",
    "_ENTRY",
    "_ELEMENT",
    "_WORD_AFTER",
    "_NAMESPACE",
    "_COOKIES",
    "_TORN",
    "_OWN_NAMES",
}


def read_to_the_end(pattern: re.Pattern[str]) -> Callable[[str], object]:
    return lambda text: sum(1 for _ in pattern.finditer(text))


def test_every_pattern_takes_time_in_proportion_to_the_text() -> None:
    found = dict(patterns())
    assert len(found) > 60
    texts = {kind: (TEXTS[kind](500), TEXTS[kind](3_000)) for kind in PIECES}
    slow = []
    for name, pattern in found.items():
        at_the_beginning = name.rpartition(".")[2].partition("[")[0] in AT_THE_BEGINNING
        runs = [pattern.match, pattern.fullmatch] + [read_to_the_end(pattern)] * (not at_the_beginning)
        slow += [
            (name, kind)
            for kind, (short, long) in texts.items()
            if not all(is_linear(run, short, long) for run in runs)
        ]
    assert slow == []
