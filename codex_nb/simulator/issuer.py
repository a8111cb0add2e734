"""The OAuth issuer: device codes, browser login, token endpoint, revocation, personal access tokens, agent tasks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from codex_nb.simulator import scenario as refusals
from codex_nb.simulator.handlers import Handler
from codex_nb.simulator.tokens import CLIENT_ID, RefreshRefusedError, TokenSet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codex_nb.simulator.accounts import Person
    from codex_nb.simulator.state import World


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
<p><small>This is the codex_nb simulator on this machine. No real account is involved.</small></p>
</main>
</body>
</html>
"""


def page(title: str, content: str) -> str:
    """A whole page; ``content`` is HTML."""
    return _PAGE.format(title=escape(title), content=content)


def message_page(title: str, text: str) -> str:
    """A page that only says something."""
    return page(title, f'<p role="status">{escape(text)}</p>')


def device_page(user_code: str, people: Sequence[Person], problem: str = "") -> str:
    """The page where a person confirms a device code."""
    alert = f'<p role="alert">{escape(problem)}</p>' if problem else ""
    return page(
        "Sign in to Codex on a device",
        f"""{alert}<form method="post" action="/codex/device">
<label for="user_code">The code that the device shows</label>
<input id="user_code" name="user_code" value="{escape(user_code)}" autocomplete="off" required>
{_people(people)}
<button id="confirm" name="decision" value="confirm">Confirm</button>
<button id="deny" name="decision" value="deny">Deny</button>
</form>""",
    )


def authorize_page(fields: Mapping[str, str], people: Sequence[Person]) -> str:
    """The page where a person lets a client in."""
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">\n'
        for name, value in fields.items()
    )
    return page(
        "Sign in to Codex",
        f"""<form method="post" action="/oauth/authorize">
{hidden}{_people(people)}
<button id="confirm" name="decision" value="confirm">Continue</button>
<button id="deny" name="decision" value="deny">Cancel</button>
</form>""",
    )


def _people(people: Sequence[Person]) -> str:
    options = "".join(
        f'<option value="{escape(person.email)}">{escape(person.email)} ({escape(person.plan)})</option>'
        for person in people
    )
    return f'<label for="email">Sign in as</label>\n<select id="email" name="email">{options}</select>'


_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_ID_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 - the name of a type
_TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - the name of a grant


class DeviceUserCode(Handler):
    """``POST /api/accounts/deviceauth/usercode``: a client asks for a code."""

    def post(self) -> None:
        """Give a code; the interval is a string, as the CLI demands."""
        code = self.world.devices.begin(str(self.json_body.get("client_id", CLIENT_ID)))
        self.write_json(
            {
                "device_auth_id": code.device_auth_id,
                "user_code": code.user_code,
                "interval": str(self.world.poll_interval_s),
            }
        )


class DeviceToken(Handler):
    """``POST /api/accounts/deviceauth/token``: a client asks whether the person has confirmed."""

    def post(self) -> None:
        """Answer 403 while nobody has decided, 404 for what is unknown or too old."""
        body = self.json_body
        code = self.world.devices.poll(body.get("device_auth_id"), body.get("user_code"))
        if code is None:
            message = "Device authorization is unknown or has expired. Please start again."
            self.write_json(refusals.error_body(message, "deviceauth_unknown"), 404)
        elif code.denied:
            message = "The sign-in was denied."
            self.write_json(refusals.error_body(message, "access_denied"), 400)
        elif code.person is None:
            message = "Device authorization is pending."
            self.write_json(refusals.error_body(message, "deviceauth_authorization_pending"), 403)
        else:
            self.write_json(self.world.devices.collect(code, f"{self.world.issuer}/deviceauth/callback"))


class DevicePage(Handler):
    """``/codex/device``: a person confirms a code."""

    def get(self) -> None:
        """Show the form."""
        code = self.get_query_argument("user_code", "")
        self.finish(device_page(code, self.world.people))

    def post(self) -> None:
        """Confirm or deny."""
        code = self.get_body_argument("user_code", "")
        confirmed = self.get_body_argument("decision", "confirm") == "confirm"
        person = self.world.person(self.get_body_argument("email", None)) if confirmed else None
        if not self.world.devices.decide(code, person):
            self.set_status(400)
            self.finish(device_page(code, self.world.people, "This code is not known, or it is too old."))
        elif confirmed:
            self.finish(message_page("Signed in", "You may close this page and go back to your device."))
        else:
            self.finish(message_page("Denied", "The device was not let in."))


def authorization_answer(world: World, fields: Mapping[str, str], person: Person | None) -> str:
    """The address that the browser is sent to after the person's word (None: the person said no)."""
    answer = {"state": fields.get("state", "")}
    if person is None:
        answer |= {"error": "access_denied", "error_description": "The sign-in was cancelled."}
    else:
        answer["code"] = world.tokens.new_code(
            person, fields["code_challenge"], fields["redirect_uri"], fields["client_id"]
        )
    return f"{fields['redirect_uri']}?{urlencode(answer)}"


class Authorize(Handler):
    """``/oauth/authorize``: a person lets a client in, in the browser."""

    def get(self) -> None:
        """Show the form when the request is a proper one."""
        fields = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        self._answer(fields, authorize_page(fields, self.world.people))

    def post(self) -> None:
        """Send the browser back to the client."""
        fields = {name: self.get_body_argument(name) for name in self.request.body_arguments}
        confirmed = fields.get("decision") == "confirm"
        person = self.world.person(fields.get("email")) if confirmed else None
        if self._answer(fields, None):
            self.redirect(authorization_answer(self.world, fields, person))

    def _answer(self, fields: Mapping[str, str], page: str | None) -> bool:
        problem = _problem_of(fields)
        if problem is not None:
            self.set_status(400)
            self.finish(message_page("Sign-in refused", problem))
        elif page is not None:
            self.finish(page)
        return problem is None


def _problem_of(fields: Mapping[str, str]) -> str | None:
    """What is wrong with an authorization request."""
    wanted = {"response_type": "code", "code_challenge_method": "S256"}
    for name, value in wanted.items():
        if fields.get(name) != value:
            return f"{name} must be {value}."
    missing = [
        name for name in ("client_id", "redirect_uri", "code_challenge", "state") if not fields.get(name)
    ]
    if missing:
        return f"{missing[0]} is missing."
    if urlsplit(fields["redirect_uri"]).hostname not in _LOOPBACK:
        return "redirect_uri must be on this machine."
    return None


class Token(Handler):
    """``POST /oauth/token``: codes, refresh tokens and ID tokens are exchanged."""

    async def post(self) -> None:
        """Answer by the grant type; form and JSON bodies are both read."""
        match self.json_body.get("grant_type"):
            case "authorization_code":
                self._redeem()
            case "refresh_token":
                await self._refresh()
            case grant if grant == _TOKEN_EXCHANGE:
                self._exchange()
            case _:
                self.write_json({"error": "unsupported_grant_type"}, 400)

    def _redeem(self) -> None:
        body = self.json_body
        tokens = self.world.tokens.redeem_code(
            str(body.get("code")), str(body.get("code_verifier")), str(body.get("redirect_uri"))
        )
        if tokens is None:
            description = "The authorization code is not valid."
            self.write_json({"error": "invalid_grant", "error_description": description}, 400)
        else:
            self.write_json(self._token_answer(tokens))

    async def _refresh(self) -> None:
        try:
            tokens = self.world.tokens.refresh(str(self.json_body.get("refresh_token")))
        except RefreshRefusedError as refused:
            await self.play(refusals.refresh_refused(refused.code))
        else:
            self.write_json(self._token_answer(tokens))

    def _exchange(self) -> None:
        body = self.json_body
        person = self.world.tokens.person_of_id_token(str(body.get("subject_token")))
        proper = body.get("requested_token") == "openai-api-key" and (
            body.get("subject_token_type") == _ID_TOKEN_TYPE
        )
        if person is None or not proper:
            self.write_json({"error": "invalid_request"}, 400)
        else:
            self.write_json({"access_token": self.world.tokens.new_api_key(person)})

    def _token_answer(self, tokens: TokenSet) -> dict[str, Any]:
        return {
            "access_token": tokens.access_token,
            "expires_in": int(self.world.tokens.access_lifetime_s),
            "id_token": tokens.id_token,
            "refresh_token": tokens.refresh_token,
            "scope": "openid profile email offline_access",
            "token_type": "Bearer",
        }


class Revoke(Handler):
    """``POST /oauth/revoke``: a login ends."""

    def post(self) -> None:
        """Answer 200 whether the token was known or not (RFC 7009, section 2.2)."""
        self.world.tokens.revoke(str(self.json_body.get("token")))
        self.write_json({})


class WhoAmI(Handler):
    """``GET …/v1/user-auth-credential/whoami``: whose personal access token it is."""

    async def get(self) -> None:
        """Name the person."""
        person = self.world.tokens.check_personal_token(self.bearer)
        if person is None:
            await self.play(refusals.unauthorized("unknown"))
            return
        self.write_json(
            {
                "email": person.email,
                "chatgpt_user_id": person.user_id,
                "chatgpt_account_id": person.account_id,
                "chatgpt_plan_type": person.plan,
                "chatgpt_account_is_fedramp": person.is_fedramp,
            }
        )


class AgentTask(Handler):
    """``POST …/v1/agent/{id}/task/register``: an agent begins a task."""

    async def post(self, runtime_id: str) -> None:
        """Give a task id for a registration that the agent has signed."""
        task_id = self.world.agents.register_task(runtime_id, self.json_body)
        if task_id is None:
            await self.play(refusals.unauthorized("unknown"))
        else:
            self.write_json({"task_id": task_id})
