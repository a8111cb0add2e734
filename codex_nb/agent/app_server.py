"""The Codex CLI on this machine, and its ``app-server``: a process that speaks JSON lines over its standard streams.

The protocol is that of Codex CLI 0.160 to 0.171: ``{"id", "method", "params"}`` is a request of either side, the same
without ``id`` a notification, ``{"id", "result"}`` or ``{"id", "error"}`` an answer; there is no ``"jsonrpc"`` member.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codex_nb.errors import AgentFailed, ConfigError
from codex_nb.parse import JsonObject, loads_object, parse_object
from codex_nb.rendering.sanitize import visible_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

OLDEST = (0, 160, 0)
BINARY_VARIABLE = "CODEX_NB_CODEX"
INSTALL = (
    "Install it with: npm install -g @openai/codex, or: pip install 'codex-nb[codex]'; "
    f"or set {BINARY_VARIABLE} to its path."
)
UPDATE = "Update it with: npm install -g @openai/codex@latest"
VERSION_TIMEOUT_S = 10.0
_VERSION = re.compile(r"(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?")


@dataclass(frozen=True)
class CodexBinary:
    """A Codex CLI that was found; ``origin`` says where it was looked for, ``version`` is None where it does not run.

    ``tools`` is a folder of programs that it brings along, for its PATH.
    """

    path: Path
    origin: str
    version: tuple[int, int, int] | None = None
    tools: Path | None = None

    @property
    def label(self) -> str:
        """Its name with its version, for people."""
        return f"Codex CLI {'.'.join(map(str, self.version))}" if self.version else "Codex CLI"

    @property
    def problem(self) -> str:
        """Why the agent cannot run in it; an empty text when it can."""
        if self.version is None:
            return f"{self.path} ({self.origin}) does not say which version it is"
        if self.version < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            return f"{self.path} ({self.origin}) is {self.label}, and the agent needs {oldest} or newer"
        return ""


def installed_binaries(environ: Mapping[str, str]) -> Iterator[CodexBinary]:
    """Yield each Codex CLI on this machine with its version, the one to prefer first; blocks while it asks them.

    What ``CODEX_NB_CODEX`` names is the only one; then come PATH, npm's global folders and the package
    ``openai-codex-cli-bin``.
    """
    seen = set[Path]()
    for path, origin, tools in _places(environ):
        if path.is_file() and (real := path.resolve()) not in seen:
            seen.add(real)
            yield CodexBinary(path, origin, _version_of(path, environ), tools)
        elif origin == BINARY_VARIABLE:
            raise ConfigError(
                f"{BINARY_VARIABLE} names {visible_line(str(path))}, which is not there.",
                path="environment",
                key=BINARY_VARIABLE,
                hint="Correct the variable, or remove it.",
            )


def find_binary(environ: Mapping[str, str]) -> CodexBinary:
    """Return the Codex CLI to use; raises ConfigError when there is none that is new enough."""
    problems = []
    for binary in installed_binaries(environ):
        if not binary.problem:
            return binary
        problems.append(binary.problem)
    if problems:
        raise ConfigError(f"{problems[0]}.", path="environment", key=BINARY_VARIABLE, hint=UPDATE)
    raise ConfigError(
        "The agent runs in the Codex CLI, which was not found.",
        path="environment",
        key=BINARY_VARIABLE,
        hint=INSTALL,
    )


def _places(environ: Mapping[str, str]) -> Iterator[tuple[Path, str, Path | None]]:
    if named := environ.get(BINARY_VARIABLE, "").strip():
        found = shutil.which(named, path=environ.get("PATH"))
        yield Path(found or named).expanduser(), BINARY_VARIABLE, None
        return
    if found := shutil.which("codex", path=environ.get("PATH")):
        yield Path(found), "PATH", None
    for folder in _npm_folders(environ):
        if found := shutil.which("codex", path=str(folder)):
            yield Path(found), "npm", None
    with suppress(ImportError, OSError):
        package = importlib.import_module("codex_cli_bin")
        yield package.bundled_codex_path(), "openai-codex-cli-bin", package.bundled_path_dir()


def _npm_folders(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the folders in which npm puts global programs: of its prefix, of nvm, and the usual ones."""
    prefix = environ.get("npm_config_prefix") or environ.get("NPM_CONFIG_PREFIX")
    if prefix:
        yield Path(prefix) / "bin"
    if os.name == "nt":
        if roaming := environ.get("APPDATA"):
            yield Path(roaming) / "npm"
        return
    home = Path(environ.get("HOME") or "~").expanduser()
    yield home / ".npm-global" / "bin"
    if nvm := environ.get("NVM_BIN"):
        yield Path(nvm)
    yield from sorted((home / ".nvm" / "versions" / "node").glob("*/bin"), reverse=True)
    yield from (Path("/usr/local/bin"), Path("/opt/homebrew/bin"))


def _version_of(path: Path, environ: Mapping[str, str]) -> tuple[int, int, int] | None:
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            [path, "--version"],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_TIMEOUT_S,
            check=False,
        )
        if done.returncode == 0 and (match := _VERSION.search(done.stdout)):
            return int(match[1]), int(match[2]), int(match[3] or 0)
    return None


LONGEST_LINE = 64_000_000  # bytes
MOST_WAITING = 10_000  # messages; the process is then no longer read from
START_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 2.0
LAST_WORDS = 500  # characters of a line of standard error
REFUSED = "codex_nb/refused"
"""The method of the message by which a turn hears of a request that was refused before it reached any."""
NOT_UNDERSTOOD = {"code": -32601, "message": "codex_nb does not understand this request"}


@dataclass(frozen=True)
class Message:
    """A notification of the process, or with ``request_id`` a request that must be answered."""

    method: str
    params: JsonObject
    request_id: int | str | None = None


class RequestRefused(Exception):
    """The process answered a request with an error; the text says why."""


class AppServerEnded(Exception):
    """The process ended while something was expected of it; the text has its last words."""


class Messages:
    """The messages that concern one thread, in order; at the end of the process the iteration raises AppServerEnded."""

    def __init__(self, server: AppServer, queue: asyncio.Queue[Message | None]) -> None:
        self._server = server
        self._queue = queue

    def __aiter__(self) -> Messages:
        return self

    async def __anext__(self) -> Message:
        message = None
        while message is None:
            if self._queue.empty() and not self._server.is_running:
                raise self._server.ended()
            message = await self._queue.get()
        return message


class AppServer:
    """One running ``codex app-server``.

    ``answer`` is called with the name and the parameters of each request that belongs to no thread and must not wait
    for a turn, such as for a new token; it returns the result, or None to refuse. All else goes to the queue of the
    thread that it names (:meth:`listen`); a request of a thread that nobody listens to is refused at once.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        answer: Callable[[str, JsonObject], Awaitable[JsonObject | None]],
    ) -> None:
        self.is_running = True
        self._process = process
        self._answer = answer
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[JsonObject]] = {}
        self._listeners: dict[str, asyncio.Queue[Message | None]] = {}
        self._last_line = ""
        self._too_long = False
        self._answering: set[asyncio.Task[None]] = set()
        self._readers = [
            asyncio.ensure_future(self._read_output()),
            asyncio.ensure_future(self._read_errors()),
        ]

    @classmethod
    async def start(
        cls,
        binary: CodexBinary,
        environ: Mapping[str, str],
        folder: Path,
        answer: Callable[[str, JsonObject], Awaitable[JsonObject | None]],
        options: Sequence[str] = (),
    ) -> AppServer:
        """Start the process in a folder and greet it; ``options`` are the CLI's own. Raises AgentFailed."""
        try:
            process = await asyncio.create_subprocess_exec(
                binary.path,
                *options,
                "app-server",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder,
                env=dict(environ),
                limit=LONGEST_LINE,
                start_new_session=True,  # it ends with its standard input, not by an interrupt of the kernel
            )
        except OSError as error:
            raise AgentFailed(f"{binary.path} cannot be started: {error.strerror or error}.") from error
        server = cls(process, answer)
        try:
            from codex_nb.config import __version__

            info = {"name": "codex_nb", "title": "codex_nb", "version": __version__}
            await server.request(
                "initialize",
                {"clientInfo": info, "capabilities": {"experimentalApi": True}},
                timeout_s=START_TIMEOUT_S,
            )
            await server.send({"method": "initialized"})
        except (AppServerEnded, RequestRefused) as error:
            await server.close()
            raise AgentFailed(str(error)) from error
        except BaseException:
            await server.close()
            raise
        return server

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    async def request(
        self, method: str, params: JsonObject, *, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> JsonObject:
        """Return the result of a request. Raises RequestRefused, AppServerEnded, or AgentFailed after the time-out."""
        number = next(self._ids)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await self.send({"id": number, "method": method, "params": params})
                result: JsonObject = await answer
                return result
        except TimeoutError:
            raise AgentFailed(f"The Codex CLI did not answer {method} within {timeout_s:.0f} s.") from None
        finally:
            self._waiting.pop(number, None)
            if answer.done() and not answer.cancelled():
                answer.exception()  # asyncio reports one that nobody has looked at, as when sending failed as well

    async def reply(self, message: Message, result: JsonObject | None) -> None:
        """Answer a request of the process; with None, refuse it."""
        answer = {"error": NOT_UNDERSTOOD} if result is None else {"result": result}
        await self.send({"id": message.request_id, **answer})

    async def send(self, message: JsonObject) -> None:
        """Send one message; raises AppServerEnded."""
        pipe = self._process.stdin
        if not self.is_running or pipe is None:
            raise self.ended()
        try:
            pipe.write(json.dumps(message).encode() + b"\n")
            await pipe.drain()
        except (OSError, RuntimeError) as error:
            raise self.ended() from error

    @contextmanager
    def listen(self, thread_id: str) -> Iterator[Messages]:
        """Receive what concerns a thread while the block runs."""
        queue: asyncio.Queue[Message | None] = asyncio.Queue(MOST_WAITING)
        self._listeners[thread_id] = queue
        try:
            yield Messages(self, queue)
        finally:
            del self._listeners[thread_id]

    async def close(self) -> None:
        """End the process and all that it has started."""
        if (pipe := self._process.stdin) is not None:
            pipe.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._process.wait()
        await self.kill()

    async def kill(self) -> None:
        """End the process at once, with its group."""
        with suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        await self._process.wait()
        for task in (*self._readers, *self._answering):
            task.cancel()
        await asyncio.gather(*self._readers, *self._answering, return_exceptions=True)
        self._end()

    def ended(self) -> AppServerEnded:
        """Return the error that tells the process's end, with its last words."""
        if self._too_long:
            return AppServerEnded(f"The Codex CLI sent a line of more than {LONGEST_LINE // 1_000_000} MB.")
        words = f" Its last words: {self._last_line.rstrip('.')}." if self._last_line else ""
        return AppServerEnded(f"The Codex CLI ended unexpectedly.{words}")

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 -- a pipe was asked for
        while True:
            try:
                line = await self._process.stderr.readline()
            except ValueError:
                continue  # a line without end
            if not line:
                return
            if text := line.decode("utf-8", "replace").strip():
                self._last_line = visible_line(text[:LAST_WORDS])

    async def _read_output(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 -- as above
        try:
            while line := await self._process.stdout.readline():
                await self._take(loads_object(line))
        except ValueError:
            self._too_long = True
            with suppress(ProcessLookupError):
                self._process.kill()
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._readers[1]  # the last words
            self._end()

    def _end(self) -> None:
        self.is_running = False
        with suppress(ProcessLookupError):  # one that has only closed its output would let a sender wait
            self._process.kill()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(self.ended())
        for queue in self._listeners.values():
            with suppress(asyncio.QueueFull):
                queue.put_nowait(None)

    async def _take(self, message: JsonObject) -> None:
        method, number = message.get("method"), message.get("id")
        if not isinstance(method, str):
            waiting = self._waiting.get(number) if isinstance(number, int) else None
            if waiting is not None and not waiting.done():
                _settle(waiting, message)
            return
        request_id = number if isinstance(number, int | str) else None
        await self._route(Message(method, parse_object(message.get("params")), request_id))

    async def _route(self, message: Message) -> None:
        thread = message.params.get("threadId")
        queue = self._listeners.get(thread) if isinstance(thread, str) else None
        if queue is not None:
            await queue.put(message)
        elif message.request_id is not None and thread is not None and len(self._listeners) == 1:
            await next(iter(self._listeners.values())).put(message)  # of a thread that the turn has started
        elif message.request_id is not None:
            task = asyncio.ensure_future(self._answer_now(message))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        elif thread is None:
            for each in self._listeners.values():
                await each.put(message)

    async def _answer_now(self, message: Message) -> None:
        result = await self._answer(message.method, message.params)
        with suppress(AppServerEnded):
            await self.reply(message, result)
        if result is None:
            for each in self._listeners.values():
                await each.put(Message(REFUSED, {"method": message.method}))


def _settle(waiting: asyncio.Future[JsonObject], message: JsonObject) -> None:
    if isinstance(error := message.get("error"), dict):
        text = visible_line(str(error.get("message") or "no reason was given")[:LAST_WORDS])
        waiting.set_exception(RequestRefused(f"The Codex CLI refused: {text.rstrip('.')}."))
    else:
        waiting.set_result(parse_object(message.get("result")))
