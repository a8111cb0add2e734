"""One shell's session, and the question that a cell asks in it.

The session is what the magics of a shell share: its profiles, its thread, its last answer, the engine. A question is
put together from the cell's options and from the notebook as it was read.
"""

from __future__ import annotations

import base64
import hashlib
import io
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar, cast

from codex_nb.config.settings import ApprovalPolicy
from codex_nb.errors import CodexError
from codex_nb.host.engine import Mailbox
from codex_nb.host.interrupts import deferring_interrupts
from codex_nb.host.notebook import notebook_path, read_notebook, runs_of
from codex_nb.host.shell import InteractiveKernel, front_end, is_terminal
from codex_nb.host.shell_channel import open_pump, serve_until
from codex_nb.magics.options import SUBCOMMANDS, Annotation, OptionError, known_effort
from codex_nb.session.context import build_context, mentions_in, variables_in
from codex_nb.session.prompt import (
    SOURCE_LIMIT,
    NotebookContext,
    TurnRequest,
    cell_prompt,
    explain_prompt,
    explained_data,
    failure_data,
    fix_prompt,
    is_question,
)
from codex_nb.session.thread import next_name, notebook_thread
from codex_nb.tools.base import ToolSet, builtin_tools, found_tools
from codex_nb.tools.describe import cells_that_ran
from codex_nb.tools.file_access import (
    IMAGE_LIMIT,
    FileRefused,
    is_image,
    path_of_user,
    read_apart,
    read_image,
)
from codex_nb.tools.hiding import hidden_in
from codex_nb.tools.introspection import defines, library_of, snapshot
from codex_nb.tools.nbmodel import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from codex_nb.host.engine import Engine
    from codex_nb.host.notebook import DocumentPort, OutputRecorder
    from codex_nb.magics.options import CellOptions, SessionConfig
    from codex_nb.profile import Profile
    from codex_nb.session.events import Answer, FooterStyle
    from codex_nb.session.mcp import ServerState
    from codex_nb.tools.base import Tool
    from codex_nb.tools.describe import NewCell, RunResult
    from codex_nb.tools.hiding import Hidden, VisibleVariables
    from codex_nb.tools.nbmodel import Cell, NotebookSnapshot
    from codex_nb.ui.transcript import Transcript
    from codex_nb.ui.widgets import StatusLine

    # opens the profile of that name, with settings that override config.toml, a token provider and the notebook's
    # folder; raises ConfigError
    OpenProfile = Callable[[str | None, Mapping[str, Any], str | None, Path | None], Profile]

T = TypeVar("T")

OPEN_PROFILES = 8
UNDOABLE_ANSWERS = 50


@dataclass
class RunCode:
    """The code that one answer ran, in order, with what it gave; ``asking`` is the id of the cell that asked."""

    asking: str | None = None
    runs: list[tuple[str, RunResult]] = field(default_factory=list)

    def note(self, code: str, result: RunResult) -> None:
        """Note one code that ran."""
        self.runs.append((code, result))

    def cells(self) -> tuple[NewCell, ...]:
        """Return a cell for each code that ran without an error."""
        return cells_that_ran(self.runs)


class ShellSession:
    """What the magics of one shell share. Its methods run on the thread of the cell."""

    def __init__(
        self,
        shell: Any,
        config: SessionConfig,
        engine: Engine,
        open_profile: OpenProfile,
        recorder: OutputRecorder | None,
        environ: Mapping[str, str],
    ) -> None:
        self.shell = shell
        self.config = config
        self.engine = engine
        self.recorder = recorder
        self.environ = environ
        self.kernel = InteractiveKernel(shell) if shell is not None else None
        self.last: Answer | None = None
        self._questions = count(1)
        self._answered: dict[str, int] = {}  # the number of the question to whose answer a name is bound
        self.last_code = RunCode()  # what the last answer ran
        self.thread: str | None = None
        self.unanswered: Transcript | None = None  # the last transcript, if the front end did not answer it
        self.status_line: StatusLine | None = None  # of the last cell that has called ask
        self.is_answering = False  # in a cell that waits for its answer
        self._closes_later = False
        self.warned_of_tags = False  # that they are not visible here
        self.switched_off: set[str] = set()  # tools and MCP servers, by name
        self.background: list[tuple[Mailbox, Future[Answer]]] = []
        self._changes: list[list[dict[str, Any]]] = []  # of cells, by each answer, the newest last
        self._cells: dict[tuple[str | None, int | None], Cell] = {}  # at the last question
        self._asked: dict[str, str] = {}  # each question with a hash of its answer, the newest last
        self._lock = threading.Lock()  # calls from Python may come on any thread
        self._open_profile = open_profile
        self._profiles: dict[tuple[object, ...], Profile] = {}

    def profile(self, profile: str | None = None) -> Profile:
        """Open a profile once; None is the configured one."""
        config = self.config
        name, provider = profile or config.profile, config.token_provider
        overrides = {
            "insecure_providers": tuple(config.insecure_providers) or None,
            "transport": config.transport,
            "agent_config": config.agent_config,
            "use_openai_api_key_env": config.openai_api_key == "use" or None,
        }
        key = (name, provider, self.environ.get("CODEX_HOME"), *overrides.values())
        with self._lock:
            opened = self._profiles.pop(key, None)
            if opened is None:
                self._let_go_of_profiles()
                opened = self._open_profile(name, overrides, provider, self.folder)
            self._profiles[key] = opened  # the last one used is the last one let go
            return opened

    def _let_go_of_profiles(self) -> None:
        """Close the profiles that were not used for the longest time, so that a few connections stay open at most."""
        idle = [key for key, profile in self._profiles.items() if not profile.assistant.is_busy]
        for key in idle[: max(0, len(self._profiles) + 1 - OPEN_PROFILES)]:
            self.engine.submit(self._profiles.pop(key).close())

    @property
    def own_thread(self) -> str:
        """The name of this notebook's own thread."""
        path = self.path
        return notebook_thread(str(path) if path else None)

    @property
    def path(self) -> Path | None:
        """The notebook's file, None where there is none."""
        return notebook_path(self.shell, self.environ) if self.shell is not None else None

    @property
    def folder(self) -> Path | None:
        """The notebook's folder."""
        path = self.path
        return path.parent if path is not None else None

    @property
    def namespace(self) -> dict[str, Any]:
        """The user's own variables, without those that IPython put there."""
        if self.shell is None:
            return {}
        hidden = self.shell.user_ns_hidden
        # a copy in one step: other threads may add names meanwhile
        return {name: value for name, value in snapshot(self.shell.user_ns).items() if name not in hidden}

    def known_cells(self, cells: Iterable[Cell]) -> tuple[Cell, ...]:
        """Return cells; those that are as at the last question are the same objects, which remember their texts."""
        before = self._cells
        named = [((cell.cell_id, cell.execution_count), cell) for cell in cells]
        known = [(key, same if (same := before.get(key)) == cell else cell) for key, cell in named]
        self._cells = dict(known)
        return tuple(cell for _, cell in known)

    def forget_threads(self, codex_home: Path, name: str | None) -> int:
        """Delete a thread of a CODEX_HOME, None for all; return how many saved answers went with it."""
        with self._lock:
            opened = [each for each in self._profiles.values() if each.settings.codex_home == codex_home]
        try:
            return sum(self.engine.run(each.assistant.forget(name)) for each in opened)
        except OSError as error:
            raise CodexError(
                f"Not everything could be deleted: {error.strerror or type(error).__name__}.",
                hint=f"Make {codex_home / 'codex_nb'} writable and delete again.",
            ) from error

    def new_thread(self) -> str:
        """Switch to a thread that is still empty; return its name."""
        taken = self.profile().assistant.threads.names()
        self.thread = next_name(self.thread or self.own_thread, taken)
        return self.thread

    @property
    def has_user(self) -> bool:
        """Whether the user can be asked by ``input()``."""
        return front_end(self.shell).allows_input

    @property
    def is_terminal(self) -> bool:
        """Whether IPython runs in a terminal, where no output is saved."""
        return getattr(self.shell, "kernel", None) is None and is_terminal(sys.stdout)

    @property
    def names_in_full(self) -> bool:
        """Whether outputs name the account and the workspace in full: where none is saved, or the user asks for it."""
        return self.config.footer == "account" or self.is_terminal

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the engine and wait for it, serving widgets meanwhile; an interrupt cancels it."""
        begun: list[Mailbox] = []

        def begin(mailbox: Mailbox) -> Coroutine[Any, Any, T]:
            begun.append(mailbox)
            return coroutine

        try:
            return self.wait_with(begin)
        finally:
            if not begun:
                coroutine.close()  # else Python complains of it beside the error

    def wait_with(self, make: Callable[[Mailbox], Coroutine[Any, Any, T]]) -> T:
        """Like :meth:`wait`, for a coroutine that calls functions on this thread through the mailbox it is given."""
        with (
            deferring_interrupts() as interrupts,
            Mailbox() as mailbox,
            open_pump(self.shell, mailbox) as pump,
        ):
            future = self.engine.submit(make(mailbox))
            future.add_done_callback(lambda _: mailbox.wake())
            try:
                while not future.done():
                    interrupts.raise_pending()
                    pump.once(0.1)
                    mailbox.run_calls()
                return future.result()
            except CodexError as error:
                raise error.bare() from error.__cause__
            finally:
                future.cancel()

    def wait_until(self, is_over: Callable[[], bool], seconds: float) -> None:
        """Serve widgets until something is over, or the time is up."""
        with deferring_interrupts(), Mailbox() as mailbox, open_pump(self.shell, mailbox) as pump:
            serve_until(pump, is_over, seconds)

    def may_use_cache(self, thread: str) -> bool:
        """Whether a saved answer may be shown: no other notebook writes to the thread, no answer is on its way."""
        is_own = thread == self.own_thread and all(answer.done() for _, answer in self.background)
        return is_own and self.config.replay == "auto"

    def add_background(self, mailbox: Mailbox, answer: Future[Answer]) -> None:
        """Note an answer that goes on below its cell; those that have ended are let go."""
        running = [each for each in self.background if not each[1].done()]
        self.background = [*running, (mailbox, answer)]

    def begin_changes(self) -> list[dict[str, Any]]:
        """Return the list for what the next answer changes in the notebook's cells."""
        self._changes = [each for each in self._changes if each][-UNDOABLE_ANSWERS:]
        self._changes.append([])
        return self._changes[-1]

    def changes(self, answers: int) -> list[list[dict[str, Any]]]:
        """Return what the last answers that changed cells have changed, the newest last."""
        return [each for each in self._changes if each][-answers:]

    def earlier(self, question: str) -> tuple[tuple[str, str], ...]:
        """Return what else this session has asked, each question with a hash of its answer."""
        return tuple(each for each in self._asked.items() if each[0] != question)

    def start_question(self) -> int:
        """Return the number of a question that is asked now."""
        return next(self._questions)

    def keep(self, question: str, answer: Answer, number: int, code: RunCode) -> None:
        """Make an answer the last one: ``_codex`` in the user's namespace."""
        self._asked.pop(question, None)
        self._asked[question] = hashlib.sha256(answer.text.encode("utf-8", "replace")).hexdigest()
        if self.bind("_codex", answer, number):
            self.last, self.last_code = answer, code

    def bind(self, name: str, value: Any, number: int) -> bool:
        """Bind a name in the user's namespace, unless a question that was asked later has done so."""
        with self._lock:  # a turn in the background ends on another thread
            is_newest = number >= self._answered.get(name, 0)
            if is_newest:
                self._answered[name] = number
                self.shell.user_ns[name] = value
        return is_newest

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Answer in the block."""
        self.is_answering = True
        try:
            yield
        finally:
            self.is_answering = False
            if self._closes_later:
                self.close()

    def close(self) -> None:
        """Stop background turns and close all profiles, unless they are those of the parent of a forked child."""
        if self.engine.is_inherited:
            return
        if self.is_answering:  # the turn whose code unloads the extension ends first
            self._closes_later = True
            return
        for mailbox, _ in self.background:
            mailbox.request_stop()
        profiles, self._profiles = list(self._profiles.values()), {}
        for profile in profiles:
            self.engine.run(profile.close())


TAGS_NOT_VISIBLE = (
    "Cell tags are not visible in this run. "
    "To exclude a cell, use the comment line # codex-skip instead of the tag."
)


@dataclass(frozen=True)
class NotebookReading:
    """The notebook as it was read for a question; ``snapshot`` is None where there is none."""

    session: ShellSession
    prompt: str
    snapshot: NotebookSnapshot | None = None

    @cached_property
    def folder(self) -> Path | None:
        """The notebook's folder."""
        return self.session.folder

    @property
    def runs(self) -> tuple[Run, ...]:
        """What has run in this kernel, oldest first."""
        return runs_of(self.session.shell, self.session.recorder)

    def hidden(self) -> Hidden:
        """Return what is excluded at this moment, except what the prompt mentions; on the main thread."""
        mentions = mentions_in(self.prompt, self.folder)
        return hidden_in(self.snapshot, self.runs).allowing(variables_in(mentions))

    @property
    def is_open(self) -> bool:
        """Whether it was read from the document that is open in the front end."""
        return self.snapshot is not None and self.snapshot.origin == "document"

    @property
    def can_run(self) -> bool:
        """Whether the front end can run cells."""
        return self.snapshot is not None and self.snapshot.can_run

    @property
    def sees_no_tags(self) -> bool:
        """Whether the tags of a notebook are unknown: nbclient and papermill send only the code of a cell."""
        end = front_end(self.session.shell)
        is_headless = end.has_kernel and end.cell_id is None and not end.allows_input
        return is_headless and self.snapshot is not None and self.snapshot.origin == "kernel"


def read_for(session: ShellSession, prompt: str, document: DocumentPort | None) -> NotebookReading:
    """Read the notebook as it is now; cells that the prompt mentions are read in full."""
    if session.shell is None:
        return NotebookReading(session, prompt)
    whole = [int(each.target.strip("[]")) for each in mentions_in(prompt) if each.kind == "cell"]
    snapshot = read_notebook(session.shell, document, session.recorder, session.environ, whole=whole)
    if snapshot.origin != "file":  # a file may be large, and nothing else holds what was read of it
        snapshot = replace(snapshot, cells=session.known_cells(snapshot.cells))
    return NotebookReading(session, prompt, snapshot)


_CHANNELS = (1, 3, 4)
_PICTURED = frozenset({"matplotlib", "PIL", "plotly", "altair"})
_DRAWN_BY = ("savefig", "get_figure", "getbands", "to_image", "to_json")
_DRAWERS = {"plotly": "kaleido", "altair": "vl-convert-python"}
_IMAGE_HINT = "Name a figure, or a .png, .jpg, .gif or .webp file."


def make_question(session: ShellSession, options: CellOptions, profile: Profile) -> TurnRequest:
    """Put together what the cell asks, without the notebook yet; raises OptionError for what does not exist.

    An option wins over the session's setting, and that one over config.toml. Runs on the main thread: it reads the
    live namespace.
    """
    config, namespace = session.config, session.namespace
    thread = options.thread or session.thread or session.own_thread
    approval = options.approval or config.approval or profile.settings.approval
    model = options.model or config.model
    if effort := options.effort or config.effort:
        source = "%%codex: invalid --effort" if options.effort else "CodexMagics.effort: unknown effort"
        known_effort(effort, profile.backend.efforts(model), source=source)
    return TurnRequest(
        prompt=cell_prompt(options.prompt) if options.cell else options.prompt,
        model=model,
        effort=effort,
        thread=thread,
        images=tuple(image_url(name, namespace, session.folder) for name in options.images),
        schema=Annotation(options.schema, namespace).value() if options.schema else None,
        approval=ApprovalPolicy.READ_ONLY if options.cell else ApprovalPolicy(approval),
        folder=session.folder,
        use_cache=session.may_use_cache(thread),
        fresh=options.fresh,
        agent=options.agent or config.engine == "agent",
        earlier=session.earlier(options.prompt),
        footer=cast("FooterStyle", config.footer),
    )


def with_notebook(
    question: TurnRequest, options: CellOptions, profile: Profile, reading: NotebookReading
) -> TurnRequest:
    """Add what comes from the notebook as it was read: the context, the user's own tools, the subject.

    Raises CellSkipped for a subject that the user excludes.
    """
    hidden, namespace = reading.hidden(), reading.session.namespace
    visible = hidden.visible(namespace)
    return replace(
        question,
        data=options.subject(reading) if options.subject is not None else (),
        tools=offered_tools(visible) if options.tools else ToolSet(),
        uses_tools=options.tools,
        uses_servers=options.tools and options.mcp,
        searches=options.search if options.tools else False,
        without=frozenset(reading.session.switched_off),
        context=(
            gather(reading, profile, namespace, hidden, visible, is_hashed=question.use_cache)
            if options.context
            else None
        ),
    )


def gather(
    reading: NotebookReading,
    profile: Profile,
    namespace: Mapping[str, Any],
    hidden: Hidden,
    visible: VisibleVariables | None = None,
    *,
    is_hashed: bool = False,
) -> NotebookContext:
    """Put together what is sent from the notebook and the namespace; ``is_hashed`` for an answer that may be saved.

    ``visible`` is what ``hidden`` leaves of the namespace, where that is known.
    """
    session = reading.session
    return build_context(
        reading.snapshot,
        namespace,
        reading.prompt,
        redactor=profile.assistant.redactor(),
        folder=reading.folder,
        budget=session.config.context_tokens,
        hidden=hidden,
        visible=visible,
        subcommands={name for name, each in SUBCOMMANDS.items() if not each.asks},
        is_hashed=is_hashed,
        draw=mentioned_picture,
    )


def offered_tools(namespace: Mapping[str, Any], more: Sequence[Tool[Any]] = ()) -> ToolSet:
    """Offer the notebook's tools and the user's own: every ``@codex_nb.tool`` in the namespace."""
    return builtin_tools().with_tools([*found_tools(namespace), *more])


def server_states(session: ShellSession) -> tuple[ServerState, ...]:
    """Return what there is of the MCP servers, without starting any."""
    profile = session.profile()
    if not profile.settings.mcp_servers:
        return ()
    return profile.assistant.servers().states(session.switched_off)


def known_tools(session: ShellSession) -> list[Tool[Any]]:
    """Return the tools of the notebook, the user's own, and those of MCP servers that run."""
    from_servers = (tool for state in server_states(session) for tool in state.tools)
    return [*offered_tools(session.namespace), *from_servers]


def switchable(session: ShellSession) -> list[str]:
    """Return the names that ``%codex tools off`` takes: of tools, and of MCP servers."""
    servers = (state.name for state in server_states(session))
    names = [*(tool.name for tool in known_tools(session)), *servers, *session.switched_off]
    return list(dict.fromkeys(names))


def image_url(name: str, namespace: Mapping[str, Any], folder: Path | None) -> str:
    """Make a data URL of a figure or image in the namespace, or of a file; raises OptionError."""
    if name in namespace:
        return _picture_url(name, namespace[name])
    missing = f"--image {name}: neither a figure in your namespace nor an image file."
    if not is_image(name):
        raise OptionError(missing, hint=_IMAGE_HINT)
    try:
        return read_apart(lambda: read_image(path_of_user(name, folder)))
    except FileRefused as refusal:
        raise OptionError(f"--image: {name} {refusal}.", hint=_IMAGE_HINT) from refusal
    except OSError as error:
        raise OptionError(missing, hint=_IMAGE_HINT) from error


def mentioned_picture(name: str, value: object) -> str | None:
    """Draw a figure, a chart or an image of a well-known library as a data URL; None for anything else."""
    if library_of(value) not in _PICTURED or not any(defines(type(value), each) for each in _DRAWN_BY):
        return None
    return _picture_url(name, value)


def _picture_url(name: str, value: Any) -> str:
    """Draw what a name holds as the data URL of a PNG; raises OptionError that says why not."""
    try:
        picture = _drawn(value)
    except Exception as error:
        library = type(value).__module__.partition(".")[0]
        reason = str(error).strip().partition("\n")[0].rstrip(".")[:200] or type(error).__name__
        drawer = _DRAWERS.get(library)
        hint = f"{library} draws pictures with {drawer}: pip install {drawer}." if drawer else _IMAGE_HINT
        raise OptionError(
            f"--image {name}: {type(value).__name__} cannot be drawn: {reason}.", hint=hint
        ) from error
    if picture is None:
        raise OptionError(
            f"--image {name}: {type(value).__name__} is neither a figure nor an image.", hint=_IMAGE_HINT
        )
    if len(picture) > IMAGE_LIMIT:
        raise OptionError(
            f"--image {name}: it is larger than {IMAGE_LIMIT // 1_000_000} MB.", hint="Make it smaller."
        )
    return f"data:image/png;base64,{base64.b64encode(picture).decode('ascii')}"


def _drawn(value: Any) -> bytes | None:
    """Return a figure, a chart or a picture as a PNG; None for what is neither."""
    if isinstance(value, type):
        return None
    buffer = io.BytesIO()
    drawable = _first_axes(value)
    figure: Any = drawable if hasattr(drawable, "savefig") else getattr(drawable, "figure", None)
    if hasattr(figure, "savefig"):
        figure.savefig(buffer, format="png", bbox_inches="tight")
    elif hasattr(value, "to_image"):  # plotly
        return bytes(value.to_image(format="png"))
    elif type(value).__module__.startswith("altair."):
        value.save(buffer, format="png")
    elif hasattr(value, "getbands"):  # Pillow
        _picture(value).save(buffer, format="PNG")
    elif _array_kind(value):
        _picture_of_array(value).save(buffer, format="PNG")
    elif callable(shown := getattr(value, "_repr_png_", None)) and (encoded := shown()):
        encoded = encoded[0] if isinstance(encoded, tuple) else encoded
        return base64.b64decode(encoded) if isinstance(encoded, str) else bytes(encoded)
    return buffer.getvalue() or None


def _first_axes(value: Any) -> Any:
    """Return the first of several axes, as ``plt.subplots`` gives them; anything else as it is."""
    while (isinstance(value, list | tuple) or _array_kind(value) == "O") and len(value):
        value = value[0]
    return value


def _array_kind(value: Any) -> str:
    """Return the kind of numbers in an array, of numpy or like it; empty for everything else, a frame too."""
    is_array = hasattr(value, "__array__") and hasattr(value, "ndim") and not hasattr(value, "iloc")
    return str(getattr(getattr(value, "dtype", None), "kind", "?")) if is_array else ""


def _picture(image: Any) -> Any:
    """Return an image of Pillow in a mode that PNG knows, its numbers scaled to what a screen shows."""
    if 0 in image.size:
        raise ValueError("it has no pixels")
    if image.mode in {"1", "L", "LA", "P", "RGB", "RGBA"}:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        return _picture_of_array(image)
    return image.convert({"PA": "RGBA", "RGBa": "RGBA", "La": "LA"}.get(image.mode, "RGB"))


def _picture_of_array(value: Any) -> Any:
    import numpy as np
    from PIL import Image

    array = np.asarray(value)
    if array.ndim == 3 and array.shape[0] in _CHANNELS and array.shape[2] not in _CHANNELS:  # noqa: PLR2004 -- channels first
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 3 and array.shape[2] == 1:  # noqa: PLR2004 -- as above
        array = array[:, :, 0]
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in _CHANNELS)  # noqa: PLR2004 -- rows, columns, channels
    if not is_picture or array.dtype.kind not in "biuf":
        raise ValueError(
            f"an array of the shape {array.shape} and the type {array.dtype} is no picture, which has rows and columns"
            " of numbers, or of three or four numbers each"
        )
    if not array.size:
        raise ValueError("it has no pixels")
    return Image.fromarray(_as_bytes(array))


def _as_bytes(array: Any) -> Any:
    """Return the numbers of a picture as 0 to 255: fractions up to 1 are multiplied, all others beyond are scaled."""
    import numpy as np

    if array.dtype == np.uint8:
        return array
    numbers = np.nan_to_num(array.astype("float64"), posinf=0, neginf=0)
    low, high = float(numbers.min()), float(numbers.max())
    if array.dtype.kind == "b" or (array.dtype.kind == "f" and low >= 0 and high <= 1):
        numbers = numbers * 255
    elif low < 0 or high > 255:  # noqa: PLR2004 -- the largest byte
        numbers = (numbers - low) * (255 / (high - low or 1))
    return numbers.round().astype("uint8")


def last_failure(runs: Iterable[Run]) -> Run | None:
    """Return the newest failed run of a cell that has not run since; cells that ask Codex do not count.

    Where the front end gives cells no ids, the same text is the same cell.
    """
    newest: dict[tuple[str | None, str], Run] = {}
    for run in runs:
        if not (run.deleted or is_question(run.cell)):
            key = (run.cell.cell_id, "" if run.cell.cell_id is not None else run.cell.source.strip())
            newest.pop(key, None)
            newest[key] = run
    return next((run for run in reversed(newest.values()) if run.error), None)


def explained_run(snapshot: NotebookSnapshot | None, runs: Iterable[Run]) -> Run | None:
    """Return the cell above the asking one in the open notebook or its file; without those, the one that ran last."""
    asked_about = [run for run in runs if not (run.deleted or is_question(run.cell))]
    if snapshot is None or snapshot.current is None or snapshot.origin == "kernel":
        return asked_about[-1] if asked_about else None
    above = (each for each in reversed(snapshot.cells[: snapshot.current]) if each.source.strip())
    cell = next((each for each in above if each.kind == "code" and not is_question(each)), None)
    if cell is None:
        return None
    source, ids = cell.source.strip(), {None, cell.cell_id}
    ran = [run for run in asked_about if run.cell.source.strip() == source and run.cell.cell_id in ids]
    return Run(cell, error=ran[-1].error if ran else "")


def fix_options(options: CellOptions, failed: Run, *, below: bool = False) -> CellOptions:
    """Return the question for a correction of a failed run, in place or below; its subject raises CellSkipped."""
    cell = failed.cell

    def subject(reading: NotebookReading) -> tuple[tuple[str, str], ...]:
        cell_id = cell.cell_id if reading.is_open and not below else None
        return (("the failed cell", failure_data(failed, reading.hidden(), cell_id)),)

    shown = {cell.cell_id: cell.source} if cell.cell_id and len(cell.source) <= SOURCE_LIMIT else {}
    prompt = fix_prompt(options.prompt, below=below)
    return replace(options, prompt=prompt, subject=subject, shown_cells=shown)


def explain_options(options: CellOptions, explained: Callable[[NotebookReading], Run | None]) -> CellOptions:
    """Return the question for an explanation of a run, or of what the prompt says."""

    def subject(reading: NotebookReading) -> tuple[tuple[str, str], ...]:
        run = explained(reading)
        return () if run is None else (("the cell to explain", explained_data(run, reading.hidden())),)

    prompt = explain_prompt(options.prompt)
    return replace(options, prompt=prompt, subject=None if options.prompt else subject)
