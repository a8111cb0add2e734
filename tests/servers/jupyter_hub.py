"""A JupyterHub with the Codex service, three users and their kernels: its configuration, and who acts in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import websocket

from codex_nb.http import httpx
from codex_nb.simulator import Simulator
from tests.patience import PATIENCE_S
from tests.servers import provision
from tests.servers.running import free_port, wait_until_ready

USERS = ("ada", "grace", "linus")
DRIVER = "fabricated-driver-token-0123456789abcdef"
CONFIG = """
import os
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{public}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{internal}"
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie_secret"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allowed_users = set({users!r})
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/homes/{{username}}"
c.Spawner.cmd = [{python!r}, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root"]
c.Spawner.http_timeout = c.Spawner.start_timeout = {patience}
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_api}"
c.ConfigurableHTTPProxy.pid_file = "{folder}/proxy.pid"

# as in docs/jupyterhub.md
c.JupyterHub.services = [
    {{
        "name": "codex",
        "url": "http://127.0.0.1:{service}",
        "command": [{python!r}, "-m", "codex_nb", "hub", "--logins", "{folder}/logins"],
        "environment": {{"CODEX_HOME": "{folder}/service-home", "PYTHONPATH": {path!r}, **{environ!r}}},
        "oauth_no_confirm": True,
    }},
    {{"name": "driver", "api_token": "{driver}"}},
]
c.JupyterHub.load_roles = [
    {{"name": "user", "scopes": ["self", "access:services!service=codex"]}},
    {{"name": "server", "scopes": ["users:activity!user", "access:servers!server", "access:services!service=codex"]}},
    {{"name": "driver", "services": ["driver"], "scopes": ["admin:servers", "access:servers", "access:services"]}},
]
c.Spawner.environment = {{
    "CODEX_NB_TOKEN_URL": "http://127.0.0.1:{public}/services/codex/token",
    "PYTHONPATH": {path!r},
    **{environ!r},
}}
"""


def command_of(process: psutil.Process) -> list[str]:
    """Return the words with which a process was started, none once it has ended."""
    with suppress(psutil.NoSuchProcess):  # a zombie, too
        return list(process.cmdline())
    return []


@dataclass
class Hub:
    """A hub that runs in ``folder``, at ``url``."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]
    all_processes: dict[int, psutil.Process] = field(default_factory=dict)

    def note_processes(self) -> list[psutil.Process]:
        """Return what the hub has started, remembered for the end."""
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.process.pid).children(recursive=True)
            self.all_processes |= {each.pid: each for each in found}
        return [each for each in self.all_processes.values() if each.is_running() and command_of(each)]

    def kill_hub_and_service(self) -> None:
        """Leave the kernels, their servers and the proxy, but nothing that answers for the hub."""
        service = [each for each in self.note_processes() if "codex_nb" in command_of(each)]
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for each in service:
            each.kill()
            psutil.wait_procs([each], timeout=PATIENCE_S)

    def api(self, method: str, path: str, token: str = DRIVER, **content: Any) -> httpx.Response:
        """Ask the hub, a user's server or a service."""
        headers = {"Authorization": f"token {token}"} if token else {}
        return httpx.request(
            method, f"{self.url}{path}", headers=headers, timeout=PATIENCE_S, trust_env=False, **content
        )

    def start_servers(self) -> None:
        """Start the server of each user."""
        for user in USERS:
            self.api("POST", f"/hub/api/users/{user}/server").raise_for_status()
        for user in USERS:
            wait_for(lambda user=user: self.api("GET", f"/user/{user}/api/status").status_code == 200)


@dataclass
class Kernel:
    """A kernel of a user, reached through the hub's proxy."""

    user: str
    socket: Any

    def run(self, code: str) -> str:
        """Run code; return what it printed, an error's traceback included."""
        message_id = uuid.uuid4().hex
        header = {
            "msg_id": message_id,
            "msg_type": "execute_request",
            "session": "s",
            "username": "u",
            "version": "5.4",
        }
        content = {
            "code": code,
            "silent": False,
            "store_history": False,
            "allow_stdin": False,
            "stop_on_error": True,
        }
        message = {
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
            "channel": "shell",
        }
        self.socket.send(json.dumps(message))
        printed = ""
        while True:
            got = json.loads(self.socket.recv())
            if got["parent_header"].get("msg_id") != message_id:
                continue
            if got["msg_type"] == "stream":
                printed += got["content"]["text"]
            elif got["msg_type"] == "error":
                printed += "\n".join(got["content"]["traceback"])
            elif got["msg_type"] == "status" and got["content"]["execution_state"] == "idle":
                return printed


def open_kernel(hub: Hub, user: str) -> Kernel:
    """Start a kernel of a user and connect to it."""
    made = hub.api("POST", f"/user/{user}/api/kernels", json={"name": "python3"})
    made.raise_for_status()
    address = f"{hub.url.replace('http', 'ws', 1)}/user/{user}/api/kernels/{made.json()['id']}/channels"
    socket = websocket.create_connection(
        address, header=[f"Authorization: token {DRIVER}"], timeout=PATIENCE_S, http_no_proxy=["*"]
    )
    return Kernel(user, socket)


class Browser:
    """A user before a browser: signs in to the hub, and goes to the page of the service."""

    def __init__(self, hub: Hub, user: str) -> None:
        self.client = httpx.Client(
            base_url=hub.url, follow_redirects=True, timeout=PATIENCE_S, trust_env=False
        )
        self.client.get("/hub/login")
        form = {"username": user, "password": "any", "_xsrf": self.client.cookies.get("_xsrf", path="/hub/")}
        self.client.post("/hub/login", data=form).raise_for_status()

    def close(self) -> None:
        """Close the window."""
        self.client.close()

    def page(self) -> str:
        """Return the page of the service."""
        return self.client.get("/services/codex/").raise_for_status().text

    def press(self, label: str) -> None:
        """Press a button of the page."""
        page = self.page()
        form = re.search(
            rf'<form method="post" action="([^"]+)">(.*?)<button>{label}</button>', page, re.DOTALL
        )
        assert form is not None, page
        token = re.search(r'name="_xsrf" value="([^"]+)"', form[2])
        assert token is not None, page
        self.client.post(f"/services/codex/{form[1]}", data={"_xsrf": token[1]}).raise_for_status()


def wait_for(condition: Callable[[], Any]) -> Any:
    """Return what a condition gives once it is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@contextmanager
def running_hub(folder: Path, sim: Simulator) -> Iterator[Hub]:
    """Run a hub until the block ends, with all that it has started."""
    for home in (folder / "service-home", *(folder / "homes" / user / ".codex" for user in USERS)):
        home.mkdir(parents=True)
        (home / "config.toml").write_text(sim.config_toml())
    public, internal, proxy_api, service = (free_port() for _ in range(4))
    values: Mapping[str, Any] = {
        "public": public,
        "internal": internal,
        "proxy_api": proxy_api,
        "service": service,
        "folder": folder,
        "users": USERS,
        "driver": DRIVER,
        "patience": int(PATIENCE_S),
        "python": sys.executable,
        "proxy": str(provision.hub_proxy()),
        "path": str(provision.ROOT),
        "environ": sim.environ(),
    }
    (folder / "jupyterhub_config.py").write_text(CONFIG.format(**values))
    log = folder / "hub.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", "jupyterhub_config.py"],
            cwd=folder,
            env={**os.environ, "PATH": f"{Path(shutil.which('node') or '').parent}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    hub = Hub(f"http://127.0.0.1:{public}", folder, process)
    try:
        wait_until_ready(process, f"{hub.url}/hub/api", log)  # the proxy answers; then the hub behind it
        wait_for(lambda: hub.api("GET", "/hub/api/").status_code == httpx.codes.OK)
        yield hub
    finally:
        left = hub.note_processes()
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
        for each in left:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.kill()
        process.wait()
