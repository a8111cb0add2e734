"""A real Jupyter server with the front end of JupyterLab or Notebook 7, in its own folder."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import nbformat
from nbformat.sign import NotebookNotary

from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOG_LINES = 40
# Front ends that ask the world for news would fail offline, and notebooks are saved only when a test says so.
QUIET_FRONT_END = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
    "@jupyterlab/apputils-extension:themes": {"adaptive-theme": True},  # light or dark as the browser prefers
}


class FrontEnd(StrEnum):
    """The two front ends that one Jupyter server program each serves."""

    LAB = "lab"
    NOTEBOOK = "notebook"

    @property
    def module(self) -> str:
        """The program that serves it."""
        return "jupyterlab" if self is FrontEnd.LAB else "notebook"

    @property
    def application(self) -> str:
        """The name of its traitlets application."""
        return "LabApp" if self is FrontEnd.LAB else "JupyterNotebookApp"

    def path_of(self, notebook: str) -> str:
        """Return the address, within the server, that opens a notebook."""
        return f"lab/tree/{notebook}?reset" if self is FrontEnd.LAB else f"notebooks/{notebook}"


@dataclass(frozen=True)
class KernelSpec:
    """A kernel that notebooks name; each has an environment and a Python of its own."""

    name: str


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class JupyterServer:
    """Runs from ``with`` to its end; everything it reads and writes lies in ``folder``.

    ``python`` is that of an environment with further extensions; the front end itself is this environment's.
    """

    def __init__(self, front_end: FrontEnd, folder: Path, *, python: str = sys.executable) -> None:
        self.front_end = front_end
        self._python = python
        self.root = folder / "notebooks"
        self.token = secrets.token_hex(16)
        self._folder = folder
        self._log = folder / "server.log"
        self._port = _free_port()
        self._kernels = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's address, without a trailing slash."""
        return f"http://127.0.0.1:{self._port}"

    def address_of(self, notebook: str) -> str:
        """Return the address that opens a notebook in the front end, signed in."""
        path = self.front_end.path_of(notebook)
        return f"{self.url}/{path}{'&' if '?' in path else '?'}token={self.token}"

    def log(self) -> str:
        """Return what the server and its kernels have written so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def log_tail(self) -> str:
        """Return the last lines of the log."""
        return "\n".join(self.log().splitlines()[-LOG_LINES:])

    def api(self, path: str, method: str = "GET", body: object = None) -> Any:
        """Ask the server's REST interface; return the parsed answer, None when it is empty."""
        request = urllib.request.Request(
            f"{self.url}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def add_kernel(self, environ: Mapping[str, str], *, python: str = sys.executable) -> KernelSpec:
        """Make a kernel with these variables (and this Python) known to the server."""
        self._kernels += 1
        name = f"codex-nb-{self._kernels}"
        folder = self._folder / "data" / "kernels" / name
        folder.mkdir(parents=True)
        spec = {
            "argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": name,
            "language": "python",
            "metadata": {"debugger": False},
            "env": dict(environ),
        }
        (folder / "kernel.json").write_text(json.dumps(spec))
        return KernelSpec(name)

    def add_notebook(self, name: str, cells: Sequence[str], kernel: KernelSpec) -> Path:
        """Write a notebook of code cells (``# %% [markdown]`` begins a Markdown cell) and return its file."""
        notebook = nbformat.v4.new_notebook()
        notebook.metadata["kernelspec"] = {
            "name": kernel.name,
            "display_name": kernel.name,
            "language": "python",
        }
        mark = "# %% [markdown]\n"
        for source in cells:
            is_prose = source.startswith(mark)
            make = nbformat.v4.new_markdown_cell if is_prose else nbformat.v4.new_code_cell
            notebook.cells.append(make(source.removeprefix(mark)))
        path = self.root / name
        nbformat.write(notebook, path)
        return path

    def trust(self, notebook: nbformat.NotebookNode) -> None:
        """Count a notebook's outputs as the user's own, as if they had been made here."""
        NotebookNotary(data_dir=str(self._folder / "data")).sign(notebook)

    def forget_kernel(self, name: str) -> None:
        """Take a kernel away, as on the machine of a reader who never had it.

        Two others stay, so that the front end asks which one to take instead of choosing the only one.
        """
        shutil.rmtree(self._folder / "data" / "kernels" / name)
        self.add_kernel({})
        self.add_kernel({})

    def stop_kernels(self) -> None:
        """End every session, so that no test's kernel meets the next test."""
        for session in self.api("sessions"):
            self.api(f"sessions/{session['id']}", "DELETE")

    def __enter__(self) -> Self:
        self._write_configuration()
        name = self.front_end.application
        command = [
            *(self._python, "-m", self.front_end.module, "--no-browser", "--allow-root"),
            *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={self._port}", "--ServerApp.port_retries=0"),
            *(f"--ServerApp.root_dir={self.root}", f"--IdentityProvider.token={self.token}"),
            *(f"--{name}.expose_app_in_browser=True", "--ServerApp.terminals_enabled=False"),
            # JupyterLab would start Node.js for each page, to see whether its extensions were built
            "--ServerApp.tornado_settings={'page_config_data': {'buildCheck': False, 'buildAvailable': False}}",
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=self._environ(), cwd=self.root, stdout=log, stderr=log
            )
        self._wait_until_it_answers()
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _environ(self) -> dict[str, str]:
        own = {"CONFIG": "config", "DATA": "data", "RUNTIME": "runtime"}
        folders = {f"JUPYTER_{name}_DIR": str(self._folder / folder) for name, folder in own.items()}
        share, etc = f"{sys.prefix}/share/jupyter", f"{sys.prefix}/etc/jupyter"
        ours = {"JUPYTER_PATH": share, "JUPYTER_CONFIG_PATH": etc, "JUPYTERLAB_DIR": f"{share}/lab"}
        outer = ours if self._python != sys.executable else {}
        return {**os.environ, **outer, **folders, "IPYTHONDIR": str(self._folder / "ipython")}

    def _write_configuration(self) -> None:
        self.root.mkdir(parents=True)
        overrides = self._folder / "config" / "labconfig" / "default_setting_overrides.json"
        overrides.parent.mkdir(parents=True)
        overrides.write_text(json.dumps(QUIET_FRONT_END))

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.api("status")
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
            else:
                return
        self.__exit__()
        message = f"{self.front_end.module} did not start:\n{self.log_tail()}"
        raise RuntimeError(message)
