"""A page made of the packages that VS Code publishes; its script lists what is rewritten."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.browser.seen import Seen, look
from tests.tiers import TIERS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping

    import nbformat
    from playwright.sync_api import ConsoleMessage, Error, Locator, Page, Route

    from tests.browser.jupyter_server import JupyterServer, KernelSpec

PACKAGES = TIERS_FOLDER / "vscode" / "node_modules"
SCRIPT = Path(__file__).with_name("vs_code_page.js")
NBEXTENSIONS = Path(sys.prefix) / "share" / "jupyter" / "nbextensions"
TYPES = {".js": "text/javascript", ".html": "text/html"}
CONFIGURATION = re.compile(r"requirejs\??\.config\(\{(.*?)\}\s*\)", re.DOTALL)
MAPPING = re.compile(r"""["']?([\w@/-]+)["']?:\s*["'](nbextensions/[^"']+)["']""")
PAGE = """<!doctype html><html><head><meta charset="utf-8">
<script src="packages/markdown-it/dist/markdown-it.min.js"></script>
<script src="packages/dompurify/dist/purify.min.js"></script>
<script src="packages/requirejs/require.js"></script>
<script>requirejs.config({ paths: { "@jupyterlab/services": "packages/@jupyterlab/services/dist/dist/index" } });
</script>
</head><body class="vscode-light"><div id="container"></div></body></html>"""
STREAM = "application/vnd.code.notebook.{}"
# A widget that is closed after its output was replaced: the editor takes elements away without asking Lumino.
EDITORS_OWN = "Widget is not attached."


def widget_scripts(folder: Path = NBEXTENSIONS) -> dict[str, str]:
    """Return the widgets' scripts by module, as VS Code reads them off each ``extension.js`` of an environment."""
    found: dict[str, str] = {}
    for entry in sorted(folder.glob("*/extension.js")):
        configured = CONFIGURATION.search(entry.read_text(encoding="utf-8"))
        for module, script in MAPPING.findall(configured[1] if configured else ""):
            found[module] = f"{script}.js"
    return found


def serve(page: Page, address: str) -> None:
    """Let the page be found at the address, with the packages and the environment's nbextensions below it."""
    path = urlsplit(address).path

    def answer(route: Route) -> None:
        name = urlsplit(route.request.url).path.removeprefix(path)
        if name == "":
            route.fulfill(body=PAGE, content_type="text/html")
            return
        roots = {"packages": PACKAGES, "nbextensions": NBEXTENSIONS}
        root, _, rest = name.partition("/")
        file = SCRIPT if name == SCRIPT.name else roots.get(root, SCRIPT.parent / "nowhere") / rest
        if file.is_file():
            route.fulfill(path=file, content_type=TYPES.get(file.suffix, "application/octet-stream"))
        else:
            route.fulfill(status=404)

    page.route(f"{address}**", answer)
    page.goto(address)


def show_in_vs_code(page: Page, notebook: nbformat.NotebookNode, *, trusted: bool) -> list[Seen]:
    """Show the saved outputs of a notebook, in a workspace that is trusted or in one that is not."""
    serve(page, "http://127.0.0.1/vs-code/")
    cells = [[_saved(output) for output in cell.outputs] for cell in notebook.cells]
    page.evaluate(
        f"async ([cells, trusted]) => (await import('./{SCRIPT.name}')).showSaved(cells, trusted)",
        [cells, trusted],
    )
    return look(page, ".cell_container", ".output")


def _saved(output: nbformat.NotebookNode) -> dict[str, Any]:
    """Return an output as the Jupyter extension hands it to the editor."""
    match output.output_type:
        case "stream":
            data = {STREAM.format(output.name): output.text}
        case "error":
            data = {"application/vnd.code.notebook.error": dict(output)}
        case _:
            data = dict(output.data)
    return {"kind": output.output_type, "data": data}


class VsCode:
    """One open notebook with its kernel. Cells count from 0."""

    def __init__(self, page: Page, server: JupyterServer, kernel: KernelSpec) -> None:
        self.page = page
        self.console_errors: list[str] = []
        self.script_errors: list[str] = []
        self._server = server
        self._kernel = kernel
        page.on("console", self._note)
        page.on("pageerror", self._note_exception)

    def open(self, scripts: Mapping[str, str], *, late_ms: int = 0) -> None:
        """Open an empty notebook whose widgets' scripts are these, each found only after some time."""
        address = f"{self._server.url}/vs-code/"
        serve(self.page, address)
        own = {
            "base": f"{self._server.url}/",
            "token": self._server.token,
            "kernel": self._kernel.name,
            "scripts": {name: address + script for name, script in scripts.items()},
            "lateMs": late_ms,
        }
        # The page comes from no server, as VS Code's does; Chromium asks before such a page reaches this machine.
        self.page.context.grant_permissions(["local-network-access"])
        self.page.evaluate(
            f"own => {{ import('./{SCRIPT.name}').then(page => page.start(own), console.error) }}", own
        )
        self.page.wait_for_function("() => window.vsCode?.run")

    def close(self) -> None:
        """End the kernel."""
        for kernel in self._server.api("kernels"):
            if kernel["name"] == self._kernel.name:
                self._server.api(f"kernels/{kernel['id']}", "DELETE")

    def start(self, source: str) -> int:
        """Run a new cell; do not wait for its end."""
        return int(self.page.evaluate("source => window.vsCode.run(source)", source))

    def run(self, source: str) -> int:
        """Run a new cell to its end."""
        index = self.start(source)
        self.wait_until_run(index)
        return index

    def state(self, index: int) -> str:
        """Say how a cell is: ``running``, ``ok``, ``error`` or ``aborted``."""
        return str(self.page.evaluate("index => window.vsCode.cells[index].state", index))

    def wait_until_run(self, index: int) -> None:
        """Wait until a cell's run has ended."""
        self.page.wait_for_function("index => window.vsCode.cells[index].state !== 'running'", arg=index)

    def output(self, index: int) -> Locator:
        """Return what a cell shows."""
        return self.page.locator(".cell_container").nth(index)

    def outputs(self, index: int) -> list[dict[str, Any]]:
        """Return the data of each output of a cell, as they would be saved."""
        held = self.page.evaluate("index => window.vsCode.cells[index].outputs.map(each => each.data)", index)
        return list(json.loads(json.dumps(held)))

    def missing(self) -> list[str]:
        """Return the modules of widgets that could not be loaded."""
        return list(self.page.evaluate("() => window.vsCode.missing"))

    def type_in(self, answer: str) -> str:
        """Answer the editor's input box; return what it asked."""
        box = self.page.locator("#input-box")
        asked = box.locator("label").inner_text()
        box.locator("input").fill(answer)
        box.locator("input").press("Enter")
        return asked

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.console_errors.append(message.text)

    def _note_exception(self, error: Error) -> None:
        if str(error) != EDITORS_OWN:
            self.script_errors.append(str(error))
