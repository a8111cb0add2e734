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

SUBCOMMANDS = {
    "status": "who is signed in, the plan, the limits, where the login is kept",
    "login": "sign in: by device code; or `login browser`, `login api_key`, `login access_token`",
    "logout": "sign out: revoke and delete the stored login",
    "models": "the models of this account",
    "model": "show the model in use, or choose one for this session",
    "effort": "show the effort in use, or choose one for this session",
    "usage": "the limits of the plan and when they reset",
    "context": "exactly what the next question would send of this notebook",
    "thread": "show the thread in use, or go on with another one",
    "threads": "the threads that are kept",
    "new": "start a new thread",
    "last": "show the last answer again",
    "fix": "explain the last error and propose a corrected cell",
    "explain": "explain the last cell, or the code that follows",
    "config": "the settings in force",
    "help": "this list",
}

OPTIONS = {
    "--model": "the model, see %codex models",
    "--effort": "how long the model thinks",
    "--thread": "the thread to go on with, or a new name",
    "--output": "also bind the answer to this name",
    "--schema": "a type, such as City, list[City] or City | None, or a JSON schema; the answer's value fits it",
    "--image": "a figure's name or a file",
    "--no-context": "send nothing of the notebook",
    "--no-tools": "offer the model no tools",
    "--approval": "when a tool call needs your word",
    "--profile": "another login or config profile",
    "--fresh": "ask again although the answer is stored",
    "--background": "return at once; the answer goes on below",
}

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
