"""Files of a ``CODEX_HOME`` that point at the simulator: ``config.toml`` and ``auth.json``, as the CLI has them."""

from __future__ import annotations

import json
import os
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from codex_nb.simulator import jwt
from codex_nb.simulator.tokens import CLIENT_ID, TokenSet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Provider = Literal["custom", "builtin", "api"]


def config_text(base_url: str, provider: Provider, model: str | None = None) -> str:
    """A ``config.toml``: the built-in provider (needs TLS for the CLI), a custom one, or the API by key."""
    head = [f'model = "{model}"'] if model else []
    head.append('cli_auth_credentials_store = "file"')
    head.append(f'chatgpt_base_url = "{base_url}/backend-api/"')
    match provider:
        case "builtin":
            head.append(f'openai_base_url = "{base_url}/backend-api/codex"')
        case "api":
            head.append(f'openai_base_url = "{base_url}/v1"')
        case "custom":
            head += [
                'model_provider = "simulator"',
                "",
                "[model_providers.simulator]",
                'name = "Codex simulator"',
                f'base_url = "{base_url}/backend-api/codex"',
                'wire_api = "responses"',
                "requires_openai_auth = true",
            ]
    return "\n".join(head) + "\n"


def environment(base_url: str, ca_file: Path | None) -> dict[str, str]:
    """The variables that lead a Codex CLI, or codex_nb, to the simulator."""
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


def login_of(tokens: TokenSet, issuer: str, api_key: str | None, now: float) -> dict[str, Any]:
    """The contents of ``auth.json`` after a ChatGPT login, in the CLI's key order."""
    account_id = jwt.claims_of(tokens.id_token)["https://api.openai.com/auth"]["chatgpt_account_id"]
    moment = datetime.fromtimestamp(now, UTC)
    return {
        "auth_mode": "chatgpt",
        "OPENAI_API_KEY": api_key,
        "tokens": {
            "id_token": tokens.id_token,
            "access_token": tokens.access_token,
            "refresh_token": tokens.refresh_token,
            "oauth_provenance": {"issuer": issuer, "client_id": CLIENT_ID},
            "login_owner_id": secrets.token_urlsafe(32),
            "account_id": account_id,
        },
        "last_refresh": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}000Z",
    }


def write_private(path: Path, contents: Mapping[str, Any]) -> None:
    """Write JSON as the CLI does: two spaces, no final newline, 0600, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".auth-{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(contents, file, indent=2)
    fresh.replace(path)
