"""Fixtures of the browser tier: two servers, Chromium, an open notebook.

Servers and browser live as long as the tests of this folder: Playwright keeps an event loop running in the main thread,
which the async tests of other folders must not meet.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Route, expect, sync_playwright

from tests import tiers
from tests.browser.beacon import Beacon
from tests.browser.jupyter_server import FrontEnd, JupyterServer
from tests.browser.notebook_page import NotebookPage
from tests.patience import PATIENCE_MS

CHROMIUM_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--font-render-hinting=none",
)
LOOPBACK = {"127.0.0.1", "localhost", "::1", ""}
NOBODY = "http://127.0.0.1:9"  # where nothing listens
PERMISSIONS = ("clipboard-read", "clipboard-write")


def launch_options() -> dict[str, Any]:
    """Return how Chromium is started."""
    return {
        "executable_path": tiers.chromium(),
        "args": list(CHROMIUM_FLAGS),
        "chromium_sandbox": False,
        "timeout": PATIENCE_MS,
    }


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """Start Playwright, once."""
    with sync_playwright() as playwright:
        expect.set_options(timeout=PATIENCE_MS)
        yield playwright


@pytest.fixture(scope="package")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """Start the browser for profiles that are used once."""
    browser = playwright.chromium.launch(**launch_options())
    yield browser
    browser.close()


@pytest.fixture(scope="package")
def kept_profile(
    playwright: Playwright, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrowserContext]:
    """Start a browser with a profile on disk, which reaches this machine only.

    It keeps the compiled scripts of the front ends: without them a page costs a third more.
    """
    context = playwright.chromium.launch_persistent_context(
        tmp_path_factory.mktemp("profile"),
        **launch_options(),
        proxy={"server": NOBODY, "bypass": "127.0.0.1,localhost,[::1]"},
        permissions=list(PERMISSIONS),
    )
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def new_page(
    kept_profile: BrowserContext, color_scheme: str, viewport: tuple[int, int]
) -> Iterator[Callable[[], Page]]:
    """Open a page of the kept profile; with the test its pages end and what sites have stored."""
    opened: list[Page] = []

    def open_page() -> Page:
        page = kept_profile.new_page()
        opened.append(page)
        page.set_viewport_size({"width": viewport[0], "height": viewport[1]})
        page.emulate_media(
            color_scheme="dark" if color_scheme == "dark" else "light", reduced_motion="reduce"
        )
        return page

    yield open_page
    for page in opened:
        if not page.is_closed():
            page.evaluate("localStorage.clear()")
            page.close()
    kept_profile.clear_cookies()


@pytest.fixture(scope="package")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[FrontEnd], JupyterServer]]:
    """Give the running server of a front end; each is started when it is first asked for."""
    started: dict[FrontEnd, JupyterServer] = {}
    with ExitStack() as stack:

        def server_of(front_end: FrontEnd) -> JupyterServer:
            if front_end not in started:
                folder = tmp_path_factory.mktemp(front_end.value)
                started[front_end] = stack.enter_context(JupyterServer(front_end, folder))
            return started[front_end]

        yield server_of


@pytest.fixture(params=list(FrontEnd))
def front_end(request: pytest.FixtureRequest) -> FrontEnd:
    """Run the test in JupyterLab and in Notebook 7, unless it is parametrised to one of them."""
    return FrontEnd(request.param)


@pytest.fixture
def server(
    servers: Callable[[FrontEnd], JupyterServer], front_end: FrontEnd, request: pytest.FixtureRequest
) -> Iterator[JupyterServer]:
    """Give the front end's server; its kernels end with the test, and its log shows when the test failed."""
    server = servers(front_end)
    before = len(server.log())
    yield server
    server.stop_kernels()
    outcome = getattr(request.node, "outcome_of_call", None)
    if outcome is not None and outcome.failed:
        sys.stderr.write(f"--- {front_end.module}'s log ends ---\n{server.log_tail()}\n")
    elif outcome is not None:
        assert "No such comm" not in server.log()[before:]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call":
        item.outcome_of_call = report
    return report


@pytest.fixture
def beacon() -> Iterator[Beacon]:
    """Listen for fetches that hostile content makes."""
    with Beacon() as listening:
        yield listening


@pytest.fixture
def color_scheme() -> str:
    """Say what the browser prefers, light or dark; parametrise to change it."""
    return "light"


@pytest.fixture
def viewport() -> tuple[int, int]:
    """Say how large the window is, in CSS pixels; parametrise to change it."""
    return (1280, 900)


@pytest.fixture
def browser_context(
    chromium: Browser, color_scheme: str, viewport: tuple[int, int]
) -> Iterator[BrowserContext]:
    """Open a fresh browser profile that reaches this machine only."""
    with fresh_profile(chromium, color_scheme, viewport) as context:
        yield context


@contextmanager
def fresh_profile(
    chromium: Browser, color_scheme: str, viewport: tuple[int, int]
) -> Iterator[BrowserContext]:
    """Open a browser profile that reaches this machine only, until the end of the block."""
    width, height = viewport
    context = chromium.new_context(
        viewport={"width": width, "height": height},
        color_scheme=color_scheme,
        permissions=list(PERMISSIONS),
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE_MS)

    def stay_here(route: Route) -> None:
        if urlsplit(route.request.url).hostname in LOOPBACK | {None}:
            route.fallback()
        else:
            route.abort()

    context.route("**/*", stay_here)
    yield context
    context.close()


@pytest.fixture
def kernel_environ(tmp_path: Path) -> dict[str, str]:
    """Give the variables of the test's kernel: a CODEX_HOME of its own. Add to them before ``open_notebook``."""
    home = tmp_path / "codex-home"
    home.mkdir(mode=0o700)
    return {"CODEX_HOME": str(home), "PYTHONFROZENMODULES": "on"}


@pytest.fixture
def open_notebook(
    server: JupyterServer,
    new_page: Callable[[], Page],
    kernel_environ: Mapping[str, str],
    request: pytest.FixtureRequest,
) -> Iterator[Callable[..., NotebookPage]]:
    """Write a notebook of these cells, open it, and give its page.

    ``open_notebook([source, ...], python=…)``; with ``file=page.file`` instead of cells, a file that exists is opened
    once more, in a page of its own. A test during which a page complains in its console has failed.
    """
    opened: list[NotebookPage] = []

    def open_it(
        cells: Sequence[str] = (),
        *,
        file: Path | None = None,
        python: str | None = None,
        wait_for_kernel: bool = True,
    ) -> NotebookPage:
        if file is None:
            kernel = server.add_kernel(kernel_environ, **({} if python is None else {"python": python}))
            file = server.add_notebook(f"{kernel.name}.ipynb", cells, kernel)
        notebook = NotebookPage(new_page(), server, file)
        opened.append(notebook)
        notebook.open(wait_for_kernel=wait_for_kernel)
        return notebook

    yield open_it
    outcome = getattr(request.node, "outcome_of_call", None)
    if outcome is not None and outcome.passed:
        assert [line for notebook in opened for line in notebook.complaints()] == []
