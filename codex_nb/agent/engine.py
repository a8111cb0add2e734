"""The agent of one profile: its one ``codex app-server`` process, the login and home that it is given, and its threads.

The CLI's private home lies in a folder of mode 0700 below CODEX_HOME, lasts as long as the process and never holds a
login: tokens are handed in by messages, keys by the environment of the child alone. Only threads and images outlast it,
beside it.
"""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from codex_nb.agent.app_server import AppServer, AppServerEnded, RequestRefused, find_binary
from codex_nb.agent.items import read_limits
from codex_nb.auth.credentials import AuthMode
from codex_nb.config.layers import parse_toml, read_bytes
from codex_nb.config.settings import CONFIG_FILE
from codex_nb.errors import AccountChanged, AgentFailed, CodexError, RefreshFailed
from codex_nb.files import LockState, create_file, replace_file, try_lock
from codex_nb.labels import ApprovalPolicy, short_account
from codex_nb.parse import JsonObject, loads, parse_object, parse_objects
from codex_nb.rendering.sanitize import visible_line
from codex_nb.responses.request import choose_backend
from codex_nb.session.outbound import environment_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codex_nb.agent.app_server import CodexBinary
    from codex_nb.auth.credentials import Credentials
    from codex_nb.auth.manager import CredentialManager
    from codex_nb.config.settings import Settings
    from codex_nb.responses.events import RateLimits
    from codex_nb.responses.request import Outbound
    from codex_nb.session.prompt import TurnRequest
    from codex_nb.session.thread import Thread


HOMES = "home-"
LOCK = "in-use"
SESSIONS = "sessions"
IMAGES = "generated_images"
OUR_PROVIDER = "codex_nb"
PROVIDER_KEY = "CODEX_NB_PROVIDER_KEY"
# What applies of the user's own CODEX_HOME, where that is chosen. Rules do not: they allow commands unasked.
_OWN = ("AGENTS.md", "AGENTS.override.md", "skills", "plugins")
# Logins of all kinds; the child gets the one in use, in its own way.
_LOGINS = {"CODEX_API_KEY", "CODEX_ACCESS_TOKEN", "CODEX_AGENT_IDENTITY", "OPENAI_API_KEY", PROVIDER_KEY}


class AgentHome:
    """One private home, in use until :meth:`remove`."""

    def __init__(self, path: Path, lock: int, settings: Settings) -> None:
        self.path = path
        self._lock = lock
        self._settings = settings
        self._owner = os.getpid()
        atexit.register(self.remove)

    @classmethod
    def create(cls, folder: Path, settings: Settings, credentials: Credentials) -> AgentHome:
        """Make a home below a folder, after those that killed kernels left behind are removed; raises AgentFailed."""
        try:
            for name in (SESSIONS, IMAGES):
                (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            _remove_abandoned(folder)
            path = Path(mkdtemp(prefix=HOMES, dir=folder))
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
            try_lock(lock)
            home = cls(path, lock, settings)
            with suppress(OSError):  # where links are not allowed, these do not outlast the process there
                for name in (SESSIONS, IMAGES):
                    (path / name).symlink_to(folder / name, target_is_directory=True)
            home._write_config(credentials)
        except OSError as error:
            raise AgentFailed(
                f"The agent's folder {folder} cannot be used: {error.strerror or type(error).__name__}.",
                hint="Make it writable, or set CODEX_HOME to a folder that is.",
            ) from error
        return home

    def remove(self) -> None:
        """Delete the home; threads stay. A forked child deletes nothing."""
        if os.getpid() != self._owner:
            return
        atexit.unregister(self.remove)
        with suppress(OSError):
            os.close(self._lock)
        shutil.rmtree(self.path, ignore_errors=True)

    def environment(
        self, environ: Mapping[str, str], credentials: Credentials, binary: CodexBinary
    ) -> dict[str, str]:
        """Return the environment of the child: the kernel's without secrets, with the key of the login in use.

        Raises AgentFailed for a login that the CLI cannot be given.
        """
        secret = set[str]()
        if self._settings.agent_config != "own":
            secret = {name[1:] for name in environment_secrets(environ) if name.startswith("$")}
        child = {name: value for name, value in environ.items() if name not in secret | _LOGINS}
        child["CODEX_HOME"] = str(self.path)
        if binary.tools is not None:
            child["PATH"] = os.pathsep.join(filter(None, (str(binary.tools), child.get("PATH"))))
        bearer = credentials.bearer.get_secret_value() if credentials.bearer else None
        match credentials.mode:
            case AuthMode.API_KEY if bearer is not None:
                child[PROVIDER_KEY] = bearer
            case AuthMode.PERSONAL_ACCESS_TOKEN if bearer is not None:
                child["CODEX_ACCESS_TOKEN"] = bearer
            case AuthMode.AGENT_IDENTITY:
                raise AgentFailed(
                    "The Codex CLI cannot be given the agent identity that signs your requests.",
                    hint="Ask without --agent, or sign in with ChatGPT or an API key.",
                )
            case _:
                pass
        return child

    def _write_config(self, credentials: Credentials) -> None:
        own = self._settings.codex_home
        text = b""
        if self._settings.agent_config == "own":
            text = read_bytes(own / CONFIG_FILE) or b""
            for name in _OWN:
                if (own / name).exists():
                    (self.path / name).symlink_to(own / name)
        table = _provider_table(self._settings, credentials)
        create_file(self.path / CONFIG_FILE, text + table.encode())


def _remove_abandoned(folder: Path) -> None:
    for home in folder.glob(f"{HOMES}*"):
        with suppress(OSError):
            lock = os.open(home / LOCK, os.O_RDWR)
            is_abandoned = try_lock(lock) is LockState.TAKEN
            os.close(lock)
            if is_abandoned:
                shutil.rmtree(home, ignore_errors=True)


def _provider_id(settings: Settings, credentials: Credentials) -> str:
    """Return the provider that the CLI is told of: its own for ChatGPT, else a table of ours."""
    return "openai" if settings.provider.is_built_in and credentials.is_chatgpt_backend else OUR_PROVIDER


def _provider_table(settings: Settings, credentials: Credentials) -> str:
    """Return the table of the provider in use; JSON text of strings and numbers is TOML as well."""
    if _provider_id(settings, credentials) != OUR_PROVIDER:
        return ""
    backend = choose_backend(settings, is_chatgpt_auth=credentials.is_chatgpt_backend)
    table: JsonObject = {
        "name": backend.name,
        "base_url": backend.base_url,
        "wire_api": "responses",
        "requires_openai_auth": credentials.is_chatgpt_backend,
        "env_key": None if credentials.is_chatgpt_backend or credentials.bearer is None else PROVIDER_KEY,
        "request_max_retries": backend.request_max_retries,
        "stream_max_retries": backend.stream_max_retries,
    }
    lines = [f"\n[model_providers.{OUR_PROVIDER}]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in table.items() if value is not None]
    for key, values in (("http_headers", backend.headers), ("query_params", backend.query)):
        if values:
            lines.append(f"[model_providers.{OUR_PROVIDER}.{key}]")
            lines += [f"{json.dumps(name)} = {json.dumps(value)}" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def _command_overrides(settings: Settings) -> list[str]:
    """Return the CLI's options that win over every file: where the login is, what runs only when it is asked about."""
    values: JsonObject = {
        "cli_auth_credentials_store": "file",
        "chatgpt_base_url": f"{settings.chatgpt_base_url}/",
        "features.unified_exec_tty": False,  # a terminal takes input that nobody is asked about
        "features.multi_agent": False,  # what other agents do would be asked about without its context
        "features.view_image": False,  # reads any image unasked
        "features.goals": False,  # begin turns by themselves, after the cell
        "features.default_mode_request_user_input": True,
        "shell_environment_policy.ignore_default_excludes": False,  # commands see no keys
    }
    if settings.provider.is_built_in and settings.provider.base_url:
        values["openai_base_url"] = settings.provider.base_url
    if settings.agent_config == "own":
        for name, server in _own_servers(settings).items():
            if "default_tools_approval_mode" not in server:  # else the user's file decides it
                values[f"mcp_servers.{name}.default_tools_approval_mode"] = "prompt"
    else:
        values |= {
            "features.plugins": False,
            "features.apps": False,
            "project_doc_max_bytes": 0,
            "analytics.enabled": False,
        }
    return [part for key, value in values.items() for part in ("-c", f"{key}={json.dumps(value)}")]


def _own_servers(settings: Settings) -> dict[str, JsonObject]:
    """Return the tables of the MCP servers that the CLI has from the user's file."""
    content = read_bytes(settings.codex_home / CONFIG_FILE) or b""
    servers = parse_toml(content, str(settings.codex_home / CONFIG_FILE)).get("mcp_servers")
    return {name: table for name, table in parse_object(servers).items() if isinstance(table, dict)}


def servers_config(settings: Settings, request: TurnRequest) -> JsonObject:
    """Return the configuration of a thread that lets the CLI's own MCP servers be what a question allows.

    The tools of a server have the names that ``%codex tools`` shows: ``mcp__server__tool``. Under the policy ``all``,
    the CLI is told that they are approved, because it would refuse what it may not ask about.
    """
    if settings.agent_config != "own":
        return {}
    is_used = request.uses_servers and request.approval is not ApprovalPolicy.READ_ONLY
    # Plugins and apps bring servers along.
    config: JsonObject = {} if is_used else {"features.plugins": False, "features.apps": False}
    for name, table in _own_servers(settings).items():
        place, prefix = f"mcp_servers.{name}", f"mcp__{name}__"
        if not is_used or name in request.without:
            config[f"{place}.enabled"] = False
            continue
        if off := sorted(each.removeprefix(prefix) for each in request.without if each.startswith(prefix)):
            config[f"{place}.disabled_tools"] = [*(table.get("disabled_tools") or ()), *off]
        if request.approval is ApprovalPolicy.ALL:
            config[f"{place}.default_tools_approval_mode"] = "approve"
            for tool in table.get("tools") or ():
                config[f"{place}.tools.{tool}.approval_mode"] = "approve"
    return config


REFRESH_TIMEOUT_S = 9.0  # the CLI waits 10 s for a new token


@dataclass(frozen=True)
class WantedThread:
    """The thread that a turn needs at the CLI.

    ``thread`` is ours, ``new_items`` precede the question in it. ``options`` open it each time, with ``tools`` at its
    beginning; ``offers`` is the hash of what it offers the model, which stays as it is for the thread's life.
    ``may_make_images`` tells whether it may offer to make images, too.
    """

    thread: Thread
    new_items: tuple[Outbound, ...]
    options: JsonObject
    tools: list[JsonObject]
    offers: str
    may_make_images: bool


@dataclass(frozen=True)
class ThreadRecord:
    """The CLI's thread that continues one of ours.

    ``count`` items of ours, whose hash is ``digest``, are in it; ``offers`` is the hash of what it offers the model.
    """

    name: str
    thread: str
    count: int
    digest: str
    offers: str
    makes_images: bool = False

    @classmethod
    def read(cls, file: Path) -> ThreadRecord:
        """Read a record from its file; raises OSError, ValueError or TypeError."""
        return cls(**loads(file.read_bytes()))

    def continues(self, wanted: WantedThread) -> bool:
        """Whether the thread holds the beginning of a history, and offers the same, and no more."""
        items = wanted.thread.items
        is_beginning = self.count <= len(items) and self.digest == digest(items[: self.count])
        offers_the_same = self.offers == wanted.offers and wanted.may_make_images >= self.makes_images
        return offers_the_same and is_beginning


def digest(value: object) -> str:
    """Return a hash of JSON data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


class AgentEngine:
    """The agent of one profile. Its methods run on the engine's thread."""

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], credentials: CredentialManager
    ) -> None:
        self.settings = settings
        self.binary: CodexBinary | None = None
        self._environ = environ
        self._credentials = credentials
        self._folder = settings.codex_home / "codex_nb" / "agent"
        self._home: AgentHome | None = None
        self._server: AppServer | None = None
        self._given: Credentials | None = None  # the credentials that the process has
        self._loaded = set[str]()  # the threads that the process has open
        self._records: dict[str, ThreadRecord] = {}
        self.token_totals: dict[str, object] = {}  # of each thread, as the CLI last told them
        self._with_images = set[str]()  # the threads that were begun so
        self._starting = asyncio.Lock()
        self.refusal: CodexError | None = None  # why no new token was given the last time

    async def find(self) -> CodexBinary:
        """Return the Codex CLI that is used; raises ConfigError."""
        if self.binary is None:
            self.binary = await asyncio.to_thread(find_binary, self._environ)
        return self.binary

    async def server(self) -> AppServer:
        """Return the process, started and signed in with the credentials as they are now; raises CodexError."""
        async with self._starting:
            credentials, self.refusal = await self._credentials.current(), None
            if self._server is not None and not (self._server.is_running and self._may_keep(credentials)):
                await self._stop()
            try:
                if self._server is None:
                    return await self._start(credentials)
                if self._given is None or not self._given.same_bearer(credentials):
                    await self._log_in(self._server, credentials)
            except AppServerEnded as error:
                raise AgentFailed(str(error)) from error
            return self._server

    def _may_keep(self, credentials: Credentials) -> bool:
        """Whether the process can go on with these credentials: of the same account, and handed in by a message."""
        given = self._given
        if given is None or given.mode is not credentials.mode or not given.same_account(credentials):
            return False
        return _has_tokens(credentials) or given.same_bearer(credentials)

    async def _start(self, credentials: Credentials) -> AppServer:
        binary = await self.find()
        home = await asyncio.to_thread(AgentHome.create, self._folder, self.settings, credentials)
        server = None
        try:
            environ = home.environment(self._environ, credentials, binary)
            server = await AppServer.start(
                binary, environ, home.path, self._answer, _command_overrides(self.settings)
            )
            await self._log_in(server, credentials)
        except BaseException:
            if server is not None:
                await server.close()
            home.remove()
            raise
        self._home, self._server = home, server
        return server

    @property
    def provider(self) -> str:
        """The provider that the running process asks, by its id."""
        assert self._given is not None  # noqa: S101 -- a process that runs is signed in
        return _provider_id(self.settings, self._given)

    async def _log_in(self, server: AppServer, credentials: Credentials) -> None:
        if _has_tokens(credentials):
            try:
                await server.request(
                    "account/login/start", {"type": "chatgptAuthTokens", **_tokens(credentials)}
                )
            except RequestRefused as error:
                raise AgentFailed(
                    f"The Codex CLI did not accept the login of {short_account(credentials.label)}.",
                    hint="Ask without --agent, or sign in again with %codex login.",
                ) from error
        self._given = credentials

    async def _answer(self, method: str, params: JsonObject) -> JsonObject | None:
        """Answer what the process asks for itself: a new token, of the same account, that was not refused already."""
        given = self._given
        if method != "account/chatgptAuthTokens/refresh" or given is None or not _has_tokens(given):
            return None
        if self.refusal is not None:  # the CLI asks again after every attempt
            return None
        try:
            self._given = await self._refreshed(given, params.get("previousAccountId"))
        except CodexError as error:
            self.refusal = error
            return None
        return _tokens(self._given)

    async def _refreshed(self, given: Credentials, account_id: object) -> Credentials:
        """Return new tokens of the same account, which the CLI names if it can; raises CodexError."""
        try:
            async with asyncio.timeout(REFRESH_TIMEOUT_S):
                found = (await self._credentials.retry_after_401(given)).credentials
        except TimeoutError:
            raise RefreshFailed(
                f"No new token came within {REFRESH_TIMEOUT_S:.0f} s, which is as long as the Codex CLI waits.",
                reason="unreachable",
            ) from None
        if found is None or found.same_bearer(given) or not _has_tokens(found):
            raise RefreshFailed("Your login was refused (401).", permanent=True, reason="rejected")
        is_named = account_id is None or account_id == found.account.account_id
        if not (is_named and found.same_account(given)):
            raise AccountChanged("A different account is signed in now than the one that began this answer.")
        return found

    async def look_up(self, method: str, **params: Any) -> JsonObject:
        """Return what the CLI knows of the account, its models or its limits; raises CodexError."""
        server = await self.server()
        try:
            return await server.request(method, params)
        except (AppServerEnded, RequestRefused) as error:
            raise AgentFailed(str(error)) from error

    async def usage(self) -> RateLimits | None:
        """Return the limits as the CLI reads them; None for a login without a plan."""
        if not (await self._credentials.current()).is_chatgpt_backend:
            return None
        found = await self.look_up("account/rateLimits/read")
        by_limit = parse_object(found.get("rateLimitsByLimitId"))
        limits = [read_limits(table) for table in by_limit.values() or [found.get("rateLimits")]]
        return replace(limits[0], windows=tuple(window for each in limits for window in each.windows))

    async def models(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return the models that the CLI offers: name, display name and reasoning efforts."""
        found, cursor = list[JsonObject](), None
        while True:
            page = await self.look_up("model/list", **({"cursor": cursor} if cursor else {}))
            found += parse_objects(page.get("data"))
            if not (cursor := page.get("nextCursor")):
                break
        return [(str(each.get("model")), str(each.get("displayName")), _efforts(each)) for each in found]

    async def described(self) -> str:
        """Say in a line through which program questions are answered, and as whom it is signed in."""
        account = parse_object((await self.look_up("account/read")).get("account"))
        who = account.get("email") or {"apiKey": "an API key"}.get(str(account.get("type")))
        binary = await self.find()
        signed_in = f", signed in as {short_account(str(who))}" if who else ""
        return visible_line(f"Questions are answered through {binary.label} ({binary.path}){signed_in}.")

    async def open_thread(self, server: AppServer, wanted: WantedThread, known: str = "") -> str:
        """Return the CLI's thread that continues one of ours, with all in it that precedes the question.

        ``known`` is the one that the turn has begun in already.
        """
        if known and (known in self._loaded or await self._resume(server, known, wanted)):
            return known
        thread = wanted.thread
        record = self._record(thread)
        if record is not None and record.continues(wanted):
            missing = [*thread.items[record.count :], *wanted.new_items]
            if record.makes_images:
                self._with_images.add(record.thread)
            if record.thread in self._loaded or await self._resume(server, record.thread, wanted):
                await self._inject(server, record.thread, missing)
                return record.thread
        started = await server.request(
            "thread/start", {**wanted.options, "ephemeral": not thread.is_saved, "dynamicTools": wanted.tools}
        )
        thread_id = str(parse_object(started.get("thread")).get("id", ""))
        self._loaded.add(thread_id)
        if wanted.may_make_images:
            self._with_images.add(thread_id)
        await self._inject(server, thread_id, [*thread.items, *wanted.new_items])
        if record is not None:
            self._remove_rollout(record.thread)
        return thread_id

    async def _resume(self, server: AppServer, thread_id: str, wanted: WantedThread) -> bool:
        try:
            await server.request(
                "thread/resume", {"threadId": thread_id, "excludeTurns": True, **wanted.options}
            )
        except RequestRefused:
            return False
        self._loaded.add(thread_id)
        return True

    async def _inject(self, server: AppServer, thread_id: str, items: Sequence[Outbound]) -> None:
        if items:
            await server.request("thread/inject_items", {"threadId": thread_id, "items": list(items)})

    def _record(self, thread: Thread) -> ThreadRecord | None:
        if thread.thread_id not in self._records and thread.is_saved:
            with suppress(OSError, ValueError, TypeError):
                self._records[thread.thread_id] = ThreadRecord.read(self._record_file(thread))
        return self._records.get(thread.thread_id)

    def _record_file(self, thread: Thread) -> Path:
        return self._folder / "threads" / f"{thread.thread_id}.json"

    def keep(self, thread: Thread, thread_id: str, offers: str) -> None:
        """Note that a thread of the CLI holds one of ours as it is now."""
        makes_images = thread_id in self._with_images
        record = ThreadRecord(
            thread.name, thread_id, len(thread.items), digest(thread.items), offers, makes_images
        )
        self._records[thread.thread_id] = record
        if thread.is_saved:
            file = self._record_file(thread)
            with suppress(OSError):
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                replace_file(file, json.dumps(asdict(record)).encode(), flush=False)

    def forget(self, name: str | None) -> None:
        """Delete what the CLI keeps of a thread, None for all. Raises OSError."""
        for file in (self._folder / "threads").glob("*.json"):
            with suppress(ValueError, TypeError):
                record = ThreadRecord.read(file)
                if name in {None, record.name}:
                    self._remove_rollout(record.thread)
                    file.unlink(missing_ok=True)
        self._records = {key: each for key, each in self._records.items() if name not in {None, each.name}}

    def _remove_rollout(self, thread_id: object) -> None:
        if not isinstance(thread_id, str) or not thread_id.replace("-", "").isalnum():
            return  # the CLI named it so; it could be a pattern or a path to what is not its own
        for file in (self._folder / SESSIONS).rglob(f"rollout-*-{thread_id}.jsonl*"):
            file.unlink(missing_ok=True)
        shutil.rmtree(self._folder / IMAGES / thread_id, ignore_errors=True)

    async def drop(self, server: AppServer) -> None:
        """Give up a process that ended or no longer does what it is told."""
        async with self._starting:
            if self._server is server:
                await self._stop(at_once=True)

    async def close(self) -> None:
        """End the process and remove its home."""
        async with self._starting:
            await self._stop()

    async def _stop(self, *, at_once: bool = False) -> None:
        server, home, self._server, self._home, self._given = self._server, self._home, None, None, None
        self._loaded.clear()
        if server is not None:
            await (server.kill() if at_once else server.close())
        if home is not None:
            await asyncio.to_thread(home.remove)


def _efforts(model: JsonObject) -> tuple[str, ...]:
    listed = parse_objects(model.get("supportedReasoningEfforts"))
    return tuple(str(each["reasoningEffort"]) for each in listed if each.get("reasoningEffort"))


def _has_tokens(credentials: Credentials) -> bool:
    """Whether the credentials are ChatGPT tokens, which are handed in by a message."""
    return credentials.mode in {AuthMode.CHATGPT, AuthMode.EXTERNAL}


def _tokens(credentials: Credentials) -> JsonObject:
    account = credentials.account
    return {
        "accessToken": credentials.bearer.get_secret_value() if credentials.bearer else "",
        "chatgptAccountId": account.account_id or "",
        "chatgptPlanType": account.plan,
    }
