"""MCP servers: their tools as tools of the model, their life, and what a tool asks the user while it runs.

A server lives from the first question that may use it to the end. Its names, descriptions and results are text from
elsewhere, and its schemas and hints are claims: they reach the model bounded and marked, and decide nothing. Every
method runs on the engine's thread.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import importlib.util
import json
import re
import unicodedata
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError

from codex_nb.auth.store import read_keyring
from codex_nb.config.config_toml import with_stored_token
from codex_nb.errors import CodexError, CredentialsUnreadable, InvalidArguments, ToolError
from codex_nb.labels import AGENT_TOOLS
from codex_nb.parse import JsonObject, is_deeper, picture_url
from codex_nb.rendering.sanitize import escape_invisible, sanitize_server_text, visible_line, visible_text
from codex_nb.session.events import ApprovalRequested, ApprovalResolved, ToolFinished, ToolStarted
from codex_nb.tools.approval import DecisionKind, Effect
from codex_nb.tools.base import A, Arguments, CallDisplay, FunctionArguments, Tool, ToolResult
from codex_nb.tools.builtin import IMAGE_LIMIT, IMAGE_SIZE_LIMIT, OUTPUT_LIMIT
from codex_nb.tools.nbmodel import shorten, truncate
from codex_nb.tools.secrets import is_secret_name

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        Awaitable,
        Callable,
        Collection,
        Coroutine,
        Hashable,
        Iterator,
        Mapping,
        Sequence,
    )

    from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher

    from codex_nb.config.config_toml import McpServer
    from codex_nb.config.settings import Settings
    from codex_nb.session.events import TurnEvent
    from codex_nb.tools.approval import Approved, Approver
    from codex_nb.tools.base import Ports

    AskUser = Callable[[Arguments], Awaitable[JsonObject | None]]


SIGN_IN = "sign in with: codex mcp login {name}"
MISSING = "MCP servers need another library: pip install 'codex-nb[mcp]'."
MOST_PAGES = 20
MOST_MESSAGES = 2_000  # between two requests
MOST_TOOLS = 128
LONGEST_DESCRIPTION = 2_000
LARGEST_SCHEMA = 16_000  # characters
LARGEST_SCHEMAS = 64_000  # of all tools together
DEEPEST_SCHEMA = 32
CLOSING_S = 5.0
LONGEST_NAME = 64

ServerStatus = Literal["not started", "starting", "ready", "failed", "not used"]


class _Hints(BaseModel):
    readOnlyHint: bool | None = None  # noqa: N815 -- the protocol's name
    destructiveHint: bool | None = None  # noqa: N815 -- as above


class _Listed(BaseModel):
    name: str = Field(min_length=1, max_length=256)
    description: str | None = None
    inputSchema: dict[str, Any]  # noqa: N815 -- as above
    annotations: _Hints | None = None


class _Page(BaseModel):
    tools: list[Any]
    nextCursor: str | None = None  # noqa: N815 -- as above


class _Content(BaseModel):
    type: str
    text: str | None = None
    data: str | None = None
    mimeType: str | None = None  # noqa: N815 -- as above
    uri: str | None = None
    resource: dict[str, Any] | None = None


class _Result(BaseModel):
    content: list[_Content] = []
    structuredContent: Any = None  # noqa: N815 -- as above
    isError: bool = False  # noqa: N815 -- as above


@dataclass(frozen=True, eq=False, kw_only=True)
class McpTool(Tool[FunctionArguments]):
    """A tool of a server; ``listed_name`` is its name there, ``version`` a hash of all that it says of itself."""

    server: str
    listed_name: str
    schema: JsonObject
    version: str

    @property
    def parameters(self) -> JsonObject:
        """The JSON schema of the arguments, as the server gives it."""
        return self.schema

    def validate(self, values: JsonObject) -> FunctionArguments:
        """Return the arguments; the server is the one to check them."""
        return FunctionArguments(values=values)

    @property
    def identity(self) -> Hashable:
        """What an approval is remembered for: the server may start anew, but not become something else."""
        return self.server, self.listed_name, self.version


@dataclass(frozen=True)
class ServerState:
    """What is shown of a server; ``problem`` says why it is not ready, ``left_out`` why tools of it are not offered."""

    name: str
    status: ServerStatus
    problem: str = ""
    tools: tuple[McpTool, ...] = ()
    left_out: tuple[str, ...] = ()


class Wire:
    """What is known of a connection beside its messages.

    ``ended`` is set when the server has ended it, was ended for its ``problem``, or is to end. ``last_words`` are the
    last line that its program wrote into its log.
    """

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.problem = ""
        self.last_words = ""
        self.wants_sign_in = False
        self.sign_in_note = ""
        self.unasked = 0  # messages since the last request

    def count(self) -> bool:
        """Count a message; return whether it is one too many."""
        self.unasked += 1
        is_one_too_many = self.unasked > MOST_MESSAGES
        if is_one_too_many:
            self.problem = f"it sent more than {MOST_MESSAGES:,} messages unasked"
        return is_one_too_many


class Connection:
    """One run of a server, in a task of its own, which ends it as well.

    ``tools`` are what it offers, as far as they can be offered to the model; ``left_out`` says why others cannot.
    """

    def __init__(self, server: McpServer, settings: Settings, environ: Mapping[str, str]) -> None:
        self.server = server
        self.problem = ""
        self.tools: tuple[McpTool, ...] = ()
        self.left_out: tuple[str, ...] = ()
        self.ready = asyncio.Event()  # set, too, when it will never be ready
        self._settings = settings
        self._environ = environ
        self._is_closing = False
        self._wire = Wire()
        self._dispatcher: JSONRPCDispatcher[Any] | None = None
        self._calls: list[tuple[AskUser | None, asyncio.Timeout]] = []  # that run
        self._task = asyncio.create_task(self._run())

    @property
    def is_alive(self) -> bool:
        """Whether the server has not failed or ended."""
        return not self._task.done() and not self._wire.ended.is_set()

    @property
    def has_failed(self) -> bool:
        """Whether the server was never ready."""
        return self._task.done() and not self.tools

    async def close(self) -> None:
        """End the server."""
        self._is_closing = True
        self._wire.ended.set()
        if not self.ready.is_set():
            self._task.cancel()
        await asyncio.wait([self._task], timeout=CLOSING_S)

    async def call(self, name: str, arguments: JsonObject, ask: AskUser | None) -> ToolResult:
        """Call a tool; what the server asks meanwhile is put to the user. Raises ToolError."""
        if not self.is_alive:
            raise ToolError(f"The MCP server {self.server.name} has ended.")
        try:
            async with asyncio.timeout(self.server.call_s) as deadline:
                self._calls.append(running := (ask, deadline))
                try:
                    reply = await self._request("tools/call", {"name": name, "arguments": arguments})
                finally:
                    self._calls.remove(running)
        except Exception as error:  # noqa: BLE001 -- whatever a transport raises, the server cannot be used
            reason = self._reason(error, self.server.call_s)
            raise ToolError(f"The MCP server {self.server.name}: {reason}.") from None
        try:
            return _as_result(_Result.model_validate(reply))
        except ValidationError:
            return ToolResult("The server's reply is not a result of a tool.", ok=False)

    async def _elicit(self, params: JsonObject) -> JsonObject:
        """Put what the server asks to the user of the call that runs; declined where that is not one call's."""
        form = read_form(self.server.name, params)
        ask, deadline = self._calls[0] if len(self._calls) == 1 else (None, None)
        if form is None or ask is None or deadline is None:
            return {"action": "decline"}
        deadline.reschedule(None)  # people may think
        try:
            answers = await ask(form)
        finally:
            with suppress(RuntimeError):  # the call has ended
                deadline.reschedule(asyncio.get_running_loop().time() + self.server.call_s)
        if answers is None:
            return {"action": "decline"}
        return {"action": "accept"} | ({} if params.get("mode") == "url" else {"content": answers})

    async def _request(self, method: str, params: JsonObject) -> Any:
        if self._dispatcher is None:
            raise ToolError("it is not connected")
        self._wire.unasked = 0
        return await self._dispatcher.send_raw_request(method, params)

    async def _run(self) -> None:
        try:
            transport = await asyncio.to_thread(importlib.import_module, "codex_nb.session.mcp_transport")
            server = self.server
            if server.command is None:
                server = await asyncio.to_thread(self._signed_in)
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self.server.startup_s):
                    session = transport.open_session(
                        server, self._wire, self._settings.ca_certificate, self._environ, self._elicit
                    )
                    self._dispatcher = await stack.enter_async_context(session)
                    await self._list()
                self.ready.set()
                await self._wire.ended.wait()
                if not self._is_closing:
                    self.problem = self._wire.problem or "it has ended"
        except Exception as error:  # noqa: BLE001 -- as above
            self.problem = self._reason(error, self.server.startup_s)
        finally:
            self.ready.set()

    def _signed_in(self) -> McpServer:
        settings = self._settings
        try:
            return with_stored_token(
                self.server, settings.codex_home, settings.mcp_credentials_store, read_keyring
            )
        except CredentialsUnreadable as error:
            self._wire.sign_in_note = f". {error.line}"
            return self.server

    async def _list(self) -> None:
        cursor: str | None = None
        listed: list[Any] = []
        for _ in range(MOST_PAGES):
            params = {} if cursor is None else {"cursor": cursor}
            try:
                page = _Page.model_validate(await self._request("tools/list", params))
            except ValidationError:
                raise ToolError("its list of tools cannot be read") from None
            listed += page.tools[: MOST_TOOLS + 1 - len(listed)]
            cursor = page.nextCursor
            if not cursor or len(listed) > MOST_TOOLS:
                break
        self.tools, self.left_out = _offered(self, listed)

    def _reason(self, error: BaseException, seconds: float) -> str:
        """Return in one line why the server cannot be used; what it says of it is not more than words."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        wire = self._wire
        if wire.wants_sign_in:
            return SIGN_IN.format(name=visible_line(self.server.name)) + wire.sign_in_note
        if wire.problem:
            return wire.problem
        if isinstance(error, TimeoutError):
            return f"it did not answer within {seconds:g} s"
        if isinstance(error, OSError) and error.strerror:
            return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        said = wire.last_words if wire.ended.is_set() or self.server.command is None else ""
        return sanitize_server_text(said or str(error)) or type(error).__name__


class McpServers:
    """The servers of one profile, started when tools are asked for, and ended by :meth:`close`."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._servers = settings.mcp_servers
        self._environ = environ
        self._connections: dict[str, Connection] = {}
        self._told: set[str] = set()

    async def start(self, without: Collection[str] = ()) -> tuple[ServerState, ...]:
        """Start what does not run, wait for it, and return what there is.

        What has failed before is started anew, but not waited for unless it is required.
        """
        servers = [each for each in self._servers if not each.problem and each.name not in without]
        if not servers or is_missing():
            return self.states(without)
        failed = {name for name, each in self._connections.items() if each.has_failed}
        for server in servers:
            running = self._connections.get(server.name)
            if running is None or not running.is_alive:
                self._connections[server.name] = Connection(server, self._settings, self._environ)
        await asyncio.gather(
            *(self._wait_for(each) for each in servers if each.required or each.name not in failed)
        )
        return self.states(without)

    async def required(self, without: Collection[str] = ()) -> tuple[ServerState, ...]:
        """Like :meth:`start`, for a question. Raises CodexError for a server that is required and not there."""
        states = await self.start(without)
        for server, state in zip(self._servers, states, strict=True):
            if server.required and state.status not in {"ready", "not used"}:
                raise CodexError(
                    f"The MCP server {visible_line(server.name)} is required, and cannot be used: "
                    f"{state.problem or state.status}.",
                    hint="Put it right, or take required = true out of config.toml.",
                )
        return states

    def news(self, states: Sequence[ServerState]) -> Iterator[str]:
        """Yield what a question tells of servers whose tools it goes without; each problem is told once."""
        for state in states:
            text = ""
            if state.status == "starting":
                text = f"The MCP server {visible_line(state.name)} is still starting; ask again to use its tools."
            elif state.status == "failed":
                text = f"The MCP server {visible_line(state.name)} cannot be used: {state.problem}."
            if text and text not in self._told:
                self._told.add(text)
                yield text

    def states(self, without: Collection[str] = ()) -> tuple[ServerState, ...]:
        """Return what there is of each server, without starting any."""
        return _with_room(self._state(server, without) for server in self._servers)

    async def close(self) -> None:
        """End every server."""
        connections, self._connections = list(self._connections.values()), {}
        await asyncio.gather(*(each.close() for each in connections))

    async def _wait_for(self, server: McpServer) -> None:
        ready = self._connections[server.name].ready
        with suppress(TimeoutError):  # one that is required ends its waiting itself, when it is late
            async with asyncio.timeout(None if server.required else self._settings.mcp_grace_s):
                await ready.wait()

    def _state(self, server: McpServer, without: Collection[str]) -> ServerState:
        name, connection = server.name, self._connections.get(server.name)
        if name in without:
            return ServerState(name, "not used", "switched off in this notebook")
        if server.problem:
            return ServerState(name, "not used", server.problem)
        if is_missing():
            return ServerState(name, "not used", "the library is not installed")
        if connection is None:
            return ServerState(name, "not started")
        if not connection.ready.is_set():
            return ServerState(name, "starting")
        if not connection.is_alive:
            return ServerState(name, "failed", connection.problem or "it has ended")
        return ServerState(name, "ready", "", connection.tools, connection.left_out)


def is_missing() -> bool:
    """Whether the library that speaks to servers is not installed."""
    return importlib.util.find_spec("mcp") is None


def _with_room(states: Iterator[ServerState]) -> tuple[ServerState, ...]:
    """Give every tool a name of its own, and leave out what is too much for one request."""
    names, size, kept = set[str](), 0, list[ServerState]()
    for state in states:
        tools, left_out = list[McpTool](), list(state.left_out)
        for tool in state.tools:
            size += len(json.dumps(tool.schema)) + len(tool.description)
            if size > LARGEST_SCHEMAS or len(names) >= MOST_TOOLS:
                left_out.append(
                    f"{tool.listed_name}: there are too many tools; choose some with enabled_tools"
                )
                continue
            name = _unique(tool.name, names)
            names.add(name)
            tools.append(tool if name == tool.name else replace(tool, name=name))
        kept.append(replace(state, tools=tuple(tools), left_out=tuple(left_out)))
    return tuple(kept)


def _unique(name: str, taken: Collection[str]) -> str:
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f"{name[: LONGEST_NAME - len(str(number)) - 1]}_{number}"
    return unique


def _offered(connection: Connection, listed: Sequence[Any]) -> tuple[tuple[McpTool, ...], tuple[str, ...]]:
    """Return the tools that can be offered, of each name the first with a schema that is one, and why others cannot."""
    tools, left_out = dict[str, McpTool](), list[str]()
    for number, each in enumerate(listed[:MOST_TOOLS], 1):
        try:
            entry = _Listed.model_validate(each)
        except ValidationError as error:
            name = each.get("name") if isinstance(each, dict) else None
            shown = _shown(name) if isinstance(name, str) and name else f"tool {number}"
            place = error.errors()[0]["loc"]
            left_out.append(f"{shown}: its {place[0] if place else 'type'} is not what the protocol says")
            continue
        if not connection.server.offers(entry.name):
            continue
        problem = "the server lists it twice" if entry.name in tools else _schema_problem(entry.inputSchema)
        if problem:
            left_out.append(f"{_shown(entry.name)}: {problem}")
        else:
            tools[entry.name] = _tool(connection, entry)
    if len(listed) > MOST_TOOLS:
        left_out.append(f"all tools after the first {MOST_TOOLS}")
    return tuple(tools.values()), tuple(left_out)


def _shown(tool: str) -> str:
    return shorten(visible_line(tool), LONGEST_NAME)


def _schema_problem(schema: JsonObject) -> str:
    if schema.get("type") != "object" or not isinstance(schema.get("properties", {}), dict):
        return "its schema is not that of an object"
    if is_deeper(schema, DEEPEST_SCHEMA):
        return "its schema is nested too deeply"
    if len(json.dumps(schema)) > LARGEST_SCHEMA:
        return f"its schema has more than {LARGEST_SCHEMA:,} characters"
    return ""


def _tool(connection: Connection, entry: _Listed) -> McpTool:
    server = connection.server
    said = visible_text(truncate(entry.description or "", LONGEST_DESCRIPTION))
    shown_server, shown = visible_line(server.name), _shown(entry.name)
    hints = entry.annotations or _Hints()
    claim = ""
    if hints.readOnlyHint:
        claim = " The server says that it only reads."
    elif hints.destructiveHint:
        claim = " The server says that it may destroy something."

    async def call(approved: Approved[FunctionArguments], ports: Ports) -> ToolResult:
        return await connection.call(entry.name, approved.arguments.values, ports.ask_user)

    return McpTool(
        name=model_name(server.name, entry.name),
        description=f"A tool of the MCP server {shown_server}, which says of it: {said or shown}",
        arguments=FunctionArguments,
        effect=Effect.ALLOWED if server.allows(entry.name) else Effect.EXECUTE,
        call=call,
        title=f"{shown_server}: {shown}",
        summary=f"Calls {shown} of the MCP server {shown_server}.{claim}",
        server=server.name,
        listed_name=entry.name,
        schema={"properties": {}, **_with_visible_texts(entry.inputSchema)},
        version=hashlib.sha256(entry.model_dump_json().encode("utf-8", "replace")).hexdigest(),
        may_ask=True,
    )


def _with_visible_texts(value: Any, key: str = "") -> Any:
    """Return a schema in whose titles and descriptions nothing hides; it is not nested too deeply."""
    if isinstance(value, dict):
        return {name: _with_visible_texts(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [_with_visible_texts(each) for each in value]
    return visible_text(value) if isinstance(value, str) and key in {"title", "description"} else value


def model_name(server: str, tool: str) -> str:
    """Return the name of a tool for the model: ``mcp__server__tool``, in the characters that it may have."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", f"mcp__{server}__{tool}")[:LONGEST_NAME]


def _as_result(reply: _Result) -> ToolResult:
    """Return a reply as the model gets it: the structured content where there is one, else the texts; and images."""
    texts = [_text_of(part) for part in reply.content if part.type != "image"]
    if reply.structuredContent is not None:
        texts = [json.dumps(reply.structuredContent, ensure_ascii=False)]
    images = [url for part in reply.content if part.type == "image" and (url := _image_url(part))]
    sent = tuple(url for url in images if len(url) <= IMAGE_SIZE_LIMIT)[:IMAGE_LIMIT]
    if len(sent) < sum(part.type == "image" for part in reply.content):
        texts.append("[some images not sent: too large, too many, or not images]")
    text = truncate("\n".join(filter(None, texts)), OUTPUT_LIMIT)
    return ToolResult(text or "(returned nothing)", images=sent, ok=not reply.isError)


def _text_of(part: _Content) -> str:
    if part.text is not None:
        return part.text
    resource = part.resource or {}
    if isinstance(resource.get("text"), str):
        return str(resource["text"])
    return f"[{part.type}: {part.uri or resource.get('uri') or part.mimeType or 'not text'}]"


def _image_url(part: _Content) -> str:
    if part.mimeType not in {"image/png", "image/jpeg", "image/gif", "image/webp"} or not part.data:
        return ""
    return picture_url(f"data:{part.mimeType};base64,{part.data}") or ""


ANSWERED, DECLINED = "Answered.", "Declined."
MOST_FIELDS = 30
MOST_QUESTIONS = 10  # of one call
MOST_WORDS = 5  # of a name; more are a sentence
_IN_BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
# What people are asked for beside passwords and keys, and should not type into a notebook either.
_CODES = re.compile(
    r"(?i:\b(?:one[- ]?time|verification|security|authenti\w+|2fa|mfa|pin|unlock)[- ]?(?:code|password|number)s?\b"
    r"|\bcard[- ]?number\b|\bsocial security\b|\b(?:cv[vc]2?|otp|2fa|ssn)\b)|\b(?:PIN|PAT)\b"
)
_LIKE_LATIN = str.maketrans("аеорсухіјѕԁһοАВЕКМНОРСТХ", "aeopcyxijsdhoABEKMHOPCTX")  # noqa: RUF001 - meant so
_NOT_TEXT = frozenset({"boolean", "integer", "number", "array"})


class Form(Arguments):
    """Questions to the user; ``answers`` maps each to its answer, which the user fills in."""

    answers: dict[str, Any] = Field(default_factory=dict)
    questions: str = Field("", exclude=True)
    choices: dict[str, list[Any]] = Field(default_factory=dict, exclude=True)

    @property
    def view(self) -> CallDisplay:
        """The answers are the user's."""
        choices = tuple((name, tuple(each)) for name, each in self.choices.items())
        return CallDisplay(self.questions, is_question=True, choices=choices)


def foreign_tool(name: str, arguments: type[A], effect: Effect = Effect.EXECUTE) -> Tool[A]:
    """Return a tool that others call: only the approval is ours, and whoever has asked for it acts on it."""

    async def call(approved: Approved[A], ports: Ports) -> ToolResult:
        del approved, ports
        return ToolResult("")

    return Tool(name, "", arguments, effect, call, AGENT_TOOLS[name], "")


form_tool = foreign_tool("questions", Form)


def read_form(server: str, params: Mapping[str, Any]) -> Form | None:
    """Return what an MCP server asks (``elicitation/create``), with each field's default or first choice.

    None for what is no form, for one that wants a secret, because the answer is shown and saved, and for an address
    that is none of the web. A page is never opened: its address is shown.
    """
    message = f"The MCP server {sanitize_server_text(server)} asks: {_text(params.get('message'))}"
    if params.get("mode") == "url":
        page = escape_invisible(_text(params.get("url")))
        return Form(questions=f"{message} Open this page, then accept: {page}") if _is_page(page) else None
    schema = params.get("requestedSchema")
    fields = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(fields, dict) or len(fields) > MOST_FIELDS:
        return None
    if any(_is_secret(name, field, params.get("message")) for name, field in fields.items()):
        return None
    told = [_told(name, field) for name, field in fields.items() if isinstance(field, dict)]
    answers = {name: _default(field) for name, field in fields.items()}
    choices = {name: found for name, field in fields.items() if (found := _choices(field))}
    return Form(questions=" ".join([message, *filter(None, told)]), answers=answers, choices=choices)


def _is_page(address: str) -> bool:
    """Whether an address is one of the web, with nothing before its host that could pass for it."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and "@" not in parts.netloc


def _text(value: object) -> str:
    return sanitize_server_text(value) if isinstance(value, str) else ""


def _is_secret(name: str, field: object, message: object) -> bool:
    """Whether a field wants a secret: by its name, what it is called, or what is asked, if it is for free text."""
    if _names_secret(name):
        return True
    if not isinstance(field, dict) or len(_choices(field)) > 1:
        return False
    said = [
        field.get("title"),
        field.get("description"),
        *([message] if str(field.get("type")) not in _NOT_TEXT else []),
    ]
    is_named = any(map(_names_secret, said))
    return is_named or field.get("format") == "password" or field.get("writeOnly") is True


def _names_secret(text: object) -> bool:
    """Whether a text of a few words names a secret ("Your API key:"), however its letters are written."""
    return isinstance(text, str) and any(
        is_secret_name(each) or _CODES.search(each) for each in _names_in(text)
    )


def _names_in(text: str) -> Iterator[str]:
    """Yield what a text may name: as it is, without accents, and with the letters that it looks like."""
    for form in ("NFKC", "NFKD"):
        plain = "".join(
            one
            for one in unicodedata.normalize(form, text)
            if unicodedata.category(one) not in {"Mn", "Me", "Cf"}
        )
        words = (_IN_BRACKETS.sub(" ", plain).strip() or plain).split(maxsplit=MOST_WORDS)
        if len(words) <= MOST_WORDS:
            name = " ".join(words).strip(".:?!*…()[] ")
            yield from (name, name.translate(_LIKE_LATIN))


def _choices(field: object) -> list[Any]:
    """Return what an answer is chosen from; that of a list, what its entries are."""
    if not isinstance(field, dict):
        return []
    if field.get("type") == "array":
        return _choices(field.get("items"))
    choices = field.get("enum")
    if isinstance(choices, list):
        return choices
    titled = field.get("oneOf") or field.get("anyOf")
    titled = titled if isinstance(titled, list) else []
    return [each["const"] for each in titled if isinstance(each, dict) and "const" in each]


def _told(name: str, field: Mapping[str, Any]) -> str:
    listed = " / ".join(_text(each) for each in _choices(field))
    said = _text(field.get("description"))
    about = "; ".join(filter(None, (said, listed)))
    return f"({_text(name)}: {about})" if about else ""


def _default(field: object) -> Any:
    kinds: dict[str, Any] = {"boolean": False, "integer": 0, "number": 0, "array": []}
    if not isinstance(field, dict):
        return ""
    kind, choices = str(field.get("type")), _choices(field)
    first = choices[0] if choices and kind != "array" else kinds.get(kind, "")
    return field.get("default", first)


class UserQuestions:
    """What one running call asks the user. ``stopped`` tells whether the user ended the turn instead."""

    def __init__(self, approver: Approver, numbers: Iterator[int]) -> None:
        self.stopped = False
        self._approver = approver
        self._numbers = numbers
        self._events: asyncio.Queue[TurnEvent | None] = asyncio.Queue()
        self._waiting: set[asyncio.Future[Any]] = set()
        self._over = asyncio.Event()
        self._left = MOST_QUESTIONS

    async def ask(self, form: Arguments) -> JsonObject | None:
        """Return the user's answers; None when they are not given."""
        if self._over.is_set() or not self._left or not isinstance(form, Form):
            return None
        self._left -= 1
        request = form_tool.request(next(self._numbers), form)
        # The request is registered before anyone can see it, so that no click comes too early.
        waiting = asyncio.ensure_future(self._approver.decide(request))
        self._waiting.add(waiting)
        self._events.put_nowait(ApprovalRequested(request))
        try:
            decision = await waiting
        except asyncio.CancelledError:
            if not self._over.is_set():
                raise
            return None
        finally:
            self._waiting.discard(waiting)
        self._events.put_nowait(ApprovalResolved(request.call_number, decision))
        answers: JsonObject | None = None
        if decision.approved:
            self._events.put_nowait(ToolStarted(request.call_number))
            with suppress(InvalidArguments):
                answers = form_tool.approve(form, request, decision).arguments.answers
        self.stopped = self.stopped or decision.kind is DecisionKind.STOP
        said = DECLINED if answers is None else ANSWERED
        self._events.put_nowait(
            ToolFinished(request.call_number, decision.message or said, answers is not None)
        )
        return answers

    async def events(self, running: Coroutine[Any, Any, TurnEvent]) -> AsyncGenerator[TurnEvent, None]:
        """Yield what is asked while a call runs, and at last what the call returns."""
        task = asyncio.ensure_future(running)
        task.add_done_callback(lambda _: self._events.put_nowait(None))
        try:
            while (event := await self._events.get()) is not None:
                yield event
            yield task.result()
        finally:
            self._over.set()
            for each in (task, *self._waiting):
                each.cancel()
            await asyncio.wait([task])
