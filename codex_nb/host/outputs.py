"""Output messages of a kernel, folded into nbformat output dicts as a notebook would hold them."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

OUTPUT_MESSAGES = frozenset(
    {"stream", "display_data", "update_display_data", "execute_result", "error", "clear_output"}
)

_IMAGE_LIMIT = 8_000_000  # characters of base64


@dataclass
class _Stream:
    """A stream's text, its middle cut away once it is longer than ``limit`` characters."""

    name: str
    limit: int
    text: str = ""
    cut: int = 0

    @property
    def size(self) -> int:
        return len(self.text)

    def add(self, more: str) -> None:
        self.text += more
        if len(self.text) > 2 * self.limit:
            half = self.limit // 2
            self.cut += len(self.text) - 2 * half
            self.text = self.text[:half] + self.text[-half:]

    def output(self) -> dict[str, Any]:
        text = self.text
        if self.cut:
            half = self.limit // 2
            text = f"{text[:half]}\n… [{self.cut:,} characters left out] …\n{text[half:]}"
        return {"output_type": "stream", "name": self.name, "text": text}


@dataclass
class _Display:
    """Anything but a stream; ``display_id`` is how a later message finds it again."""

    content: dict[str, Any]
    display_id: str | None = None
    size: int = 0

    def __post_init__(self) -> None:
        data = (self.content.get("data") or {}).values()
        self.size = sum(map(_length, data)) + _length(self.content.get("traceback"))

    def output(self) -> dict[str, Any]:
        return self.content


@dataclass
class OutputFold:
    """The outputs of one piece of code, in order, of bounded size.

    ``text_limit`` bounds each stream and each textual mime type in characters, ``count_limit`` the number of outputs
    (the newest are kept). Messages may come from several threads, one at a time.
    """

    text_limit: int = 200_000
    count_limit: int = 500
    dropped: int = 0
    _outputs: list[_Stream | _Display] = field(default_factory=list)
    _clear_next: bool = False

    def add(self, kind: str, content: Mapping[str, Any]) -> None:
        """Take in a message of one of the :data:`OUTPUT_MESSAGES`."""
        match kind:
            case "clear_output":
                self.clear(wait=bool(content.get("wait")))
            case "update_display_data":
                self._update(content)
            case "stream":
                self._stream(str(content.get("name", "stdout")), str(content.get("text", "")))
            case _:
                self._append(_Display(self._output(kind, content), _display_id(content)))

    def clear(self, *, wait: bool) -> None:
        """Forget the outputs, at once or (``wait``) when the next one comes."""
        self._clear_next = wait
        if not wait:
            self._outputs.clear()

    def outputs(self) -> tuple[dict[str, Any], ...]:
        """Return the outputs so far as nbformat dicts."""
        return tuple(output.output() for output in list(self._outputs))

    def size(self) -> int:
        """Return about how many characters are held."""
        return sum(each.size for each in self._outputs)

    def has_display(self, content: Mapping[str, Any]) -> bool:
        """Tell whether an ``update_display_data`` message means one of these outputs."""
        display_id = _display_id(content)
        return any(isinstance(each, _Display) and each.display_id == display_id for each in self._outputs)

    def _stream(self, name: str, text: str) -> None:
        last = self._outputs[-1] if self._outputs and not self._clear_next else None
        if not isinstance(last, _Stream) or last.name != name:
            last = _Stream(name, self.text_limit)
            self._append(last)
        last.add(text)

    def _append(self, output: _Stream | _Display) -> None:
        if self._clear_next:
            self.clear(wait=False)
        self._outputs.append(output)
        if len(self._outputs) > self.count_limit:
            del self._outputs[0]
            self.dropped += 1

    def _update(self, content: Mapping[str, Any]) -> None:
        display_id = _display_id(content)
        for index, output in enumerate(self._outputs):
            if isinstance(output, _Display) and display_id is not None and output.display_id == display_id:
                self._outputs[index] = _Display({**output.content, **self._bundle(content)}, display_id)

    def _output(self, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
        if kind == "error":
            keys = ("ename", "evalue", "traceback")
            return {"output_type": "error", **{key: content.get(key) for key in keys}}
        output = {"output_type": kind, **self._bundle(content)}
        if kind == "execute_result":
            output["execution_count"] = content.get("execution_count")
        return output

    def _bundle(self, content: Mapping[str, Any]) -> dict[str, Any]:
        data = content.get("data") or {}
        kept = {mime: value for mime, value in data.items() if self._fits(mime, value)}
        if data and not kept:
            kept = {
                "text/plain": str(data.get("text/plain", "[an output too large to keep]"))[: self.text_limit]
            }
        return {"data": kept, "metadata": content.get("metadata") or {}}

    def _fits(self, mime: str, value: Any) -> bool:
        return _length(value) <= (_IMAGE_LIMIT if mime.startswith("image/") else self.text_limit)


def _display_id(content: Mapping[str, Any]) -> str | None:
    transient = content.get("transient") or {}
    return transient.get("display_id")


def error_line(error: BaseException) -> str:
    """Return an exception as the last line of its traceback, whatever its ``__str__`` does."""
    return "".join(traceback.format_exception_only(error)[-1:]).strip()


def _length(value: Any) -> int:
    """Return about how many characters a JSON value takes, without writing it."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list | tuple):
        return sum(map(_length, value))
    if isinstance(value, dict):
        return sum(len(key) + _length(each) for key, each in value.items())
    return 8
