"""What is looked up of an account before its login is used: the backend of its workspace, and who it is.

Agent identities and personal access tokens are credentials that are resolved before they can sign.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Secret, SecretStr

from codex_nb.auth.credentials import (
    AgentIdentity,
    AuthMode,
    Credentials,
    decode_base64url,
    expiry_of,
    fingerprint,
    format_seconds,
    jwt_part,
    read_account,
)
from codex_nb.config.settings import API_BASE_URL, account_url
from codex_nb.errors import ApiError, BackendOverloaded, RefreshFailed, SignInRequired
from codex_nb.http import Route, httpx, is_loopback, is_secure, request_json
from codex_nb.parse import is_printable_ascii

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from codex_nb.auth.credentials import AuthFile, Clock
    from codex_nb.auth.store import Sleep
    from codex_nb.config.settings import Settings
    from codex_nb.http import JsonResponse


NO_CONSTRAINT = "NO_CONSTRAINT"
TIMEOUT_S = 15.0
RETRY_PAUSES_S = (0.3, 1.2)
OPENAI_DOMAINS = frozenset({"chatgpt.com", "openai.com"})


class WorkspaceRouting:
    """Looks up routes and caches them by account and base URL."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        settings: Settings,
        auth: Callable[[], httpx.Auth],
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._http = http
        self._settings = settings
        self._auth = auth
        self._sleep = sleep
        self._routes: dict[tuple[str, str], Route] = {}

    async def route(self, credentials: Credentials) -> Route:
        """Return the account's route. Raises ApiError when the lookup fails, and like signing."""
        provider, own = self._settings.provider, f"{self._settings.chatgpt_base_url}/codex"
        is_elsewhere = not provider.is_built_in or provider.base_url not in {None, own}
        if not credentials.is_chatgpt_backend or is_elsewhere:  # an address that the user has set is not left
            return Route()
        key = (credentials.identity_key, self._settings.chatgpt_base_url)
        if key not in self._routes:
            found = await self._check()
            self._routes[key] = _read_route(found, credentials.account.account_id, key[1])
        return self._routes[key]

    async def _check(self) -> dict[str, Any]:
        for pause in RETRY_PAUSES_S:
            try:
                return await self._ask()
            except BackendOverloaded:
                await self._sleep(pause)
        return await self._ask()

    async def _ask(self) -> dict[str, Any]:
        url = account_url(self._settings.chatgpt_base_url, "accounts/check")
        reply = await request_json(self._http, "GET", url, auth=self._auth(), timeout_s=TIMEOUT_S)
        if reply.problem is not None:
            raise BackendOverloaded(
                f"The workspace's backend could not be looked up: {reply.problem}.",
                hint="Check the network, then run the cell again.",
            )
        if reply.is_ok and isinstance(reply.value, dict):
            return reply.fields
        kind = BackendOverloaded if reply.status >= 500 else ApiError  # noqa: PLR2004  (HTTP: their fault)
        raise kind(
            f"The workspace's backend could not be looked up (status {reply.status}).",
            hint="Run the cell again in a moment.",
            status=reply.status,
            request_id=reply.headers.get("x-request-id"),
        )


def _read_route(value: dict[str, Any], account_id: str | None, base_url: str) -> Route:
    accounts = value.get("accounts")
    found = [one for one in accounts if isinstance(one, dict)] if isinstance(accounts, list) else []
    wanted = account_id or value.get("default_account_id")
    account = next((one for one in found if one.get("id") == wanted), None)
    if account is None:
        raise ApiError("This login has no access to the selected workspace.", hint="See %codex status.")
    origin = account.get("workspace_backend_origin")
    override = account.get("account_routing_override")
    return Route(
        origin=None if origin in (None, NO_CONSTRAINT) else _checked_origin(origin, base_url),
        override=None if override in (None, NO_CONSTRAINT) else _checked_override(override),
    )


def _checked_origin(origin: object, base_url: str) -> str:
    try:
        url = httpx.URL(origin if isinstance(origin, str) else "")
    except (httpx.InvalidURL, UnicodeError):
        url = httpx.URL("")
    if not is_secure(str(url)) or url.path != "/" or url.query or url.fragment:
        raise _unacceptable("The workspace's backend is not an https origin; nothing was sent there.")
    if not _is_related(url.host, httpx.URL(base_url).host):
        raise _unacceptable(
            f"The workspace's backend is at {url.host}, which does not belong to {base_url}. Nothing was sent there."
        )
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def _is_related(host: str, base_host: str) -> bool:
    """Whether a host lies in the domain that the base URL names, or both are this machine; OpenAI has two domains."""
    if is_loopback(host) or is_loopback(base_host):
        return is_loopback(host) and is_loopback(base_host)
    domains = {base_host}
    if any(_is_below(base_host, domain) for domain in OPENAI_DOMAINS):
        domains |= OPENAI_DOMAINS
    return any(_is_below(host, domain) for domain in domains)


def _is_below(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def _checked_override(override: object) -> str:
    if not isinstance(override, str) or not override or not is_printable_ascii(override):
        raise _unacceptable("The workspace's routing override is invalid; nothing was sent.")
    return override


def _unacceptable(message: str) -> ApiError:
    return ApiError(message, hint="Ask the administrator of the workspace.")


ISSUER = "https://chatgpt.com/codex-backend/agent-identity"
AUDIENCE = "codex-app-server"
PRIVATE_KEY = "agent_private_key"
JWKS_TIMEOUT_S = 10.0
REGISTER_TIMEOUT_S = 30.0
WHOAMI_TIMEOUT_S = 20.0


def _ensure_packages() -> None:
    try:
        import cryptography  # noqa: F401  (only to see that the optional package is there)
        import nacl  # noqa: F401  (as above)
    except ImportError as error:
        raise SignInRequired(
            "This login is an agent identity, which requires additional packages.",
            hint="Install it with: pip install 'codex-nb[agent-identity]'",
        ) from error


def _invalid(found: Credentials, why: str) -> SignInRequired:
    return SignInRequired(f"The agent identity from {found.source} cannot be used: {why}.")


NO_KEYS = "The agent identity cannot sign requests: its keys could not be fetched"
NO_TASK = "The agent identity cannot sign requests: its task could not be registered"


def _object_of(reply: JsonResponse, what: str) -> dict[str, Any]:
    """Return the object in a reply; raises RefreshFailed, which says what is not possible without it."""
    problem = reply.problem
    if problem is None and not 200 <= reply.status < 300:  # noqa: PLR2004  (HTTP)
        problem = f"the service returned status {reply.status}"
    if problem is None and isinstance(reply.value, dict):
        return reply.fields
    raise _unreachable(what, problem or "the response is invalid")


def _unreachable(what: str, why: str) -> RefreshFailed:
    return RefreshFailed(f"{what}: {why}.", reason="unreachable")


def _claims_or_token(
    record: SecretStr | Secret[Any] | None,
) -> tuple[Secret[dict[str, Any]] | None, SecretStr | None]:
    """Return the claims of a JSON record, or a JWT. Raises nothing: a traceback shows the local variables."""
    value = None if record is None else record.get_secret_value()
    if isinstance(value, dict):
        return Secret(value), None
    is_token = isinstance(value, str) and value.count(".") == 2  # noqa: PLR2004  (RFC 7519: header, payload, signature)
    return None, SecretStr(str(value)) if is_token else None


class CredentialResolver:
    """Looks up the account of credentials that do not name it; each is looked up once per process.

    An agent identity is checked, and its task registered.
    """

    def __init__(self, http: httpx.AsyncClient, settings: Settings, *, clock: Clock) -> None:
        self._http = http
        self._settings = settings
        self._clock = clock
        self._known: dict[str, Credentials] = {}

    async def complete(self, found: Credentials, document: AuthFile | None = None) -> Credentials:
        """Return the credentials with their account; most modes need no request for it."""
        match found.mode:
            case AuthMode.PERSONAL_ACCESS_TOKEN if found.bearer is not None:
                key = fingerprint(found.bearer)
                if key not in self._known:
                    self._known[key] = await self._with_account(found, found.bearer)
            case AuthMode.AGENT_IDENTITY:
                record = found.bearer if document is None else document.agent_identity
                key = fingerprint(record)
                if key not in self._known:
                    self._known[key] = await self._register(found, record)
            case _:
                return found
        return replace(self._known[key], source=found.source)

    async def accepts(self, key: SecretStr) -> bool | None:
        """Whether OpenAI's API knows a key; None where it did not say. Lists the models, which costs nothing.

        What another provider answers says nothing about the key: it is taken as it is.
        """
        provider = self._settings.provider
        if not provider.is_built_in:
            return True
        reply = await request_json(
            self._http,
            "GET",
            f"{provider.base_url or API_BASE_URL}/models",
            timeout_s=WHOAMI_TIMEOUT_S,
            headers={**provider.http_headers, "authorization": SecretStr(f"Bearer {key.get_secret_value()}")},
            params=provider.query_params,
        )
        if reply.status == httpx.codes.UNAUTHORIZED:
            return False
        # a restricted key need not be allowed to list models
        return True if reply.is_ok or reply.status == httpx.codes.FORBIDDEN else None

    def forget(self, rejected: Credentials) -> None:
        """Look these credentials up anew the next time: the service knows them no more."""
        self._known = {key: found for key, found in self._known.items() if not found.same_bearer(rejected)}

    async def _register(self, found: Credentials, record: SecretStr | Secret[Any] | None) -> Credentials:
        """Return the credentials with their account and a registered task that signs.

        Raises SignInRequired or RefreshFailed.
        """
        _ensure_packages()
        claims = await self._claims(record)
        public = {name: value for name, value in claims.get_secret_value().items() if name != PRIVATE_KEY}
        runtime_id, expires_at = public.get("agent_runtime_id"), expiry_of(public.get("exp"))
        has_key = isinstance(claims.get_secret_value().get(PRIVATE_KEY), str)
        if not (isinstance(runtime_id, str) and runtime_id.isascii() and has_key):
            raise _invalid(found, "its id or key is missing")
        if expires_at is not None and expires_at <= self._clock():
            raise _invalid(found, "it has expired")
        key = read_key(claims)
        if key is None:
            raise _invalid(found, "its key is not an Ed25519 key")
        names = {"chatgpt_account_id": public.get("account_id"), "chatgpt_plan_type": public.get("plan_type")}
        account = read_account({**public, **names})
        identity = AgentIdentity(runtime_id, await self._task_id(runtime_id, key), key.sign, self._clock)
        return replace(found, account=account, bearer=None, expires_at=expires_at, agent=identity)

    async def _claims(self, record: SecretStr | Secret[Any] | None) -> Secret[dict[str, Any]]:
        claims, token = _claims_or_token(record)
        if claims is not None:
            return claims
        if token is None:
            raise SignInRequired("The agent identity is neither a JSON record nor a JWT.")
        verified = verify(token, await self._jwks())
        if isinstance(verified, str):
            raise SignInRequired(f"The agent identity is not valid: {verified}.")
        return verified

    async def _jwks(self) -> list[dict[str, Any]]:
        base = self._settings.agent_jwks_base_url or self._settings.chatgpt_base_url
        url = f"{base.rstrip('/')}/wham/agent-identities/jwks"
        reply = await request_json(self._http, "GET", url, timeout_s=JWKS_TIMEOUT_S)
        keys = _object_of(reply, NO_KEYS).get("keys")
        if not isinstance(keys, list):
            raise _unreachable(NO_KEYS, "the response contains no keys")
        return [key for key in keys if isinstance(key, dict)]

    async def _task_id(self, runtime_id: str, key: AgentKey) -> str:
        timestamp = format_seconds(self._clock())
        signature = base64.b64encode(key.sign(f"{runtime_id}:{timestamp}".encode())).decode("ascii")
        url = f"{self._authapi()}/v1/agent/{runtime_id}/task/register"
        body = {"timestamp": timestamp, "signature": signature}
        reply = await request_json(self._http, "POST", url, timeout_s=REGISTER_TIMEOUT_S, json=body)
        found = _object_of(reply, NO_TASK)
        for name in ("task_id", "taskId"):
            if isinstance(found.get(name), str) and found[name]:
                return str(found[name])
        for name in ("encrypted_task_id", "encryptedTaskId"):
            opened = key.unseal(found[name]) if isinstance(found.get(name), str) else None
            if opened:
                return opened
        raise _unreachable(NO_TASK, "the response contains no task id")

    def _authapi(self) -> str:
        base = self._settings.chatgpt_base_url.rstrip("/")
        if self._settings.agent_authapi_base_url:
            return self._settings.agent_authapi_base_url.rstrip("/")
        if is_secure(base) and is_loopback(httpx.URL(base).host):
            return base
        return self._settings.authapi_base_url.rstrip("/")

    async def _with_account(self, found: Credentials, token: SecretStr) -> Credentials:
        url = f"{self._settings.authapi_base_url.rstrip('/')}/v1/user-auth-credential/whoami"
        headers = {"authorization": SecretStr(f"Bearer {token.get_secret_value()}")}
        reply = await request_json(self._http, "GET", url, timeout_s=WHOAMI_TIMEOUT_S, headers=headers)
        if reply.status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise SignInRequired(f"The personal access token from {found.source} is no longer valid.")
        fields = _object_of(reply, "The personal access token could not be verified")
        return replace(found, account=read_account(fields))


# What follows needs the extra "agent"; cryptography and nacl are imported by the first use.


class AgentKey:
    """An agent's Ed25519 key: signs messages and decrypts what was sealed for it."""

    def __init__(self, seed: bytes) -> None:
        from nacl.signing import SigningKey

        self._key = SigningKey(seed)

    def sign(self, message: bytes) -> bytes:
        """Sign the message."""
        return bytes(self._key.sign(message).signature)

    def unseal(self, sealed: str) -> str | None:
        """Decrypt a libsodium sealed box (base64) with the X25519 key of the same seed; None when that fails."""
        from nacl.exceptions import CryptoError
        from nacl.public import SealedBox

        box = SealedBox(self._key.to_curve25519_private_key())
        try:
            return bytes(box.decrypt(base64.b64decode(sealed, validate=True))).decode("utf-8", "replace")
        except (ValueError, binascii.Error, CryptoError):
            return None


def read_key(claims: Secret[dict[str, Any]]) -> AgentKey | None:
    """Read an agent's key, base64 of PKCS#8; None when it is no Ed25519 key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    try:
        key = load_der_private_key(base64.b64decode(claims.get_secret_value()[PRIVATE_KEY]), password=None)
    except (ValueError, TypeError):
        return None
    return AgentKey(key.private_bytes_raw()) if isinstance(key, Ed25519PrivateKey) else None


def verify(token: SecretStr, keys: Sequence[dict[str, Any]]) -> Secret[dict[str, Any]] | str:
    """Check a JWT's signature, issuer and audience and return its claims, or what is wrong with it."""
    header, payload = jwt_part(token, 0), jwt_part(token, 1)
    key = next((key for key in keys if key.get("kid") == header.get("kid")), None)
    if header.get("alg") != "RS256":
        return "it is not signed with RS256"
    if key is None:
        return "it is signed with an unknown key"
    if not _is_signed(token, key):
        return "its signature is invalid"
    if payload.get("iss") != ISSUER:
        return "it was issued by another service"
    audience = payload.get("aud")
    if AUDIENCE not in (audience if isinstance(audience, list) else [audience]):
        return "it is intended for another service"
    return Secret(payload)


def _is_signed(token: SecretStr, key: dict[str, Any]) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
    from cryptography.hazmat.primitives.hashes import SHA256

    signed, _, signature = token.get_secret_value().rpartition(".")
    try:
        numbers = [int.from_bytes(decode_base64url(key[name])) for name in ("e", "n")]
        public_key = RSAPublicNumbers(*numbers).public_key()
        public_key.verify(decode_base64url(signature), signed.encode("ascii"), PKCS1v15(), SHA256())
    except (InvalidSignature, KeyError, TypeError, ValueError):
        return False
    return True
