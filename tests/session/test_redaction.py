from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from urllib.parse import quote

import pytest

from codex_nb.session.outbound import Redaction, Redactor, TurnRedactor, environment_secrets, secret_values_in
from codex_nb.tools.nbmodel import truncate
from codex_nb.tools.secrets import MAX_NAMES, THE_REST
from tests.leaks import assert_no_leak

VALUE = 'odd "värld" & value/1+2'
KEYS = {
    "an OpenAI key": "sk-proj-fabricatedFABRICATED0123456789",
    "a JSON web token": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl",
    "a GitHub token": "ghp_" + "a1B2" * 9,
    "an AWS key": "AKIA" + "FABRICATED012345",
    "a Google key": "AIza" + "fabricated-key_" * 2 + "01234",
    "a Slack token": "xoxb-123456789012-fabricated",
    "a Hugging Face token": "hf_" + "fabricated" * 3 + "0123",
    "a personal access token": "at-" + "fabricated0" * 3 + "x",
}


@pytest.mark.parametrize(
    "written",
    [
        VALUE,
        json.dumps({"v": VALUE}),
        repr(VALUE),
        quote(VALUE, safe=""),
        VALUE.encode().hex(),
        *(base64.b64encode(b"\0" * n + VALUE.encode() + b"tail").decode() for n in range(3)),
        base64.urlsafe_b64encode(b"Authorization: " + VALUE.encode()).decode(),
    ],
)
def test_a_known_value_is_found_in_every_form_it_is_written_in(written: str) -> None:
    text, found = Redactor({"$ODD": VALUE}).redact(f"before {written} after", "cell 1")
    assert_no_leak(text, {"value": VALUE})
    assert text.startswith("before ")
    assert text.endswith(" after")
    assert found == (Redaction(found[0].name, "cell 1"),)


@pytest.mark.parametrize(("name", "key"), KEYS.items())
def test_a_key_is_known_by_its_format(name: str, key: str) -> None:
    redactor = Redactor({})
    assert redactor(f"use {key}.") == f"use [redacted: {name}]."
    hidden = base64.b64encode(f'{{"key": "{key}"}}'.encode()).decode()
    assert redactor(f"use {hidden}.") == "use [redacted: an encoded secret]."
    assert redactor(key.encode().hex()) == "[redacted: an encoded secret]"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ('password = "hunter2hunter2"', 'password = "[redacted: an assigned secret]"'),
        ("{'api_key': 'abc123def456'}", "{'api_key': '[redacted: an assigned secret]'}"),
        ("export MY_TOKEN=abc123def456", "export MY_TOKEN=[redacted: an assigned secret]"),
        ("postgres://ada:pa55@db/x", "postgres://ada:[redacted: a password in an address]@db/x"),
        ("Authorization: Bearer abcdefgh12345678", "Authorization: Bearer [redacted: a bearer token]"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nnext",
            "[redacted: a private key]\nnext",
        ),
    ],
)
def test_a_secret_is_known_by_what_stands_around_it(text: str, clean: str) -> None:
    assert Redactor({})(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "token = tokenizer.encode('hello world')",
        "key = 'customer_id'",
        "API_KEY = os.environ['API_KEY']",
        'password = getpass("Password: ")',
        "https://example.com/a/very/long/path/that/is/not/secret?page=2",
        "0123456789abcdef0123456789abcdef",
        "a_rather_long_identifier_of_some_function_in_a_module",
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ",
        "ask-me-anything-about-this-very-long-thing",
    ],
)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert Redactor({"$X": "something else"})(text) == text


@pytest.mark.parametrize("secret", [VALUE, KEYS["an OpenAI key"]])
@pytest.mark.parametrize("lead", range(0, 60, 3))
def test_a_secret_cut_in_two_by_a_shortened_text_leaves_no_half(secret: str, lead: int) -> None:
    redactor = Redactor({"$ODD": VALUE})
    text = redactor(truncate("x " * (lead // 2) + f" {secret} " + "y " * 40, 60))
    halves = [secret[:n] for n in range(len(secret), 11, -1)] + [
        secret[-n:] for n in range(len(secret), 11, -1)
    ]
    assert [half for half in halves if half in text] == []


@pytest.mark.parametrize("sign", ["…", "...", "...'", "… |"])
@pytest.mark.parametrize("lead", ["", "key=", "'", "| ", "Bearer "])
def test_what_an_ellipsis_leaves_of_a_known_value_is_taken_out(lead: str, sign: str) -> None:
    known = "Zk4-Qw9_pL2xTb7Rm"
    redactor = Redactor({"$TOKEN": known, "$OTHER": "Zk4-Qw9_another1one", "$WORD": "password-of-ada"})
    for size in range(9, len(known)):
        assert known[:8] not in redactor(f"see {lead}{known[:size]}{sign} here"), size
    for ordinary in ("Enter your password... ", "and so on…", "Zk4-Qw9x2… ", "a/b/c… "):
        assert redactor(ordinary) == ordinary


@pytest.mark.parametrize(
    "text",
    [
        "x" * 9_000,
        "a word " + "x" * 900,
        "x" * 900 + " a word",
        "x " * 450,
        "x " * 12 + VALUE + "x " * 450,
        "x " * 450 + VALUE + " x",
    ],
)
def test_what_is_taken_away_beside_a_gap_is_counted_in_it(text: str) -> None:
    shown = Redactor({"$ODD": VALUE})(truncate(text, 60))
    before, missing, after = re.split(r"\n… \[([\d,]+) characters left out\] …\n", shown)
    assert len(before.removesuffix("…")) + int(missing.replace(",", "")) + len(
        after.removeprefix("…")
    ) == len(text)


def test_what_a_coloured_text_assigns_is_known_in_the_others() -> None:
    coloured = "\x1b[32mtoken\x1b[0m=\x1b[33m'kV9f3bQ7wLx2mZ4t'\x1b[0m"
    assert list(secret_values_in(["a word", coloured])) == ["kV9f3bQ7wLx2mZ4t"]


def test_environment_variables_are_secret_by_their_name_or_what_they_hold() -> None:
    environ = {
        "OPENAI_API_KEY": "value-number-1",
        "DB_PASSWORD": "value-number-2",
        "github_token": "value-number-3",
        "DATABASE_URL": "postgres://ada:value-number-4@db/x",
        "SSH_AUTH_SOCK": "/run/agent.1",
        "TOKEN_PATH": "relative/path",
        "API_KEY": "short",
        "HOME": "/home/ada",
        "MONKEY_NAME": "a-monkey-named-x",
    }
    assert environment_secrets(environ) == {
        "$OPENAI_API_KEY": "value-number-1",
        "$DB_PASSWORD": "value-number-2",
        "$github_token": "value-number-3",
        "the password in $DATABASE_URL": "value-number-4",
    }


def test_each_of_several_secrets_of_a_text_is_known_in_the_next_one() -> None:
    secrets = {name: f"{name}A1b2C3d4" for name in ("token", "password", "apiKey", "salt")}
    redact = TurnRedactor(Redactor({}))
    redact("\n".join(f'{name} = "{value}"' for name, value in secrets.items()))
    for value in secrets.values():
        assert redact(f"is {value.encode().hex()}") == "is [redacted: an assigned secret]"


@pytest.mark.parametrize(
    "write", [repr, json.dumps, lambda text: repr([text]), lambda text: repr(repr(text))]
)
@pytest.mark.parametrize("following", ["export FOO=1", "next", "[section]", "HF_TOKEN=0f1e2d3c4b5a69788796"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\t"])
def test_a_secret_before_an_escaped_break_is_known_without_it(
    end: str, following: str, write: Callable[[str], str]
) -> None:
    secrets = {"yaml": "pl3839275970nt3d29af05a9Zq", "ini": "qm7402216385xk9b71cd20e4Rw"}
    text = f"user: ada{end}password: {secrets['yaml']}{end}secret_key = {secrets['ini']}{end}{following}{end}"
    redact = TurnRedactor(Redactor({}))
    redact(write(text))
    encoded = "".join(base64.b64encode(each.encode()).decode() + "\n" for each in secrets.values())
    assert_no_leak(redact(f"{' '.join(secrets.values())}\n{encoded}"), secrets)


def test_a_redacted_text_stays_as_it_is() -> None:
    redactor = Redactor({"$ODD": VALUE})
    once = redactor(f"{VALUE} {KEYS['an AWS key']} password='{VALUE}1'")
    assert redactor(once) == once


def test_a_text_that_was_sent_before_is_redacted_anew_once_more_is_known() -> None:
    text, redactor = f"x = {VALUE} of the first cell", Redactor({})
    assert redactor(text) == text
    knows_more = redactor.with_secrets([VALUE])
    assert knows_more.redact(text, "cell 1") == (
        "x = [redacted: an assigned secret] of the first cell",
        (Redaction("an assigned secret", "cell 1"),),
    )
    assert knows_more.redact(text, "cell 2")[1] == (Redaction("an assigned secret", "cell 2"),)
    assert redactor(text) == text


def test_a_redactor_that_removes_all_that_another_does_is_ready_for_both() -> None:
    """Each question merges what is known by then: with many values, making that anew takes longer than asking."""
    few = Redactor({"TOKEN": "the-first-secret-value"})
    many = few.with_secrets(["the-second-secret-value"])
    assert few.merged_with(many) is many
    assert many.merged_with(few) is many
    other = Redactor({"KEY": "the-third-secret-value"})
    assert many.merged_with(other)("the-first-secret-value the-third-secret-value") == (
        "[redacted: TOKEN] [redacted: KEY]"
    )


WRITTEN = {
    "settings": ("", "API_TOKEN_{}={}\n"),
    "a table": ("user,password\n", "{},{}\n"),
    "JSON": ("[", '{{"user": {}, "api_key": "{}"}}, '),
    "XML": ("<all>", "<id>{}</id><password>{}</password>"),
    "inserts": ("INSERT INTO users (id, password) VALUES ", "({}, '{}'), "),
    "keys": ("", "{} {}\n"),
}


@pytest.mark.parametrize("kind", WRITTEN)
@pytest.mark.parametrize("count", [490, 510, 3_000])
def test_what_follows_the_first_500_secrets_of_a_text_is_left_out(kind: str, count: int) -> None:
    before, line = WRITTEN[kind]
    form = "ghp_{:010}A1b2C3d4E5f6G7h8I9j0K1" if kind == "keys" else "x{:010}Y1Zq9a"
    secrets = [form.format(number * 7_919) for number in range(count)]
    text = before + "".join(line.format(number, secret) for number, secret in enumerate(secrets))
    clean = Redactor({})(f"begin {secrets[-1]} {secrets[0]}\n{text}\nend")
    assert [secret for secret in secrets if secret in clean] == []
    assert clean.startswith("begin [redacted: ")
    is_whole = count < 500
    assert clean.endswith("\nend") == is_whole
    assert clean.endswith(f"[redacted: {THE_REST}]") != is_whole


@pytest.mark.parametrize("line", ["login('a', 'b1', ", 'password = ""\n', "{'password': 'ab'}, "])
@pytest.mark.parametrize("count", [MAX_NAMES - 500, MAX_NAMES + 50])
def test_what_follows_the_first_5_000_names_that_may_have_a_value_is_left_out(line: str, count: int) -> None:
    clean = Redactor({})(f"begin {line * count}\npassword = 'Tr0ub4dor&3'\nend")
    assert "Tr0ub4dor" not in clean
    assert clean.startswith(f"begin {line}")
    assert clean.endswith("\nend") == (count < MAX_NAMES)
    assert clean.endswith(f"[redacted: {THE_REST}]") == (count > MAX_NAMES)
