"""Files of a ``CODEX_HOME`` that point at the simulator: ``config.toml`` and ``auth.json``, as the CLI writes them."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from codex_nb.simulator.tokens import CLIENT_ID

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from codex_nb.simulator.tokens import TokenSet


Provider = Literal["custom", "builtin", "api"]


@dataclass(frozen=True)
class Home:
    """A CODEX_HOME folder."""

    folder: Path

    @staticmethod
    def config(base_url: str, provider: Provider, model: str | None = None) -> str:
        """A ``config.toml``: the built-in provider (the CLI then demands TLS), a custom one, or the API by key."""
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

    @staticmethod
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

    def write_login(self, tokens: TokenSet, issuer: str, now: float) -> None:
        """Write what a ChatGPT login by device code leaves behind, in the CLI's key order and time format."""
        moment = datetime.fromtimestamp(now, UTC)
        self._write_auth(
            {
                "auth_mode": "chatgpt",
                "OPENAI_API_KEY": None,
                "tokens": {
                    "id_token": tokens.id_token,
                    "access_token": tokens.access_token,
                    "refresh_token": tokens.refresh_token,
                    "oauth_provenance": {"issuer": issuer, "client_id": CLIENT_ID},
                    "login_owner_id": secrets.token_urlsafe(32),
                    "account_id": tokens.person.account_id,
                },
                "last_refresh": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}000Z",
            }
        )

    def write_api_key(self, key: str) -> None:
        """Write what a login by API key leaves behind."""
        self._write_auth({"auth_mode": "apikey", "OPENAI_API_KEY": key})

    def _write_auth(self, contents: Mapping[str, Any]) -> None:
        """Write JSON as the CLI does: two spaces, no final newline, 0600, in one step."""
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self.folder / f".auth-{secrets.token_hex(3)}"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(contents, file, indent=2)
        fresh.replace(self.folder / "auth.json")
