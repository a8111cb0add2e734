"""Code as it arrives: highlighted again when it has doubled, plain in between, highlighted whole at its end."""

from __future__ import annotations

from codex_nb.rendering.blocks import BlocksUpdate, worth_drawing
from codex_nb.rendering.highlight import code_html
from codex_nb.rendering.sanitize import clean


class GrowingCode:
    """Renders a growing piece of code in one language, at linear cost."""

    def __init__(self, language: str) -> None:
        self._language = language
        self._code = ""
        self._drawn = 0
        self._shown = 0

    def feed(self, text: str) -> BlocksUpdate:
        """Take more code, return what changed."""
        self._code += text
        length = len(self._code)
        if worth_drawing(length, self._drawn, is_code=True):
            return BlocksUpdate(open=self.redraw())
        tail = self._code[self._shown :]
        self._shown = length
        return BlocksUpdate(tail=tail)

    def redraw(self) -> str:
        """Return the HTML of the code as it stands."""
        self._drawn = self._shown = len(self._code)
        return safe_code(self._code, self._language)


def safe_code(code: str, language: str = "") -> str:
    """Return code as sanitised, highlighted HTML."""
    return clean(code_html(code, language))
