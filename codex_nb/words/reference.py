"""The reference of the magics: what ``%codex?`` and ``%codex help`` show, option by option, command by command."""

from __future__ import annotations

HEAD = """Ask Codex about this notebook, or manage it.

    %%codex [options]        the question stands below, in as many lines as it needs
    %codex a question        a question in one line
    %codex subcommand        see below

In a question @name brings a variable whole, @cell:3 a cell with its outputs, @file:path a file.
The answer is bound to _codex, and to the name after -o.
Settings for the session: %config CodexMagics."""
OPTIONS_HEADING = "Options"
SUBCOMMANDS_HEADING = "Subcommands"

INTRODUCTION = "Write a question below `%%codex`, or on the line of `%codex`."
SUBCOMMANDS_TABLE = ("`%codex …`", "does")
OPTIONS_TABLE = ("`%%codex …`", "does")

# What %config CodexMagics tells of each setting.
SETTINGS = {
    "model": "The model to ask, None for config.toml's choice.",
    "effort": "How long the model thinks: low, medium, high, …",
    "approval": "When a tool call needs your word.",
    "profile": "The login or config profile to use.",
    "display": "How answers are shown.",
    "context_tokens": "How much of the notebook is sent at most, in tokens.",
    "openai_api_key": 'Whether OPENAI_API_KEY may pay: "use" or "ignore".',
    "token_provider": (
        "module:function of a host program that hands tokens in; it is asked again when they are refused."
    ),
    "insecure_providers": "Providers of config.toml, by id, whose API key may be sent over http.",
}
