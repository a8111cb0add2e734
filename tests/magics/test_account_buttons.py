"""The buttons of an account: what was touched last is what is shown."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from comm.base_comm import BaseComm

from codex_nb.host.engine import engine
from codex_nb.simulator import GRACE, Simulator
from tests.magics.conftest import Notebook
from tests.magics.front_end import FrontEnd, front_end
from tests.patience import PATIENCE_S


class SlowService:
    """Forwards requests to a simulator; while ``goes_on`` is not set it keeps what is answered."""

    def __init__(self, sim: Simulator) -> None:
        self.goes_on, self.keeps = threading.Event(), threading.Semaphore(0)
        self.goes_on.set()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                answer = httpx.get(f"{sim.base_url}{self.path}", headers=headers)
                if not service.goes_on.is_set():
                    service.keeps.release()
                    service.goes_on.wait(PATIENCE_S)
                self.send_response(answer.status_code)
                self.send_header("content-type", answer.headers["content-type"])
                self.send_header("content-length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *args: Any) -> None:
                """Write no log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def slow(sim: Simulator, codex_home: Path) -> Iterator[SlowService]:
    """Give the service behind which the account of this home is; the profile "work" is Grace's, without it."""
    service = SlowService(sim)
    serving = threading.Thread(target=service.server.serve_forever)
    serving.start()
    config = codex_home / "config.toml"
    config.write_text(
        config.read_text().replace(f'{sim.base_url}/backend-api/"', f'{service.base_url}/backend-api/"')
    )
    work = codex_home / "profiles" / "work"
    work.mkdir(parents=True)
    sim.write_home(work, GRACE)
    yield service
    service.goes_on.set()
    service.server.shutdown()
    serving.join()
    service.server.server_close()


def shows(page: FrontEnd, text: str) -> bool:
    """Whether the page shows a text, or does so in a moment."""
    until = time.monotonic() + PATIENCE_S
    while text not in str(page.texts()) and time.monotonic() < until:
        time.sleep(0.01)
    return text in str(page.texts())


@pytest.mark.parametrize("before", ["refresh", "switch_profile"])
def test_an_answer_that_comes_late_does_not_take_the_place_of_a_newer_one(
    notebook: Notebook, sim: Simulator, slow: SlowService, before: str
) -> None:
    widgets: dict[str, BaseComm] = {}

    def keep(_message: Mapping[str, Any]) -> None:
        widgets.update(page.open)

    def touch(name: str) -> None:
        (widget,) = widgets.values()
        content = {"kind": "action", "name": name, "view": "view"}
        widget.handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})

    with front_end(notebook, sim) as page:
        page.on_message = keep
        assert notebook.run("%codex status").succeeded
        assert shows(page, "a…@example.com")
        if before == "switch_profile":  # to Grace, from whom it is switched to Ada
            touch("switch_profile")
            assert shows(page, "g…@example.org")
        slow.goes_on.clear()
        touch(before)
        assert slow.keeps.acquire(timeout=PATIENCE_S)
        asked = sim.requests.count("/wham/usage")
        touch("switch_profile")
        assert sim.requests.wait(lambda log: log.count("/wham/usage") > asked, PATIENCE_S)
        engine().run(asyncio.sleep(0.3))
        assert shows(page, "g…@example.org")
        slow.goes_on.set()
        engine().run(asyncio.sleep(0.3))
        assert "g…@example.org" in str(page.texts())
        assert "a…@example.com" not in str(page.texts())
