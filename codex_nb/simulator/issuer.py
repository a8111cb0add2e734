"""The OAuth issuer's endpoints and pages: device codes, browser login, tokens, revocation, agent identities.

The endpoints follow the Codex CLI's login: its device-code endpoints answer 403 while an authorization is pending and
404 for an unknown one; its token endpoint accepts forms and JSON.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from codex_nb.simulator import error_replies
from codex_nb.simulator.credentials import CLIENT_ID, RefreshError
from codex_nb.simulator.handlers import LOOPBACK_NAMES, Handler

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codex_nb.simulator.accounts import Account
    from codex_nb.simulator.credentials import TokenSet
    from codex_nb.simulator.state import State


# Pages

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · Codex simulator</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }}
body {{ max-width: 28rem; margin: 10vh auto; padding: 0 1rem; }}
input, select, button {{ font: inherit; padding: .5rem .75rem; margin: .25rem 0 1rem; width: 100%; }}
* {{ box-sizing: border-box; }}
input {{ text-transform: uppercase; letter-spacing: .15em; }}
small {{ opacity: .7; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{content}
<p><small>This is the codex_nb simulator on this machine. No real account is used.</small></p>
</main>
</body>
</html>
"""


def _page(title: str, content: str) -> str:
    """A page; ``content`` is HTML."""
    return _PAGE.format(title=escape(title), content=content)


def _message_page(title: str, text: str) -> str:
    return _page(title, f'<p role="status">{escape(text)}</p>')


def _device_page(user_code: str, accounts: Sequence[Account], error: str = "") -> str:
    """The page on which a user approves a device code."""
    alert = f'<p role="alert">{escape(error)}</p>' if error else ""
    return _page(
        "Sign in to Codex on a device",
        f"""{alert}<form method="post" action="/codex/device">
<label for="user_code">Code shown on the device</label>
<input id="user_code" name="user_code" value="{escape(user_code)}" autocomplete="off" required>
{_account_select(accounts)}
<button id="confirm" name="decision" value="confirm">Confirm</button>
<button id="deny" name="decision" value="deny">Deny</button>
</form>""",
    )


def _authorize_page(fields: Mapping[str, str], accounts: Sequence[Account]) -> str:
    """The page on which a user signs in to a client."""
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">\n'
        for name, value in fields.items()
    )
    return _page(
        "Sign in to Codex",
        f"""<form method="post" action="/oauth/authorize">
{hidden}{_account_select(accounts)}
<button id="confirm" name="decision" value="confirm">Continue</button>
<button id="deny" name="decision" value="deny">Cancel</button>
</form>""",
    )


def _account_select(accounts: Sequence[Account]) -> str:
    options = "".join(
        f'<option value="{escape(account.email)}">{escape(account.email)} ({escape(account.plan)})</option>'
        for account in accounts
    )
    return f'<label for="email">Sign in as</label>\n<select id="email" name="email">{options}</select>'


# Device codes


class DeviceUserCodeHandler(Handler):
    """``POST /api/accounts/deviceauth/usercode``: a client requests a device code."""

    def post(self) -> None:
        """Issue a code; the interval is a string, as the CLI requires."""
        code = self.state.devices.new(str(self.json_body.get("client_id", CLIENT_ID)))
        self.write_json(
            {
                "device_auth_id": code.device_auth_id,
                "user_code": code.user_code,
                "interval": str(self.state.poll_interval_s),
            }
        )


class DeviceTokenHandler(Handler):
    """``POST /api/accounts/deviceauth/token``: a client polls for the user's decision."""

    def post(self) -> None:
        """Respond with 403 while the code is pending, with 404 when it is unknown or expired."""
        body = self.json_body
        code = self.state.devices.poll(body.get("device_auth_id"), body.get("user_code"))
        if code is None:
            message = "Device authorization is unknown or has expired. Please start again."
            self.write_json(error_replies.error_body(message, "deviceauth_unknown"), 404)
        elif code.denied:
            message = "The sign-in was denied."
            self.write_json(error_replies.error_body(message, "access_denied"), 400)
        elif code.account is None:
            message = "Device authorization is pending."
            self.write_json(error_replies.error_body(message, "deviceauth_authorization_pending"), 403)
        else:
            self.write_json(self.state.devices.redeem(code, f"{self.state.issuer}/deviceauth/callback"))


class DevicePageHandler(Handler):
    """``/codex/device``: a user approves or denies a device code."""

    def get(self) -> None:
        """Show the form."""
        code = self.get_query_argument("user_code", "")
        self.finish(_device_page(code, self.state.accounts))

    def post(self) -> None:
        """Record the decision."""
        fields = self.json_body
        code = str(fields.get("user_code", "")).strip()
        approved = fields.get("decision", "confirm") == "confirm"
        account = self.state.account(fields.get("email")) if approved else None
        if not self.state.devices.decide(code, account):
            self.set_status(400)
            self.finish(_device_page(code, self.state.accounts, "This code is not valid or has expired."))
        elif approved:
            self.finish(_message_page("Signed in", "You can close this page and return to your device."))
        else:
            self.finish(_message_page("Sign-in denied", "The device is not signed in."))


# Browser login


def authorization_redirect(state: State, fields: Mapping[str, str], account: Account | None) -> str:
    """The URL to which the browser is redirected once the user has signed in or cancelled (None)."""
    answer = {"state": fields.get("state", "")}
    if account is None:
        answer |= {"error": "access_denied", "error_description": "The sign-in was cancelled."}
    else:
        answer["code"] = state.tokens.new_code(
            account, fields["code_challenge"], fields["redirect_uri"], fields["client_id"]
        )
    return f"{fields['redirect_uri']}?{urlencode(answer)}"


class AuthorizeHandler(Handler):
    """``/oauth/authorize``: a user signs in in the browser."""

    def get(self) -> None:
        """Show the form for a valid request."""
        fields = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        if self._is_valid(fields):
            self.finish(_authorize_page(fields, self.state.accounts))

    def post(self) -> None:
        """Redirect the browser to the client."""
        fields = {name: str(value) for name, value in self.json_body.items()}
        approved = fields.get("decision") == "confirm"
        account = self.state.account(fields.get("email")) if approved else None
        if self._is_valid(fields):
            self.redirect(authorization_redirect(self.state, fields, account))

    def _is_valid(self, fields: Mapping[str, str]) -> bool:
        """Whether the request is valid; otherwise the response says why not."""
        error = _authorization_error(fields)
        if error is not None:
            self.set_status(400)
            self.finish(_message_page("Invalid sign-in request", error))
        return error is None


def _authorization_error(fields: Mapping[str, str]) -> str | None:
    required = {"response_type": "code", "code_challenge_method": "S256"}
    for name, value in required.items():
        if fields.get(name) != value:
            return f"{name} must be {value}."
    missing = [
        name for name in ("client_id", "redirect_uri", "code_challenge", "state") if not fields.get(name)
    ]
    if missing:
        return f"{missing[0]} is missing."
    if urlsplit(fields["redirect_uri"]).hostname not in LOOPBACK_NAMES:
        return "redirect_uri must be a loopback address."
    return None


# Tokens

_ID_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 - the name of a type
_TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - the name of a grant


class TokenHandler(Handler):
    """``POST /oauth/token``: exchanges authorization codes, refresh tokens and ID tokens (RFC 8693)."""

    async def post(self) -> None:
        """Respond to the grant type of a form or JSON body."""
        match self.json_body.get("grant_type"):
            case "authorization_code":
                self._redeem_code()
            case "refresh_token":
                await self._refresh()
            case grant if grant == _TOKEN_EXCHANGE:
                self._exchange_id_token()
            case _:
                self.write_json({"error": "unsupported_grant_type"}, 400)

    def _redeem_code(self) -> None:
        body = self.json_body
        tokens = self.state.tokens.redeem_code(
            str(body.get("code")), str(body.get("code_verifier")), str(body.get("redirect_uri"))
        )
        if tokens is None:
            description = "The authorization code is not valid."
            self.write_json({"error": "invalid_grant", "error_description": description}, 400)
        else:
            self.write_json(self._token_response(tokens))

    async def _refresh(self) -> None:
        try:
            tokens = self.state.tokens.refresh(str(self.json_body.get("refresh_token")))
        except RefreshError as error:
            await self.send_reply(error_replies.refresh_rejected(error.code))
        else:
            self.write_json(self._token_response(tokens))

    def _exchange_id_token(self) -> None:
        body = self.json_body
        account = self.state.tokens.check_id_token(str(body.get("subject_token")))
        kinds = (body.get("requested_token"), body.get("subject_token_type"))
        if account is None or kinds != ("openai-api-key", _ID_TOKEN_TYPE):
            self.write_json({"error": "invalid_request"}, 400)
        else:
            self.write_json({"access_token": self.state.tokens.new_api_key(account)})

    def _token_response(self, tokens: TokenSet) -> dict[str, Any]:
        return {
            "access_token": tokens.access_token,
            "expires_in": int(self.state.tokens.access_lifetime_s),
            "id_token": tokens.id_token,
            "refresh_token": tokens.refresh_token,
            "scope": "openid profile email offline_access",
            "token_type": "Bearer",
        }


class RevokeHandler(Handler):
    """``POST /oauth/revoke``: revokes the login of a token."""

    def post(self) -> None:
        """Respond with 200 whether the token is known or not (RFC 7009, section 2.2)."""
        self.state.tokens.revoke(str(self.json_body.get("token")))
        self.write_json({})


class WhoAmIHandler(Handler):
    """``GET …/v1/user-auth-credential/whoami``: the account of a personal access token."""

    async def get(self) -> None:
        """Return the account."""
        account = self.state.tokens.check_personal_token(self.bearer)
        if account is None:
            await self.send_reply(error_replies.unauthorized("unknown"))
            return
        self.write_json(
            {
                "email": account.email,
                "chatgpt_user_id": account.user_id,
                "chatgpt_account_id": account.account_id,
                "chatgpt_plan_type": account.plan,
                "chatgpt_account_is_fedramp": account.is_fedramp,
            }
        )


# Agent identities


class AgentJwksHandler(Handler):
    """``GET /wham/agent-identities/jwks``: the key that verifies agent identities."""

    def get(self) -> None:
        """Return the public key."""
        self.write_json(self.state.agents.jwks())


class AgentTaskHandler(Handler):
    """``POST …/v1/agent/{id}/task/register``: an agent registers a task."""

    async def post(self, runtime_id: str) -> None:
        """Return a task id for a registration that the agent has signed."""
        task_id = self.state.agents.register_task(runtime_id, self.json_body)
        if task_id is None:
            await self.send_reply(error_replies.unauthorized("unknown"))
        else:
            self.write_json({"task_id": task_id})
