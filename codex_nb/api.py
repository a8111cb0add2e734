"""The Python API: ``ask``, ``aask``, ``astream`` and ``map`` for scripts, cells and async code."""

from __future__ import annotations

import asyncio
import atexit
import functools
import itertools
import os
import sys
import threading
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from codex_nb.config.settings import OPTIONS, Environment, approval_policy
from codex_nb.errors import CodexError, ConfigError
from codex_nb.host.cell import BlockingTurn, TurnInterrupted, run_async, run_background_calls
from codex_nb.host.engine import Mailbox, engine, refuse_inside_turn
from codex_nb.host.interrupts import deferring_interrupts
from codex_nb.host.shell import current_request, front_end, in_forked_child
from codex_nb.host.shell_channel import open_pump
from codex_nb.labels import NO_REASON
from codex_nb.magics.cell import stdin_prompt
from codex_nb.magics.options import OptionError, SessionConfig
from codex_nb.magics.session import NotebookReading, ShellSession, gather, image_url, read_for
from codex_nb.parse import picture_url
from codex_nb.profile import open_profile
from codex_nb.responses.models import price_table
from codex_nb.responses.request import Throttle, request_body
from codex_nb.session.batch import FEWEST_TO_ESTIMATE, Batch, Journal, plan_warning, price_warning, prompts_of
from codex_nb.session.batch_jobs import BatchJob, JobStore
from codex_nb.session.batch_jobs import submit as submit_bodies
from codex_nb.session.events import Answer, ApprovalRequested, TurnFinished, TurnFold
from codex_nb.session.prompt import TurnRequest
from codex_nb.session.structured_output import value_format
from codex_nb.tools.approval import ApprovalUnavailable, DenyAll, PendingApprovals
from codex_nb.tools.base import Ports, Tool, ToolSet
from codex_nb.ui.layout import ask_by_typing
from codex_nb.ui.widgets import ProgressBar

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        Callable,
        Collection,
        Coroutine,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )
    from concurrent.futures import Future
    from typing import Literal

    from codex_nb.profile import Profile
    from codex_nb.session.batch import Executor, Outcome, Progress
    from codex_nb.session.batch_jobs import JobRecord
    from codex_nb.session.events import TurnEvent

    Config = tuple[tuple[str, Any], ...]  # names and values of SessionConfig


@functools.cache
def _bare_sessions() -> dict[tuple[int, int, Config], ShellSession]:
    """Return the sessions of shells without the extension, and of no shell; they are closed when Python ends.

    The keys are the process, the shell and what is set: a forked child must not use the connections of its parent.
    """
    atexit.register(close)
    return {}


def close() -> None:
    """Close the connections that calls from Python have opened; the next call opens new ones."""
    known = _bare_sessions()
    while known:
        known.popitem()[1].close()


def _shell() -> Any:
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return None if in_forked_child(shell) else shell


def current_session(config: Config = ()) -> ShellSession:
    """Return the loaded extension's session, so that a cell and a call share one login; else a bare one, so set."""
    from codex_nb.magics.extension import loaded_session

    shell = _shell()
    found = loaded_session(shell) if shell is not None else None
    if found is not None and not found.engine.is_inherited:
        return found
    # setdefault is one step: threads that come at once get the same session, which opens nothing before it is used
    made = ShellSession(shell, SessionConfig(**dict(config)), engine(), open_profile, None, Environment())
    return _bare_sessions().setdefault((os.getpid(), id(shell), config), made)


def _request(
    session: ShellSession,
    prompt: str,
    *,
    model: str | None,
    effort: str | None,
    thread: str | None,
    context: bool,
    tools: Sequence[Tool[Any] | Callable[..., Any]],
    images: Sequence[str],
    schema: Any,
    approval: str,
    profile: str | None,
) -> tuple[Profile, TurnRequest]:
    from codex_nb.tools.base import tool

    if thread is not None:  # a conversation of its own waits for no other
        refuse_inside_turn()
    opened = session.profile(profile)
    namespace = session.namespace
    found = None
    if context and session.shell is not None:
        reading = read_for(session, prompt, None)
        found = gather(reading, opened, namespace, reading.hidden())
    request = TurnRequest(
        prompt=prompt,
        model=model or session.config.model,
        effort=effort or session.config.effort,
        thread=thread,
        context=found,
        tools=ToolSet(tuple(each if isinstance(each, Tool) else tool(each) for each in tools)),
        images=tuple(
            _given_picture(name) if name.startswith("data:") else image_url(name, namespace, session.folder)
            for name in images
        ),
        schema=schema,
        approval=approval_policy(approval, path=OPTIONS, key="approval"),
        folder=session.folder,
    )
    return opened, request


def _given_picture(url: str) -> str:
    """Return a data URL as it is sent; raises OptionError for what is no image."""
    if (picture := picture_url(url)) is None:
        raise OptionError(
            "images: a data URL is not a PNG, JPEG, GIF or WebP image in base64 that can be read.",
            hint="Give the name of a figure or a file, or another data URL.",
        )
    return picture


def _ports(session: ShellSession, mailbox: Mailbox, prompt: str) -> Ports:
    return Ports(mailbox, session.kernel, None, session.folder, NotebookReading(session, prompt).hidden)


class _AskView:
    """A view of one line, where someone sees it; approvals are typed, and the end of the turn is remembered."""

    def __init__(
        self,
        approvals: PendingApprovals,
        ask: Callable[[str], str] | None,
        show: Callable[[str], None] | None,
    ) -> None:
        self._approvals = approvals
        self._ask = ask
        self._show = show
        self._fold = TurnFold()
        self.finished: TurnFinished | None = None

    def apply(self, event: TurnEvent) -> None:
        """Take in one event."""
        if self._show is not None:
            self._fold.apply(event)
        if isinstance(event, ApprovalRequested):
            self.flush()
            decision = ask_by_typing(event.request, self._ask)
            self._approvals.resolve(event.request.call_number, decision)
        elif isinstance(event, TurnFinished):
            self.finished = event

    def flush(self) -> None:
        """Show what happens now, and at the end what it took."""
        if self._show is not None:
            from codex_nb.ui.text_view import ask_line

            self._show(ask_line(self._fold.state))

    def close(self) -> None:
        """Leave the last line."""


def _status_line(session: ShellSession) -> Callable[[str], None] | None:
    """Return what shows a line in the running cell, None where nobody sees it or other outputs are expected."""
    end = front_end(session.shell)
    is_seen = end.may_have_widgets and end.allows_input and not session.is_answering
    if not is_seen or threading.current_thread() is not threading.main_thread():
        return None
    from codex_nb.ui.widgets import StatusLine, in_output_widget

    if in_output_widget():
        return None
    session.status_line = line = session.status_line or StatusLine()
    cell = str((current_request(session.shell.kernel).get("header") or {}).get("msg_id"))
    return functools.partial(line.show, cell=cell)


def ask(prompt: str, **options: Any) -> Answer:
    """See :func:`codex_nb.ask`."""
    return _ask(current_session(), prompt, options)


def _ask(session: ShellSession, prompt: str, options: Mapping[str, Any]) -> Answer:
    profile, request = _request(session, prompt, **options)
    approvals = PendingApprovals()
    view = _AskView(approvals, stdin_prompt(session.shell), _status_line(session))
    with deferring_interrupts(), Mailbox() as mailbox, open_pump(session.shell, mailbox) as pump:
        ports = _ports(session, mailbox, prompt)
        turn = profile.assistant.turn(request, ports=ports, approver=approvals)
        # a conversation of its own waits for no other turn
        serve_others = (
            functools.partial(run_background_calls, session.shell) if request.thread else lambda: None
        )
        try:
            blocking = BlockingTurn(session.engine, view, mailbox, pump.once, while_waiting=serve_others)
            answer = blocking.run(turn)
        except TurnInterrupted as interrupt:
            interrupt.args = ("Interrupted. The error's .answer is the partial answer.",)
            raise
    if view.finished is not None:
        _raise_failure(view.finished)
    return answer


def _raise_failure(finished: TurnFinished) -> None:
    if finished.answer.status == "failed":
        raise finished.failure or CodexError(finished.error or NO_REASON)


async def astream(prompt: str, **options: Any) -> AsyncGenerator[TurnEvent, None]:
    """See :func:`codex_nb.astream`."""
    session = current_session()
    profile, request = _request(session, prompt, **options)
    with Mailbox() as mailbox:
        ports = _ports(session, mailbox, prompt)
        turn = profile.assistant.turn(request, ports=ports, approver=DenyAll())
        async with aclosing(run_async(session.engine, turn, mailbox)) as events:
            async for event in events:
                yield event


async def aask(prompt: str, **options: Any) -> Answer:
    """See :func:`codex_nb.aask`."""
    async with aclosing(astream(prompt, **options)) as events:
        async for event in events:
            if isinstance(event, TurnFinished):
                _raise_failure(event)
                if event.answer.status == "cancelled":
                    raise asyncio.CancelledError
                return event.answer
    raise CodexError("The turn ended without a result.", hint="Ask again.")


def ask_many(
    prompts: Iterable[str],
    *,
    concurrency: int,
    on_error: Literal["raise", "return"],
    executor: Executor | None,
    journal: str | os.PathLike[str] | None,
    **options: Any,
) -> Any:
    """See :func:`codex_nb.map`."""
    texts, shaped = prompts_of(prompts)
    session = current_session()
    remote = None if executor is None else _Remote(executor, session, options)
    assistant = session.profile(options["profile"]).assistant
    progress = ProgressBar(
        in_notebook=getattr(session.shell, "kernel", None) is not None, limits=lambda: assistant.limits
    )
    with _open_journal(session, journal, texts, options) as kept:
        known = [None] * len(texts) if kept is None else kept.answers
        missing = [text for text, answer in zip(texts, known, strict=True) if answer is None]
        earlier = [answer for answer in known if answer is not None]
        if kept is not None and kept.in_doubt:
            progress.note(_in_doubt(kept.in_doubt))
        if remote is None and not _is_wanted(session, progress, missing, earlier, options):
            return shaped([answer or Answer("", status="cancelled") for answer in known])
        with (
            deferring_interrupts() as interrupts,
            Mailbox() as mailbox,
            open_pump(session.shell, mailbox) as pump,
        ):

            def wait(_: Collection[Future[Any]], seconds: float) -> None:
                pump.once(seconds)
                mailbox.run_calls()
                interrupts.raise_pending()

            throttle = Throttle(concurrency)
            question = _question(session, mailbox, throttle, options)
            batch = Batch(
                texts,
                remote.begin
                if remote is not None
                else lambda prompt: session.engine.submit(question(prompt)),
                wait,
                concurrency=concurrency,
                on_error=on_error,
                on_progress=progress.update,
                wake=mailbox.wake,
                waiting_s=lambda: throttle.waiting_s,
                journal=kept,
                parse=None if remote is None else remote.parse,
            )
            try:
                return shaped(batch.run())
            except BaseException as error:
                error.answers = shaped(batch.outcomes())  # type: ignore[attr-defined]  # any exception takes one more
                raise
            finally:
                progress.close()


class _Remote:
    """An executor that asks the questions elsewhere, and what travels there with a prompt: names, texts and numbers.

    Neither a login is sent nor a class of the user's: a schema becomes its JSON schema; answers get their values here.
    """

    def __init__(self, executor: Executor, session: ShellSession, options: dict[str, Any]) -> None:
        self._executor = executor
        assistant = session.profile(options["profile"]).assistant
        self._redact = assistant.redactor_for_elsewhere(session.namespace)
        set_here = session.config
        config = (
            *((name, getattr(set_here, name)) for name in ("profile", "openai_api_key", "token_provider")),
            ("insecure_providers", tuple(set_here.insecure_providers)),
        )
        options = options | {
            "model": options["model"] or set_here.model,
            "effort": options["effort"] or set_here.effort,
        }
        self.parse: Callable[[str], Any] | None = None
        if options["schema"] is not None:
            wanted = value_format(options["schema"])
            value_format(wanted.schema)  # raises what every worker would raise
            self.parse, options["schema"] = wanted.parse, self._redact.within(wanted.schema)
        self._ask = functools.partial(ask_remotely, config, options)
        self._calls = map(f"{uuid4().hex}-{{}}".format, itertools.count())

    def begin(self, prompt: str) -> Future[Any]:
        """Begin a call, without the secrets in its prompt; it is equal to no other: of equal ones, Dask makes one."""
        return self._executor.submit(functools.partial(self._ask, next(self._calls)), self._redact(prompt))


def ask_remotely(config: Config, options: Mapping[str, Any], call: str, prompt: str) -> Outcome:
    """Ask in a worker, with its own login or the token provider that is set; ``call`` only tells calls apart.

    An error is returned, not raised: an engine logs what a call raises, with the prompt. What caused it stays here.
    """
    del call
    try:
        return _ask(current_session(config), prompt, options)
    except CodexError as error:
        error.__cause__ = error.__context__ = None
        return error.bare()


def _question(
    session: ShellSession, mailbox: Mailbox, throttle: Throttle, options: dict[str, Any]
) -> Callable[[str], Coroutine[Any, Any, Answer]]:
    async def answer(prompt: str) -> Answer:
        profile, request = _request(session, prompt, **options)
        request = replace(request, throttle=throttle)
        ports = _ports(session, mailbox, prompt)
        return await profile.assistant.answer(request, ports=ports, approver=DenyAll())

    return answer


def _is_wanted(
    session: ShellSession,
    progress: ProgressBar,
    prompts: list[str],
    earlier: list[Answer],
    options: dict[str, Any],
) -> bool:
    """Tell when a batch is more than what is left of the plan, or costs dollars; return whether to ask all the same."""
    if len(prompts) < FEWEST_TO_ESTIMATE:
        return True
    profile, request = _request(session, "", **options)

    async def estimate() -> str:
        limits = await profile.backend.usage()
        if limits is not None:
            return plan_warning(limits, len(prompts))
        resolved = await profile.assistant.resolve(request)
        if not resolved.has_listed_prices:
            return ""
        return price_warning(price_table(), resolved.model.slug, prompts, resolved.instructions, earlier)

    try:
        warning = session.wait(estimate())
    except CodexError:
        return True  # the questions themselves will tell
    if not warning:
        return True
    ask_user = stdin_prompt(session.shell)
    if ask_user is not None:
        with suppress(ApprovalUnavailable, EOFError):
            return ask_user(f"{warning}\nAsk all the same? [y/N] ").strip().lower() in {"y", "yes"}
    progress.note(warning)
    return True


def submit_many(
    prompts: Iterable[str],
    *,
    executor: Executor | None,
    journal: str | os.PathLike[str] | None,
    **options: Any,
) -> BatchJob:
    """See :func:`codex_nb.map`."""
    texts, shaped = prompts_of(prompts)
    if not texts:
        raise ConfigError("A batch job needs at least one prompt.", key="prompts", hint="Give some prompts.")
    if executor is not None or journal is not None:
        raise ConfigError(
            "map: batch=True takes no journal and no executor, because the service keeps the answers.",
            key="batch",
            hint="Leave them out; codex_nb.batch(job.id) finds the job again.",
        )
    session = current_session()
    profile, request = _request(session, "", **options)
    store = _job_store(options["profile"])

    async def submit(mailbox: Mailbox) -> JobRecord:
        client = await profile.batch_client()
        of_one_batch = replace(request, throttle=Throttle(1))
        questions = (replace(of_one_batch, prompt=prompt) for prompt in texts)
        requests = profile.assistant.requests(
            questions, ports=_ports(session, mailbox, ""), approver=DenyAll()
        )
        bodies = (request_body(each, client.backend, stream=False) async for each in requests)
        return await submit_bodies(client, bodies, store)

    record = session.wait_with(submit)
    return _job(record, store, options["schema"], options["profile"], shaped)


def find_job(job_id: str, *, schema: Any, profile: str | None) -> BatchJob:
    """See :func:`codex_nb.batch`."""
    store = _job_store(profile)
    return _job(store.load(job_id), store, schema, profile)


def _job_store(profile: str | None) -> JobStore:
    return JobStore(current_session().profile(profile).settings.codex_home / "codex_nb" / "batches")


def _job(
    record: JobRecord,
    store: JobStore,
    schema: Any,
    profile: str | None,
    shaped: Callable[[list[Outcome]], Any] = lambda outcomes: outcomes,
) -> BatchJob:
    """Return a job that may outlive the session of the moment: it asks through the one that there is then."""

    @contextmanager
    def watch() -> Iterator[Callable[[Progress], None]]:
        bar = ProgressBar(in_notebook=getattr(_shell(), "kernel", None) is not None)
        try:
            yield bar.update
        finally:
            bar.close()

    return BatchJob(
        record,
        store,
        lambda: current_session().profile(profile).batch_client(),
        run=lambda coroutine: current_session().wait(coroutine),
        watch=watch,
        parse=None if schema is None else value_format(schema).parse,
        shaped=shaped,
    )


@contextmanager
def _open_journal(
    session: ShellSession,
    path: str | os.PathLike[str] | None,
    prompts: tuple[str, ...],
    options: dict[str, Any],
) -> Iterator[Journal | None]:
    """Open the journal of a batch, with the values of its answers; None without a path."""
    if path is None:
        yield None
        return
    profile, request = _request(session, "", **options)
    parameters = session.wait(profile.assistant.parameters(request))
    journal = Journal(Path(path).expanduser(), parameters, prompts)
    try:
        if request.schema is not None:
            journal.parse(value_format(request.schema).parse)
        yield journal
    finally:
        journal.close()


def _in_doubt(count: int) -> str:
    were = "1 question was" if count == 1 else f"{count} questions were"
    return f"{were} on the way when an earlier run ended: asked again, and perhaps paid for twice."
