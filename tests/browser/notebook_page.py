"""An open notebook: the page, its cells and outputs, the keyboard and the toolbar."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

import nbformat

from tests.patience import PATIENCE_MS
from tests.tiers import ARTIFACTS, TIERS_FOLDER

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import ConsoleMessage, Error, Locator, Page

    from tests.browser.jupyter_server import JupyterServer

AXE = TIERS_FOLDER / "axe" / "node_modules" / "axe-core" / "axe.min.js"
POLL_MS = 100  # a look at every frame would make the page draw frames that nothing else asks for
KERNEL_STATUS = (
    "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status ?? 'none'"
)
# Notebook 7.6 raises this itself while it loads, before any cell has run.
FRONT_ENDS_OWN = "Cannot read properties of undefined (reading 'schema')"
# JupyterLab's body has no height, which axe-core takes for a page of which nothing can be seen.
VIOLATIONS = """async part => {
  document.body.style.minHeight = '100vh';
  try {
    return (await axe.run(part)).violations;
  } finally {
    document.body.style.minHeight = '';
  }
}"""
# JupyterLab says this when a kernel is restarted while a message to a widget of the old one is on its way.
COMM_OF_THE_OLD_KERNEL = "Comm not found for comm id "
IS_DIRTY = "() => window.jupyterapp.shell.currentWidget.context.model.dirty"


def show_on(page: Page, size: tuple[int, int], scheme: Literal["dark", "light"]) -> None:
    """Give the window another size and theme, once JupyterLab has removed what it covers the change before with."""
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme=scheme)
    page.locator(f"body[data-jp-theme-light='{str(scheme == 'light').lower()}']").wait_for(state="attached")


class NotebookPage:
    """One open notebook; ``page`` is Playwright's own page for all that is not here.

    Cells count from 0. ``console_errors`` are the page's error lines so far, ``script_errors`` its uncaught exceptions.
    """

    def __init__(self, page: Page, server: JupyterServer, file: Path) -> None:
        self.page = page
        self.server = server
        self.file = file
        self.console_errors: list[str] = []
        self.script_errors: list[str] = []
        page.on("console", self._note_console)
        page.on("pageerror", self._note_exception)

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.console_errors.append(message.text)

    def _note_exception(self, error: Error) -> None:
        if str(error) != FRONT_ENDS_OWN:
            self.script_errors.append(str(error))

    def complaints(self) -> list[str]:
        """Return what the page complained of in its console so far, but for what is the front end's own."""
        errors = [line for line in self.console_errors if not line.startswith(COMM_OF_THE_OLD_KERNEL)]
        return [*self.script_errors, *errors]

    def open(self, *, wait_for_kernel: bool = True) -> None:
        """Open the notebook in the front end; by default until its kernel is idle."""
        self.page.goto(self.server.address_of(self.file.name))
        self._wait_until_drawn(wait_for_kernel=wait_for_kernel)

    def reload(self, *, wait_for_kernel: bool = False) -> None:
        """Reload the page, as a user does in the middle of an answer."""
        self.page.reload()
        self._wait_until_drawn(wait_for_kernel=wait_for_kernel)

    def reopen_without_kernel(self) -> None:
        """Open the saved file again as a reader does who has not got its kernel."""
        self.server.stop_kernels()
        self.server.forget_kernel(self.saved().metadata.kernelspec.name)
        self.page.goto(self.server.address_of(self.file.name))
        self.page.get_by_role("dialog").get_by_role("button", name="No Kernel").click()
        self._wait_until_drawn(wait_for_kernel=False)

    def distrust(self) -> None:
        """Change the file outside the front end, so that its outputs are no longer trusted when it is opened."""
        notebook = self.saved()
        notebook.metadata["edited_elsewhere"] = True
        nbformat.write(notebook, self.file)

    def is_trusted(self) -> bool:
        """Whether the open notebook's outputs count as the user's own."""
        every = (
            "() => window.jupyterapp.shell.currentWidget.content.widgets.every(cell => cell.model.trusted)"
        )
        return bool(self.page.evaluate(every))

    def _wait_until_drawn(self, *, wait_for_kernel: bool) -> None:
        self.page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        if wait_for_kernel:
            self.wait_for_kernel("idle")

    def wait_for_kernel(self, status: str, *, timeout_ms: float = PATIENCE_MS) -> None:
        """Wait until the front end shows the kernel in a status (``idle``, ``busy``, …)."""
        self.page.wait_for_function(f"({KERNEL_STATUS})() === '{status}'", timeout=timeout_ms)

    def command(self, name: str, arguments: dict[str, Any] | None = None) -> None:
        """Carry out one of the front end's own commands, as its menus do; wait until it has finished."""
        self.page.evaluate(
            "async ([name, args]) => { await window.jupyterapp.commands.execute(name, args); }",
            [name, arguments or {}],
        )

    def cells(self) -> Locator:
        """Return all cells of the notebook."""
        return self.page.locator(".jp-Notebook .jp-Cell")

    def cell(self, index: int) -> Locator:
        """Return one cell."""
        return self.cells().nth(index)

    def output(self, index: int) -> Locator:
        """Return the output area of one cell."""
        return self.cell(index).locator(".jp-Cell-outputArea").first

    def source(self, index: int) -> str:
        """Return the text that is in a cell now, saved or not."""
        return str(
            self.page.evaluate(
                "i => window.jupyterapp.shell.currentWidget.content.widgets[i].model.sharedModel.getSource()",
                index,
            )
        )

    def write(self, index: int, source: str) -> None:
        """Type over a cell's text; nothing is saved."""
        editor = self.cell(index).locator(".cm-content").first
        editor.click()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(source)

    def start(self, index: int) -> None:
        """Press Ctrl-Enter in a cell; do not wait for anything."""
        self.cell(index).locator(".jp-InputPrompt").first.click()
        self.page.keyboard.press("Control+Enter")

    def run(self, index: int, *, timeout_ms: float = PATIENCE_MS) -> None:
        """Run a cell to its end, as its execution count shows."""
        before = self.execution_count(index)
        self.start(index)
        self.wait_until_run(index, after=before, timeout_ms=timeout_ms)

    def execution_count(self, index: int) -> int | None:
        """Return the number beside a cell, None when it has none or is running."""
        count = self.page.evaluate(
            "i => window.jupyterapp.shell.currentWidget.content.widgets[i].model.executionCount ?? null",
            index,
        )
        return None if count is None else int(count)

    def wait_until_run(
        self, index: int, *, after: int | None = None, timeout_ms: float = PATIENCE_MS
    ) -> None:
        """Wait until a cell's run has ended, with another count than ``after``."""
        self.page.wait_for_function(
            """([i, after]) => {
              const model = window.jupyterapp.shell.currentWidget.content.widgets[i].model;
              return model.executionCount != null && model.executionCount !== after
                && (model.executionState ?? 'idle') === 'idle';
            }""",
            arg=[index, after],
            polling=POLL_MS,
            timeout=timeout_ms,
        )

    def wait_for_text(self, index: int, text: str, *, timeout_ms: float = PATIENCE_MS) -> None:
        """Wait until a cell's output shows a text."""
        self.output(index).get_by_text(text).first.wait_for(timeout=timeout_ms)

    def interrupt(self) -> None:
        """Interrupt the kernel by the toolbar's stop button."""
        self.page.locator(
            "[data-command='notebook:interrupt-kernel'], [data-jp-item-name='interrupt'] *"
        ).first.click()

    def save(self) -> nbformat.NotebookNode:
        """Save the notebook and return what the file contains now."""
        self.command("docmanager:save")
        self.page.wait_for_function(f"!({IS_DIRTY})()")
        return self.saved()

    def saved(self) -> nbformat.NotebookNode:
        """Return what the file contains."""
        return nbformat.read(self.file, as_version=4)

    def close_kernel(self) -> None:
        """End the notebook's kernel; the page keeps standing without one."""
        self.server.stop_kernels()
        self.page.wait_for_function(f"['none', 'dead', 'unknown'].includes(({KERNEL_STATUS})())")

    def accessibility_violations(self, selector: str) -> list[str]:
        """Return what axe-core finds serious or critical within a part of the page, one line each.

        What is not on the screen is not looked at for contrast: scroll it there before.
        """
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.add_script_tag(path=AXE)
        found = self.page.evaluate(VIOLATIONS, selector)
        return [
            f"{violation['id']}: {node['any'][0]['message'] if node['any'] else violation['help']} ({node['html']})"
            for violation in found
            if violation["impact"] in {"serious", "critical"}
            for node in violation["nodes"]
        ]

    def screenshot(self, name: str, *, of: Locator | None = None) -> Path:
        """Take a screenshot of the page, or of a part, in ``.artifacts/screenshots``."""
        path = ARTIFACTS / "screenshots" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        (of or self.page).screenshot(path=path)
        return path

    def settle(self, seconds: float) -> None:
        """Let the page live for a while: for what must *not* happen, which no event announces."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.page.wait_for_timeout(min(left, 0.25) * 1000)
