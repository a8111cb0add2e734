"""Codex in your notebook: ``%load_ext codex_nb``, then ``%%codex``.

The same assistant in Python::

    answer = codex_nb.ask("What is a p-value, in one sentence?")
    answer.text

Importing this package stays light: httpx, pydantic and ipywidgets are imported by the first call that needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from codex_nb.config import __version__ as __version__

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
    from os import PathLike
    from typing import Literal

    from IPython.core.interactiveshell import InteractiveShell

    from codex_nb.auth.sources import ExternalTokens, TokenRequest
    from codex_nb.errors import (
        AccountChanged,
        AgentFailed,
        ApiError,
        AuthError,
        BackendOverloaded,
        BadRequest,
        CodexError,
        ConfigError,
        ContextWindowExceeded,
        CredentialsUnreadable,
        InvalidArguments,
        LoginFailed,
        MalformedResponse,
        ModelUnavailable,
        QuotaExceeded,
        RateLimited,
        RefreshFailed,
        SignInRequired,
        StreamInterrupted,
        ToolError,
        UnknownTool,
        UsageLimitReached,
    )
    from codex_nb.magics.options import OptionError
    from codex_nb.responses.events import Usage
    from codex_nb.session.batch import Executor
    from codex_nb.session.batch_jobs import BatchJob, JobStatus
    from codex_nb.session.events import (
        Answer,
        AnswerRejected,
        ApprovalRequested,
        ApprovalResolved,
        Notice,
        ReasoningDelta,
        ReasoningDone,
        RetryScheduled,
        StepStarted,
        TextDelta,
        TextDone,
        ToolArgumentsDelta,
        ToolCall,
        ToolCallReady,
        ToolCallStarted,
        ToolFinished,
        ToolOutputDelta,
        ToolStarted,
        TurnEvent,
        TurnFinished,
        TurnStarted,
    )
    from codex_nb.session.structured_output import SchemaError
    from codex_nb.tools.base import Tool, tool
    from codex_nb.ui.account import AccountStatus

    Approval = Literal["ask", "auto", "all", "read-only"]

__all__ = [
    "AccountChanged",
    "AccountStatus",
    "AgentFailed",
    "Answer",
    "AnswerRejected",
    "ApiError",
    "ApprovalRequested",
    "ApprovalResolved",
    "AuthError",
    "BackendOverloaded",
    "BadRequest",
    "BatchJob",
    "CodexError",
    "ConfigError",
    "ContextWindowExceeded",
    "CredentialsUnreadable",
    "ExternalTokens",
    "InvalidArguments",
    "JobStatus",
    "LoginFailed",
    "MalformedResponse",
    "ModelUnavailable",
    "Notice",
    "OptionError",
    "QuotaExceeded",
    "RateLimited",
    "ReasoningDelta",
    "ReasoningDone",
    "RefreshFailed",
    "RetryScheduled",
    "SchemaError",
    "SignInRequired",
    "StepStarted",
    "StreamInterrupted",
    "TextDelta",
    "TextDone",
    "TokenRequest",
    "Tool",
    "ToolArgumentsDelta",
    "ToolCall",
    "ToolCallReady",
    "ToolCallStarted",
    "ToolError",
    "ToolFinished",
    "ToolOutputDelta",
    "ToolStarted",
    "TurnEvent",
    "TurnFinished",
    "TurnStarted",
    "UnknownTool",
    "Usage",
    "UsageLimitReached",
    "aask",
    "ask",
    "astream",
    "batch",
    "load_ipython_extension",
    "map",
    "status",
    "tool",
    "unload_ipython_extension",
]


def ask(
    prompt: str,
    *,
    model: str | None = None,
    effort: str | None = None,
    thread: str | None = None,
    context: bool = False,
    tools: Sequence[Tool[Any] | Callable[..., Any]] = (),
    images: Sequence[str] = (),
    schema: Any = None,
    approval: Approval = "ask",
    profile: str | None = None,
) -> Answer:
    """Ask and wait for the answer, in a script, in a cell or inside a running loop.

    ``context`` also sends the notebook. ``images`` are figure names, files or data URLs. ``schema`` is a pydantic
    model, a dataclass, a TypedDict or a JSON schema; ``answer.parsed`` is then a value of it. Raises CodexError.

    >>> answer = codex_nb.ask("What is a p-value, in one sentence?")
    >>> answer.status
    'completed'
    >>> codex_nb.ask("How many days has a leap year?", schema=int).parsed + 1 > 0
    True
    """
    from codex_nb import api

    options = _options(locals())
    return api.ask(prompt, **options)


async def aask(
    prompt: str,
    *,
    model: str | None = None,
    effort: str | None = None,
    thread: str | None = None,
    context: bool = False,
    tools: Sequence[Tool[Any] | Callable[..., Any]] = (),
    images: Sequence[str] = (),
    schema: Any = None,
    approval: Approval = "ask",
    profile: str | None = None,
) -> Answer:
    """Await an answer; like :func:`ask`. No approval is requested: a call that needs one is declined.

    >>> async def both():
    ...     return await asyncio.gather(codex_nb.aask("Name a river."), codex_nb.aask("Name a lake."))
    >>> [answer.status for answer in asyncio.run(both())]
    ['completed', 'completed']
    """
    from codex_nb import api

    options = _options(locals())
    return await api.aask(prompt, **options)


async def astream(
    prompt: str,
    *,
    model: str | None = None,
    effort: str | None = None,
    thread: str | None = None,
    context: bool = False,
    tools: Sequence[Tool[Any] | Callable[..., Any]] = (),
    images: Sequence[str] = (),
    schema: Any = None,
    approval: Approval = "ask",
    profile: str | None = None,
) -> AsyncGenerator[TurnEvent, None]:
    """Yield the turn's events as they arrive; the last one, TurnFinished, carries the Answer.

    >>> async def last():
    ...     return [event async for event in codex_nb.astream("Name a river.")][-1]
    >>> asyncio.run(last()).answer.status
    'completed'
    """
    from contextlib import aclosing

    from codex_nb import api

    options = _options(locals())
    async with aclosing(api.astream(prompt, **options)) as events:
        async for event in events:
            yield event


def map(  # noqa: A001  the name that the standard library has for it
    prompts: Iterable[str],
    *,
    schema: Any = None,
    concurrency: int = 8,
    on_error: Literal["raise", "return"] = "raise",
    model: str | None = None,
    effort: str | None = None,
    profile: str | None = None,
    executor: Executor | None = None,
    journal: str | PathLike[str] | None = None,
    batch: bool = False,
) -> Any:
    """Ask many questions, a few at a time, and return their answers in order, as a list.

    A pandas Series of prompts gives a Series. A rate limit is waited for once, by all of them. With
    ``on_error="return"`` a question that failed has its CodexError in its place. With ``on_error="raise"`` the first
    failure ends the batch, and its ``answers`` hold the same list so far: the answers that arrived, the failures, and
    Answers with the status "cancelled" for the rest; an interrupt returns that list. ``executor`` (anything with the
    ``submit`` of ``concurrent.futures``, such as Dask's ``client.get_executor()``) runs the questions elsewhere, each
    as :func:`ask` does, with the login or token provider of the worker. What such an engine gives up is the CodexError
    of its question, with the engine's exception as the cause.

    ``journal`` names a file to which each answer is appended as it comes. A second run with the same file asks only the
    questions that it has no answer to: it knows a question by its prompt, model, effort, schema, instructions and kind
    of account. The file holds answers, no prompts; such answers have no ``items``. One run at a time may write it.

    ``batch=True`` submits the questions to the Batch API of an API key's provider, which answers within a day for half
    the price, and returns a :class:`BatchJob` at once. ChatGPT logins have no Batch API.

    >>> answers = codex_nb.map(["Is the sky blue?", "Is grass red?"], schema=bool, concurrency=2)
    >>> [type(answer.parsed).__name__ for answer in answers]
    ['bool', 'bool']
    """
    from codex_nb import api

    options = {"thread": None, "context": False, "tools": (), "images": (), "approval": "read-only"}
    chosen = {"schema": schema, "model": model, "effort": effort, "profile": profile}
    if batch:
        return api.submit_many(prompts, executor=executor, journal=journal, **options, **chosen)
    return api.ask_many(
        prompts,
        concurrency=concurrency,
        on_error=on_error,
        executor=executor,
        journal=journal,
        **options,
        **chosen,
    )


def batch(job_id: str, *, schema: Any = None, profile: str | None = None) -> BatchJob:
    """Return the job that :func:`map` submitted with ``batch=True``, also in another Python, by its id.

    ``schema`` is that of the questions, for ``parsed``. One of the provider's own batch ids is a job, too.
    """
    from codex_nb import api

    return api.find_job(job_id, schema=schema, profile=profile)


def status(profile: str | None = None) -> AccountStatus:
    """Return who is signed in, the plan and the limits; displayed as a widget when it is the last value of a cell.

    >>> account = codex_nb.status()
    >>> account.signed_in, account.billing
    (True, 'chatgpt')
    >>> [window.label for window in account.windows]
    ['5 h', 'week']
    """
    from codex_nb.api import current_session
    from codex_nb.magics.account import account_status

    return account_status(current_session(), profile)


def _options(arguments: dict[str, Any]) -> dict[str, Any]:
    names = ("model", "effort", "thread", "context", "tools", "images", "schema", "approval", "profile")
    return {name: arguments[name] for name in names}


_MODULES = (  # of the public names that are not defined here
    "codex_nb.errors",
    "codex_nb.session.events",
    "codex_nb.session.batch_jobs",
    "codex_nb.session.structured_output",
    "codex_nb.tools.base",
    "codex_nb.ui.account",
    "codex_nb.auth.sources",
    "codex_nb.magics.options",
)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name in __all__:
        for module in _MODULES:
            if hasattr(found := import_module(module), name):
                return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics: what ``%load_ext codex_nb`` calls."""
    from codex_nb.magics.extension import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Remove the magics and close what they opened: what ``%unload_ext codex_nb`` calls."""
    from codex_nb.magics.extension import unload

    unload(shell)
