"""What an MCP server may ask a user: nothing secret, however the field is called."""

from __future__ import annotations

from typing import Any

import pytest

from codex_nb.session.mcp import read_form

SECRET: dict[str, dict[str, Any]] = {
    "by its name": {"password": {"type": "string"}},
    "by its name in capitals": {"OPENAI_API_KEY": {"type": "string"}},
    "by its title": {"value": {"type": "string", "title": "API key"}},
    "by its title in camel case": {"value": {"type": "string", "title": "accessToken"}},
    "by its format": {"value": {"type": "string", "format": "password"}},
    "as one that is only written": {"value": {"type": "string", "writeOnly": True}},
    "by its description": {"value": {"type": "string", "description": "Your password"}},
    "by a description with a full stop": {"value": {"type": "string", "description": "The API key."}},
    "as one of several": {"user": {"type": "string"}, "answer": {"type": "string", "title": "Passphrase"}},
    **{
        f"as {title!a}": {"value": {"type": "string", "title": title}}
        for title in (
            *(
                "Password (required)",
                "* Password *",
                "[new] Password",
                "pass\u00adword",
                "API\u200b key",
                "p\u0430ssword",
            ),
            *(
                "\uff21\uff30\uff29 \uff4b\uff45\uff59",
                "パスワード",
                "[Password]",
                "Passw\u00f6rd",
                "PASSWORD…",
                "PIN",
                "PIN code",
                "One-time code",
                "2FA code",
                "CVV",
            ),
            *("Card number", "Verification code", "GitHub PAT"),
        )
    },
    "as a choice of one": {"value": {"type": "string", "title": "Password", "enum": [""]}},
}
ORDINARY: dict[str, dict[str, Any]] = {
    "a size": {"size": {"type": "string", "enum": ["small", "large"]}},
    "a text about passwords": {"who": {"type": "string", "description": "Whose password is to be reset?"}},
    "a limit": {"max_tokens": {"type": "integer", "title": "Max tokens", "description": "How many tokens?"}},
    "a table's key": {"column": {"type": "string", "title": "Join key"}},
    "a choice": {"kind": {"type": "string", "title": "Sign in with", "enum": ["password", "API key"]}},
    "a choice of what is none": {"a": {"type": "string", "oneOf": ["const", 3]}},
    "a pin": {"a": {"type": "string", "title": "Pin color", "description": "Of the map's pins"}},
    "a number": {"a": {"type": "string", "title": "House number"}},
    "a word in brackets": {"a": {"type": "string", "title": "Size (no password)"}},
    "odd titles": {"a": {"title": 3, "description": None, "format": []}},
}


@pytest.mark.parametrize("fields", SECRET.values(), ids=SECRET)
def test_a_form_that_asks_for_a_secret_is_not_shown(fields: dict[str, Any]) -> None:
    assert read_form("shop", {"message": "Go on.", "requestedSchema": {"properties": fields}}) is None


@pytest.mark.parametrize("message", ["Your password?", "Please enter your API key:", "Access token"])
def test_a_form_whose_message_asks_for_a_secret_is_not_shown(message: str) -> None:
    fields = {"answer": {"type": "string"}, "count": {"type": "integer"}}
    assert read_form("shop", {"message": message, "requestedSchema": {"properties": fields}}) is None
    del fields["answer"]
    assert read_form("shop", {"message": message, "requestedSchema": {"properties": fields}}) is not None


@pytest.mark.parametrize(
    "field", [{}, {"type": ["string", "null"]}, {"anyOf": [{"type": "string"}]}, {"type": 3}]
)
def test_a_message_that_asks_for_a_secret_is_not_shown_whatever_the_type_of_the_text(
    field: dict[str, Any],
) -> None:
    asked = {"message": "Your password?", "requestedSchema": {"properties": {"answer": field}}}
    assert read_form("shop", asked) is None


PAGES = {
    "https://example.com/sign-in?a=b": "https://example.com/sign-in?a=b",
    "http://localhost:8000/": "http://localhost:8000/",
    "https://ex\u0430mple.com/": "https://ex⟦U+0430⟧mple.com/",
    **dict.fromkeys(
        ("javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "vscode://x", "//a.example"), None
    ),
    **dict.fromkeys(("https://bank.example@evil.example/", "https://", "https://[", "", "sign in"), None),
}


@pytest.mark.parametrize("address", PAGES)
def test_of_a_page_only_an_address_of_the_web_is_shown(address: str) -> None:
    form = read_form("shop", {"mode": "url", "message": "Sign in.", "url": address})
    assert (None if form is None else form.questions.rpartition(" ")[2]) == PAGES[address]


@pytest.mark.parametrize("fields", ORDINARY.values(), ids=ORDINARY)
def test_any_other_form_is_shown(fields: dict[str, Any]) -> None:
    form = read_form("shop", {"message": "Go on.", "requestedSchema": {"properties": fields}})
    assert form is not None
    assert form.answers.keys() == fields.keys()
