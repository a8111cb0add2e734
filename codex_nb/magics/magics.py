"""``%codex`` and ``%%codex``: the magics, their configuration, and where errors become one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class
from traitlets import Enum, Integer, List, Unicode

from codex_nb.errors import CodexError
from codex_nb.magics.options import APPROVALS, reference_text
from codex_nb.rendering.visible import visible
from codex_nb.words.reference import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    from codex_nb.magics.session import ShellSession


DISPLAYS = ("auto", "widget", "html", "text")


@magics_class
class CodexMagics(Magics):
    """Codex in this notebook; configure it with ``%config CodexMagics.NAME = VALUE`` or in ipython_config.py."""

    model = Unicode(None, allow_none=True, help=SETTINGS["model"]).tag(config=True)
    effort = Unicode(None, allow_none=True, help=SETTINGS["effort"]).tag(config=True)
    approval = Enum((*APPROVALS, None), default_value=None, allow_none=True, help=SETTINGS["approval"]).tag(
        config=True
    )
    profile = Unicode(None, allow_none=True, help=SETTINGS["profile"]).tag(config=True)
    display = Enum(DISPLAYS, default_value="auto", help=SETTINGS["display"]).tag(config=True)
    context_tokens = Integer(24_000, min=0, help=SETTINGS["context_tokens"]).tag(config=True)
    openai_api_key = Enum(("ignore", "use"), default_value="ignore", help=SETTINGS["openai_api_key"]).tag(
        config=True
    )
    token_provider = Unicode(None, allow_none=True, help=SETTINGS["token_provider"]).tag(config=True)
    insecure_providers = List(Unicode(), help=SETTINGS["insecure_providers"]).tag(config=True)

    def __init__(self, shell: InteractiveShell, open_session: Callable[[CodexMagics], ShellSession]) -> None:
        super().__init__(shell)
        self._open_session = open_session
        self._session: ShellSession | None = None

    @property
    def session(self) -> ShellSession:
        """The notebook's session, made by the first magic that needs it."""
        if self._session is None:
            self._session = self._open_session(self)
        return self._session

    @property
    def opened(self) -> ShellSession | None:
        """The session if one was made."""
        return self._session

    def values_of(self, setting: str) -> list[str]:
        """Name the values that a setting can have, none where it takes any."""
        values = getattr(self.traits().get(setting), "values", None) or ()
        return [value for value in values if isinstance(value, str)]

    @line_cell_magic
    def codex(self, line: str, cell: str | None = None) -> Any:
        """Ask Codex about this notebook, or manage it; ``%codex?`` shows the reference in this place."""
        from codex_nb.magics.subcommands import dispatch

        try:
            return dispatch(self.session, line, cell)
        except CodexError as error:
            raise UsageError(visible(error.line)) from None

    def close(self) -> None:
        """Let go of what the session holds."""
        if self._session is not None:
            self._session.close()
            self._session = None


CodexMagics.codex.__doc__ = reference_text()
