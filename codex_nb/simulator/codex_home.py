"""The files and variables of a client that uses the simulator: ``config.toml``, ``auth.json``, the environment.

``auth.json`` is written as the Codex CLI writes it: same key order, time format, indentation and permissions.
"""

from __future__ import annotations

import json
import os
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from codex_nb.simulator.credentials import CLIENT_ID

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from codex_nb.simulator.credentials import TokenSet


Provider = Literal["custom", "builtin", "api"]


def config_toml(base_url: str, provider: Provider, model: str | None = None) -> str:
    """A ``config.toml``: the built-in provider (with which the CLI requires TLS), a custom one, or the API by key."""
    lines = [f'model = "{model}"'] if model else []
    lines += ['cli_auth_credentials_store = "file"', f'chatgpt_base_url = "{base_url}/backend-api/"']
    match provider:
        case "builtin":
            lines.append(f'openai_base_url = "{base_url}/backend-api/codex"')
        case "api":
            lines.append(f'openai_base_url = "{base_url}/v1"')
        case "custom":
            lines += [
                'model_provider = "simulator"',
                "",
                "[model_providers.simulator]",
                'name = "Codex simulator"',
                f'base_url = "{base_url}/backend-api/codex"',
                'wire_api = "responses"',
                "requires_openai_auth = true",
            ]
    return "\n".join(lines) + "\n"


def environment(base_url: str, ca_file: Path | None) -> dict[str, str]:
    """The variables that point the Codex CLI, or codex_nb, at the simulator."""
    variables = {
        "CODEX_REFRESH_TOKEN_URL_OVERRIDE": f"{base_url}/oauth/token",
        "CODEX_REVOKE_TOKEN_URL_OVERRIDE": f"{base_url}/oauth/revoke",
        "CODEX_APP_SERVER_LOGIN_ISSUER": base_url,
        "CODEX_AUTHAPI_BASE_URL": f"{base_url}/api/accounts",
        "CODEX_AGENT_IDENTITY_AUTHAPI_BASE_URL": f"{base_url}/api/accounts",
        "CODEX_AGENT_IDENTITY_JWKS_BASE_URL": f"{base_url}/backend-api",
    }
    if ca_file is not None:
        variables["CODEX_CA_CERTIFICATE"] = str(ca_file)
    return variables


def write_chatgpt_login(codex_home: Path, tokens: TokenSet, issuer: str, now: float) -> None:
    """Write the ``auth.json`` of a ChatGPT login by device code."""
    moment = datetime.fromtimestamp(now, UTC)
    _write_auth_json(
        codex_home,
        {
            "auth_mode": "chatgpt",
            "OPENAI_API_KEY": None,
            "tokens": {
                "id_token": tokens.id_token,
                "access_token": tokens.access_token,
                "refresh_token": tokens.refresh_token,
                "oauth_provenance": {"issuer": issuer, "client_id": CLIENT_ID},
                "login_owner_id": secrets.token_urlsafe(32),
                "account_id": tokens.account.account_id,
            },
            "last_refresh": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}000Z",
        },
    )


def write_api_key_login(codex_home: Path, key: str) -> None:
    """Write the ``auth.json`` of a login by API key."""
    _write_auth_json(codex_home, {"auth_mode": "apikey", "OPENAI_API_KEY": key})


def _write_auth_json(codex_home: Path, contents: Mapping[str, Any]) -> None:
    """Replace ``auth.json`` atomically: two spaces of indentation, no final newline, mode 0600."""
    codex_home.mkdir(parents=True, exist_ok=True)
    temporary = codex_home / f".auth-{secrets.token_hex(3)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(contents, file, indent=2)
    temporary.replace(codex_home / "auth.json")
