"""``run_python``: the model runs code in the user's own kernel, after approval."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from codex_nb.tools.approval import Approved, Effect
from codex_nb.tools.base import Arguments, NotBlank, Ports, Tool, ToolResult
from codex_nb.tools.nbmodel import output_images, output_text, truncate

if TYPE_CHECKING:
    from codex_nb.tools.nbmodel import RunResult


OUTPUT_LIMIT = 16_000
IMAGE_LIMIT = 4
IMAGE_SIZE_LIMIT = 2_000_000

_DESCRIPTION = """\
Runs Python in the user's live IPython kernel, in the user's own namespace: every variable, import and function of the \
notebook is there, and what the code defines stays there. Top-level await works. Outputs, figures and errors appear in \
the notebook and come back as the result. The user sees the code and may be asked before it runs, so keep it short \
and to the point; print only what you need to know."""


class RunPython(Arguments, extra="forbid"):
    """Code to run."""

    code: NotBlank = Field(description="Python source, as one notebook cell.")

    def to_code(self) -> str:
        """Return the code."""
        return self.code

    def with_code(self, code: str) -> RunPython:
        """Return the arguments with other code."""
        return RunPython(code=code)


async def _run(call: Approved[RunPython], ports: Ports) -> ToolResult:
    kernel = ports.kernel
    if kernel is None:
        return ToolResult("There is no IPython kernel here to run code in.", ok=False)

    def run() -> RunResult:
        result = kernel.run(call.arguments.code)
        return replace(result, outputs=ports.hidden().outputs(result.outputs))

    return run_result(await ports.main_thread.call(run))


def run_result(result: RunResult) -> ToolResult:
    """Return the text and the images of what running code gave, truncated."""
    texts = [text for output in result.outputs if (text := output_text(output, OUTPUT_LIMIT))]
    shown = output_images(result.outputs)
    images = tuple(image for image in shown if len(image) <= IMAGE_SIZE_LIMIT)[:IMAGE_LIMIT]
    if result.error and not any(output.get("output_type") == "error" for output in result.outputs):
        texts.append(result.error)
    if shown:
        unsent = len(shown) - len(images)
        note = f", {unsent} not sent (too large or too many)" if unsent else ""
        texts.append(f"[{len(shown)} figure{'s' * (len(shown) > 1)} shown in the notebook{note}]")
    text = truncate("\n".join(texts), OUTPUT_LIMIT) if texts else "(ran without any output)"
    return ToolResult(text, images=images, ok=result.error is None)


run_python = Tool(
    name="run_python",
    description=_DESCRIPTION,
    arguments=RunPython,
    effect=Effect.EXECUTE,
    call=_run,
    title="Python",
    summary="Runs Python in this notebook's kernel.",
    shows_outputs=True,
    requires="kernel",
)
