"""Small homes, each with one question through both programs: the same request leaves, or both refuse."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from codex_nb.config.config_toml import ConfigToml
from codex_nb.config.layers import Machine
from codex_nb.config.settings import load_settings
from codex_nb.errors import CodexError
from codex_nb.profile import open_profile_at
from codex_nb.session.prompt import TurnRequest
from codex_nb.tools.approval import DenyAll
from codex_nb.tools.base import Ports
from codex_nb.tools.skills import skills_listing, skills_of
from tests.auth.fakes import NOW, access_token, login
from tests.contract.bundled_models import TABLE
from tests.contract.cli import QUIET
from tests.contract.recording import RecordingServer, recording
from tests.contract.test_beside_the_cli import documented

pytestmark = pytest.mark.anyio

BODY = ("model", "reasoning", "service_tier", "text", "store", "include")
HEADERS = (
    "openai-organization",
    "openai-project",
    "authorization",
    "chatgpt-account-id",
    "x-openai-internal-codex-residency",
    "x-t",
)


def told(request: BaseHTTPRequestHandler, body: dict[str, Any]) -> dict[str, Any]:
    """What of a request depends on the configuration; the server is both programs' proxy, too."""
    return {
        "path": request.path,
        "host": request.headers["host"],
        **{key: body.get(key) for key in BODY},
        "texts": sorted(set(re.findall("TEXT-[A-Z]+", json.dumps(body["input"])))),
        **{name: (value := request.headers[name]) and value.rstrip() for name in HEADERS},
    }


@pytest.fixture(scope="module")
def recorder() -> Iterator[RecordingServer]:
    """Listen until the last test of the module ends."""
    with recording(told) as found:
        yield found


@dataclass
class World:
    """The files of a computer, its environment, and both programs in it.

    ROOT and PORT stand for the folder and the recorder's port, in files and variables alike.
    """

    program: Path
    root: Path
    recorder: RecordingServer
    files: dict[str, str | bytes]
    environ: dict[str, str] = field(default_factory=dict)
    profile: str | None = None
    folder: str = "work"

    def __post_init__(self) -> None:
        self.write()

    def write(self) -> None:
        """Write the files, also those that a program has deleted."""
        (self.root / self.folder).mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            file = self.root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            data = content if isinstance(content, bytes) else content.encode()
            file.write_bytes(self.filled(data.decode("latin-1")).encode("latin-1"))

    def filled(self, text: str) -> str:
        port = str(self.recorder.http.server_port)
        return text.replace("PORT", port).replace("ROOT", str(self.root))

    @property
    def variables(self) -> dict[str, str]:
        own = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root / "home"),
            "CODEX_HOME": str(self.root / "ch"),
        }
        return own | {name: self.filled(value) for name, value in self.environ.items()}

    def taken(self) -> list[dict[str, Any]]:
        seen, self.recorder.seen[:] = list(self.recorder.seen), []
        return seen

    def theirs(self) -> list[dict[str, Any]]:
        """What the CLI sends; the administrator's files are in its own /etc."""
        profile = ["--profile", self.profile] if self.profile else []
        command = [str(self.program), "exec", *profile, "--skip-git-repo-check", "--json", "say hi"]
        if (self.root / "etc").exists():
            copytree("/etc", self.root / "all-etc", symlinks=True, ignore_dangling_symlinks=True)
            copytree(self.root / "etc", self.root / "all-etc", dirs_exist_ok=True)
            mount = f'mount --bind "{self.root}/all-etc" /etc && exec "$@"'
            own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
            command = [*own, "sh", "-c", mount, "sh", *command]
        subprocess.run(
            command,
            cwd=self.root / self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return self.taken()

    def is_loaded_by_the_cli(self) -> bool:
        """Whether the CLI takes the configuration; nothing is asked."""
        command = [str(self.program), "features", "list"]
        work = self.root / self.folder
        done = subprocess.run(command, cwd=work, env=self.variables, capture_output=True, check=False)
        return done.returncode == 0

    async def ours(self) -> list[dict[str, Any]]:
        """What codex_nb sends; the administrator's files are below the root that it is given."""
        self.write()  # the CLI deletes a login that is not allowed
        try:
            async with open_profile_at(
                self.variables,
                profile=self.profile,
                folder=self.root / self.folder,
                machine=Machine(root=self.root),
            ) as profile:
                ports = Ports(_NoThread(), None)
                await profile.assistant.answer(
                    TurnRequest("say hi", folder=self.root / self.folder), ports=ports, approver=DenyAll()
                )
        except CodexError:
            pass
        return self.taken()


class _NoThread:
    async def call(self, function: Any) -> Any:
        return function()


def provider(name: str, segment: str, more: str = "") -> str:
    """A provider of one's own at the recorder."""
    url = f"http://127.0.0.1:PORT/{segment}/v1"
    return f'[model_providers.{name}]\nname = "{name}"\nbase_url = "{url}"\n{more}\n'


USE = 'model_provider = "lab"\n'
TRUST = '[projects."ROOT/work"]\ntrust_level = "trusted"\n'
KEY = '{"auth_mode": "apikey", "OPENAI_API_KEY": "sk-fabricated-0123456789"}'


def lab(more: str = "", top: str = "", model: str = 'model = "gpt-5.5"\n') -> str:
    return f"{model}{top}{USE}{provider('lab', 'lab', more)}{QUIET}"


def home(config: str | bytes = "", **files: str | bytes) -> dict[str, str | bytes]:
    return {"ch/config.toml": config or lab(), **files}


ETC, MANAGED, REQUIRED = (
    "etc/codex/config.toml",
    "etc/codex/managed_config.toml",
    "etc/codex/requirements.toml",
)
PROFILE, PROJECT, DOTENV = "ch/work.config.toml", "work/.codex/config.toml", "ch/.env"
CORP = 'model_provider = "corp"\n' + provider("corp", "corp")
OPENAI = f'model = "gpt-5.5"\nopenai_base_url = "http://127.0.0.1:PORT/gw/v1"\n{QUIET}'
LOCAL = f'model = "gpt-5.5"\nmodel_provider = "ollama"\n{QUIET}'
CHATGPT = json.dumps(login(tokens={"access_token": access_token(NOW + timedelta(days=3650))}))
COMMAND = '[model_providers.lab.auth]\ncommand = "sh"\nargs = ["-c", "echo from-command"]\n'
FAR = lab().replace("http://127.0.0.1:PORT", "http://lab.invalid")
KEYS = {"FAB_KEY": "from-variable", "FAB_HEADER": "Bearer from-header"}

# name: files, and what else there is of a World
HOMES: dict[str, dict[str, Any]] = {
    # layers
    "user": {"files": home()},
    "system": {"files": home(lab(model=""), **{ETC: 'model = "gpt-5.6-sol"\nservice_tier = "flex"\n'})},
    "user over system": {"files": home(**{ETC: 'model = "gpt-5.6-sol"\nmodel_verbosity = "high"\n'})},
    "provider of two files": {
        "files": home(**{ETC: provider("lab", "sys", 'http_headers = { x-t = "sys" }')})
    },
    "gateway of the system": {
        "files": {
            ETC: 'openai_base_url = "http://127.0.0.1:PORT/gw/v1"\n',
            "ch/config.toml": 'model = "gpt-5.5"\n' + QUIET,
            "ch/auth.json": KEY,
        }
    },
    "profile": {
        "files": home(**{PROFILE: 'model = "gpt-5.6-sol"\nmodel_reasoning_effort = "high"\n'}),
        "profile": "work",
    },
    "profile moves the provider": {
        "files": home(**{PROFILE: '[model_providers.lab]\nbase_url = "http://127.0.0.1:PORT/prof"\n'}),
        "profile": "work",
    },
    "profile not chosen": {"files": home(**{PROFILE: "model = "})},
    "broken profile": {"files": home(**{PROFILE: "model = "}), "profile": "work"},
    "old profile chosen": {"files": home('profile = "x"\n' + lab() + '[profiles.x]\nmodel = "m"\n')},
    "old profile beside the file": {
        "files": home(lab() + '[profiles.work]\nmodel = "m"\n', **{PROFILE: 'model = "p"\n'}),
        "profile": "work",
    },
    "old profile without the file": {
        "files": home(lab() + '[profiles.work]\nmodel = "m"\n'),
        "profile": "work",
    },
    "old profile of another name": {
        "files": home(lab() + '[profiles.x]\nmodel = "m"\n', **{PROFILE: 'model = "gpt-5.6-sol"\n'}),
        "profile": "work",
    },
    "old profile unused": {"files": home(lab() + '[profiles.x]\nmodel = "m"\n')},
    "profile in a profile": {"files": home(**{PROFILE: 'profile = "z"\n'}), "profile": "work"},
    "profile of the system": {"files": home(**{ETC: 'profile = "z"\n'})},
    # administrators
    "managed provider": {"files": home(**{MANAGED: 'model = "corp-model"\n' + CORP})},
    "managed over profile": {
        "files": home(
            **{MANAGED: 'model = "gpt-5.6-sol"\n', PROFILE: 'model = "p"\nmodel_verbosity = "high"\n'}
        ),
        "profile": "work",
    },
    "managed over project": {
        "files": home(lab() + TRUST, **{MANAGED: 'model = "gpt-5.6-sol"\n', PROJECT: 'model = "p"\n'})
    },
    "managed login method": {
        "files": {MANAGED: 'forced_login_method = "chatgpt"\n', "ch/config.toml": OPENAI, "ch/auth.json": KEY}
    },
    "managed with a mark": {"files": home(**{MANAGED: "\ufeffmodel = 'gpt-5.6-sol'\n"})},
    "managed broken": {"files": home(**{MANAGED: "model ="})},
    "required provider": {"files": home(**{REQUIRED: CORP})},
    "required provider of the user's name": {
        "files": home(
            lab('http_headers = { x-t = "mine" }\nenv_key = "FAB_KEY"'), **{REQUIRED: provider("lab", "req")}
        ),
        "environ": KEYS,
    },
    "required provider without a choice": {"files": home(**{REQUIRED: provider("corp", "req")})},
    "required residency": {"files": home(**{REQUIRED: 'enforce_residency = "us"\n'})},
    "required api login": {
        "files": {
            REQUIRED: 'allowed_login_methods = ["api"]\n',
            "ch/config.toml": OPENAI,
            "ch/auth.json": KEY,
        }
    },
    "no login method": {
        "files": home(**{REQUIRED: "allowed_login_methods = []\nallowed_chatgpt_workspaces = []\n"})
    },
    "required with an unknown key": {"files": home(**{REQUIRED: 'model = "m"\nx = 1\n'})},
    "required broken": {"files": home(**{REQUIRED: "x ="})},
    "required unknown method": {"files": home(**{REQUIRED: 'allowed_login_methods = ["apikey"]\n'})},
    "forced login, own provider": {"files": home(lab(top='forced_login_method = "chatgpt"\n'))},
    "forced login, own provider, fitting login": {
        "files": home(lab(top='forced_login_method = "chatgpt"\n'), **{"ch/auth.json": CHATGPT})
    },
    "forced login, own provider, other login": {
        "files": home(lab(top='forced_login_method = "chatgpt"\n'), **{"ch/auth.json": KEY})
    },
    "forced key, own provider, other login": {
        "files": home(lab(top='forced_login_method = "api"\n'), **{"ch/auth.json": CHATGPT})
    },
    "forced key, own provider, access token": {
        "files": home(lab(top='forced_login_method = "api"\n')),
        "environ": {"CODEX_ACCESS_TOKEN": "at-fabricated"},
    },
    "forced login, local server, other login": {
        "files": home('forced_login_method = "chatgpt"\n' + LOCAL, **{"ch/auth.json": KEY}),
        "environ": {"CODEX_OSS_PORT": "PORT"},
    },
    "forced login, own provider, unreadable login": {
        "files": home(lab(top='forced_login_method = "chatgpt"\n'), **{"ch/auth.json": "{"})
    },
    "unreadable login that is not used": {"files": home(**{"ch/auth.json": "{"})},
    "forced login, own key, fitting login": {
        "files": home(
            lab('requires_openai_auth = true\nenv_key = "FAB_KEY"', 'forced_login_method = "chatgpt"\n'),
            **{"ch/auth.json": CHATGPT},
        ),
        "environ": KEYS,
    },
    "forced login, own key, other login": {
        "files": home(
            lab('requires_openai_auth = true\nenv_key = "FAB_KEY"', 'forced_login_method = "chatgpt"\n'),
            **{"ch/auth.json": KEY},
        ),
        "environ": KEYS,
    },
    "forced workspace, own provider, another's login": {
        "files": home(lab(top='forced_chatgpt_workspace_id = "acct-2"\n'), **{"ch/auth.json": CHATGPT})
    },
    "forced workspace, own provider, its login": {
        "files": home(lab(top='forced_chatgpt_workspace_id = "acct-1"\n'), **{"ch/auth.json": CHATGPT})
    },
    "forced workspace, own provider, a key": {
        "files": home(lab(top='forced_chatgpt_workspace_id = "acct-2"\n'), **{"ch/auth.json": KEY})
    },
    "managed login method, own provider, other login": {
        "files": home(**{MANAGED: 'forced_login_method = "chatgpt"\n', "ch/auth.json": KEY})
    },
    "required login method, own provider, other login": {
        "files": home(**{REQUIRED: 'allowed_login_methods = ["chatgpt"]\n', "ch/auth.json": KEY})
    },
    "required workspace, own provider, another's login": {
        "files": home(**{REQUIRED: 'allowed_chatgpt_workspaces = ["acct-2"]\n', "ch/auth.json": CHATGPT})
    },
    # projects
    "project": {
        "files": home(lab() + TRUST, **{PROJECT: 'model = "gpt-5.6-sol"\nmodel_reasoning_effort = "high"\n'})
    },
    "project not trusted": {"files": home(**{PROJECT: 'model = "p"\n'})},
    "project distrusted": {
        "files": home(lab() + TRUST.replace('"trusted"', '"untrusted"'), **{PROJECT: 'model = "p"\n'})
    },
    "project that leads elsewhere": {
        "files": home(
            lab() + TRUST,
            **{
                PROJECT: 'model = "gpt-5.6-sol"\nopenai_base_url = "http://x"\n'
                + USE.replace("lab", "evil")
                + provider("lab", "evil")
                + provider("evil", "evil")
            },
        )
    },
    "project with a profile": {"files": home(lab() + TRUST, **{PROJECT: 'profile = "z"\n[profiles.z]\n'})},
    "project over profile": {
        "files": home(
            lab() + TRUST,
            **{PROFILE: 'model = "p"\nmodel_verbosity = "high"\n', PROJECT: 'model = "gpt-5.6-sol"\n'},
        ),
        "profile": "work",
    },
    "project above": {
        "files": home(
            lab() + TRUST,
            **{
                "work/.git/HEAD": "ref: refs/heads/main",
                PROJECT: 'model = "p"\nmodel_verbosity = "high"\n',
                "work/sub/.codex/config.toml": 'model = "gpt-5.6-sol"\n',
            },
        ),
        "folder": "work/sub",
    },
    **{
        f"root above by {how}": {
            "files": home(more + lab() + TRUST, **{PROJECT: 'model = "p"\n', "work/sub/x": "", **files}),
            "folder": "work/sub",
        }
        for how, more, files in (
            ("a repository", "", {".git/HEAD": "ref: refs/heads/main"}),
            ("an empty HEAD", "", {".git/HEAD": ""}),
            ("a HEAD that is a folder", "", {".git/HEAD/x": ""}),
            ("no repository", "", {".git/objects/x": ""}),
            ("no repository, as a marker of one's own", 'project_root_markers = [".git"]\n', {".git/x": ""}),
            ("a file", "", {".git": "gitdir: elsewhere"}),
            ("another marker", 'project_root_markers = ["mark"]\n', {"mark/x": ""}),
        )
    },
    "what is no repository below the trusted folder": {
        "files": home(lab() + TRUST, **{"work/.git/x": "", "work/sub/.codex/config.toml": 'model = "p"\n'}),
        "folder": "work/sub",
    },
    "what is no repository between": {
        "files": home(
            lab() + TRUST,
            **{"work/.git/HEAD": "ref: refs/heads/main", PROJECT: 'model = "p"\n', "work/sub/.git/x": ""},
        ),
        "folder": "work/sub",
    },
    "project above without a root": {
        "files": home(lab() + TRUST, **{PROJECT: 'model = "p"\n', "work/sub/x": ""}),
        "folder": "work/sub",
    },
    "folder distrusted in a project": {
        "files": home(
            lab() + TRUST + TRUST.replace("work", "work/sub").replace('"trusted"', '"untrusted"'),
            **{
                "work/.git/HEAD": "ref: refs/heads/main",
                PROJECT: 'model = "gpt-5.6-sol"\n',
                "work/sub/.codex/config.toml": 'model = "p"\n',
            },
        ),
        "folder": "work/sub",
    },
    "project broken": {"files": home(lab() + TRUST, **{PROJECT: "model ="})},
    "project broken, not trusted": {"files": home(**{PROJECT: "model ="})},
    "trust in the profile": {
        "files": home(**{PROFILE: TRUST, PROJECT: 'model = "gpt-5.6-sol"\n'}),
        "profile": "work",
    },
    "trust in the project": {"files": home(**{PROJECT: 'model = "p"\n' + TRUST})},
    # .env
    "key in .env": {"files": home(lab('env_key = "FAB_KEY"'), **{DOTENV: "FAB_KEY=from-dotenv\n"})},
    ".env over the environment": {
        "files": home(lab('env_key = "FAB_KEY"'), **{DOTENV: "export FAB_KEY='from-dotenv' # x\n"}),
        "environ": KEYS,
    },
    "header in .env": {
        "files": home(lab('env_http_headers = { x-t = "T" }'), **{DOTENV: 'A=1\nno line\nT="${A}-\\$A"\n'})
    },
    "proxy in .env": {"files": home(FAR, **{DOTENV: "HTTP_PROXY=http://127.0.0.1:PORT\n"})},
    "Codex's own variable in .env": {
        "files": home(OPENAI, **{DOTENV: "CODEX_API_KEY=sk-dotenv\n", "ch/auth.json": KEY})
    },
    # credentials of providers
    "variable": {"files": home(lab('env_key = "FAB_KEY"')), "environ": KEYS},
    "variable not set": {"files": home(lab('env_key = "FAB_KEY"'))},
    "variable blank": {
        "files": home(lab('env_key = "FAB_KEY"\nexperimental_bearer_token = "from-file"')),
        "environ": {"FAB_KEY": " "},
    },
    "variable and token": {
        "files": home(lab('env_key = "FAB_KEY"\nexperimental_bearer_token = "from-file"')),
        "environ": KEYS,
    },
    "variable not set, and token": {
        "files": home(lab('env_key = "FAB_KEY"\nexperimental_bearer_token = "from-file"'))
    },
    "token and login": {
        "files": home(
            lab('requires_openai_auth = true\nexperimental_bearer_token = "from-file"'),
            **{"ch/auth.json": KEY},
        )
    },
    "variable and login": {
        "files": home(lab('requires_openai_auth = true\nenv_key = "FAB_KEY"'), **{"ch/auth.json": KEY}),
        "environ": KEYS,
    },
    "variable not set, and login": {
        "files": home(lab('requires_openai_auth = true\nenv_key = "FAB_KEY"'), **{"ch/auth.json": KEY})
    },
    "login": {"files": home(lab("requires_openai_auth = true"), **{"ch/auth.json": KEY})},
    "login that is not used": {"files": home(lab(), **{"ch/auth.json": KEY})},
    "key of the environment": {
        "files": home(lab("requires_openai_auth = true")),
        "environ": {"CODEX_API_KEY": "sk-variable"},
    },
    "command": {"files": home(lab(COMMAND))},
    "command and variable": {"files": home(lab('env_key = "FAB_KEY"\n' + COMMAND)), "environ": KEYS},
    "command and token": {"files": home(lab('experimental_bearer_token = "x"\n' + COMMAND))},
    "command and login": {"files": home(lab("requires_openai_auth = true\n" + COMMAND))},
    "header": {"files": home(lab('http_headers = { Authorization = "Basic Zm9v" }'))},
    "header and variable": {
        "files": home(lab('http_headers = { Authorization = "Basic Zm9v" }\nenv_key = "FAB_KEY"')),
        "environ": KEYS,
    },
    "header of a variable": {
        "files": home(lab('env_http_headers = { Authorization = "FAB_HEADER" }')),
        "environ": KEYS,
    },
    "header of the same name in other letters": {
        "files": home(lab('http_headers = { x-t = "1" }\nenv_http_headers = { X-T = "FAB_HEADER" }')),
        "environ": KEYS,
    },
    "header of a blank variable": {
        "files": home(lab('http_headers = { x-t = "1" }\nenv_http_headers = { X-T = "FAB_HEADER" }')),
        "environ": {"FAB_HEADER": " "},
    },
    "header with spaces around": {"files": home(lab('http_headers = { x-t = "  a " }'))},
    "header with a tab": {"files": home(lab('http_headers = { x-t = "a\\tb" }'))},
    "empty header": {"files": home(lab('http_headers = { x-t = "", Authorization = "" }'))},
    "organization": {
        "files": home(OPENAI, **{"ch/auth.json": KEY}),
        "environ": {"OPENAI_ORGANIZATION": "org-x", "OPENAI_PROJECT": "proj-y"},
    },
    "organization, own provider": {"files": home(), "environ": {"OPENAI_ORGANIZATION": "org-x"}},
    "ChatGPT at a gateway": {
        "files": home(
            'model_reasoning_summary = "auto"\nchatgpt_base_url = "http://127.0.0.1:1/backend-api"\n'
            + OPENAI,
            **{"ch/auth.json": CHATGPT},
        ),
        "environ": {"OPENAI_ORGANIZATION": "org-x"},
    },
    "local server at a port": {"files": home(LOCAL), "environ": {"CODEX_OSS_PORT": "PORT"}},
    "local server elsewhere": {
        "files": home(LOCAL),
        "environ": {"CODEX_OSS_BASE_URL": "http://127.0.0.1:PORT/oss/"},
    },
    "empty provider": {"files": home(lab().replace(USE, 'model_provider = ""\n'))},
    "OpenAI with a key": {"files": home(OPENAI, **{"ch/auth.json": KEY})},
    # values
    "byte order mark": {"files": home("\ufeff" + lab())},
    "CRLF": {"files": home(lab().replace("\n", "\r\n"))},
    "Latin-1": {"files": home(lab().encode() + b"# \xe9\n")},
    "effort High": {"files": home(lab(top='model_reasoning_effort = "High"\n'))},
    "effort ultra": {"files": home(lab(top='model_reasoning_effort = "ultra"\n'))},
    "effort that is a time": {"files": home(lab(top="model_reasoning_effort = 1979-05-27 07:32:00.50Z\n"))},
    "model that is a date": {"files": home(lab(model="model = 1979-05-27\n"))},
    "header that is a time": {"files": home(lab("http_headers = { x-t = 07:32 }"))},
    "effort empty": {"files": home(lab(top='model_reasoning_effort = ""\n'))},
    "verbosity loud": {"files": home(lab(top='model_verbosity = "loud"\n'))},
    "summary brief": {"files": home(lab(top='model_reasoning_summary = "brief"\n'))},
    "tier default": {"files": home(lab(top='service_tier = "default"\n'))},
    "tier empty": {"files": home(lab(top='service_tier = ""\n'))},
    "tier flex": {"files": home(lab(top='service_tier = "flex"\n'))},
    "tier fast": {"files": home(lab(top='service_tier = "fast"\n'))},
    "retries above 100": {"files": home(lab("request_max_retries = 200\nstream_max_retries = 1000000"))},
    "retries below 0": {"files": home(lab("request_max_retries = -1"))},
    "timeout of an age": {"files": home(lab("stream_idle_timeout_ms = 99999999999999999"))},
    "unknown keys": {"files": home(lab('baseURL = "x"\nx = 1979-05-27', 'modelProvider = "x"\ny = nan\n'))},
    "header of a wrong type": {"files": home(lab("http_headers = { a = 1 }"))},
    "header that cannot be sent": {"files": home(lab('http_headers = { "a b" = "1", x-t = "2" }'))},
    "unused provider of a wrong type": {"files": home(lab() + "[model_providers.y]\nbase_url = 5\n")},
    "unused provider with chat": {
        "files": home(lab() + '[model_providers.y]\nname = "Y"\nbase_url = "http://y"\nwire_api = "chat"\n')
    },
    "reserved openai": {"files": home(lab() + provider("openai", "x"))},
    "reserved ollama": {"files": home(lab() + provider("ollama", "x"))},
    "reserved lmstudio": {"files": home(lab() + provider("lmstudio", "x"))},
    "reserved in the profile": {"files": home(**{PROFILE: provider("openai", "x")}), "profile": "work"},
    "reserved openai, nothing said": {
        "files": home(lab() + '[model_providers.openai]\nwire_api = "responses"\nx = 1\n')
    },
    "reserved amazon-bedrock": {"files": home(lab() + provider("amazon-bedrock", "x"))},
    "reserved amazon-bedrock, chosen": {
        "files": home(
            lab().replace(USE, 'model_provider = "amazon-bedrock"\n') + provider("amazon-bedrock", "x")
        )
    },
    "amazon-bedrock's own settings": {
        "files": home(
            lab()
            + '[model_providers.amazon-bedrock]\nbase_url = "http://x"\nhttp_headers = { a = "b" }\n'
            + 'aws = { profile = "p", region = "r" }\n'
        )
    },
    "amazon-bedrock with two ways to sign in": {
        "files": home(
            lab() + '[model_providers.amazon-bedrock]\naws = { profile = "p" }\nauth = { command = "c" }\n'
        )
    },
    "amazon-bedrock with retries": {
        "files": home(lab() + "[model_providers.amazon-bedrock]\nrequest_max_retries = 1\n")
    },
    "AWS of another provider": {"files": home(lab('aws = { profile = "p" }'))},
    "reserved gcp": {"files": home(lab() + provider("gcp", "x"))},
    "gcp's own settings": {
        "files": home(lab() + '[model_providers.gcp]\nbase_url = "http://x"\ngcp = { project = "p" }\n')
    },
    "gcp with AWS": {"files": home(lab() + '[model_providers.gcp]\naws = { profile = "p" }\n')},
    "unknown provider": {"files": home(lab().replace(USE, 'model_provider = "labb"\n'))},
    "wrong address that is not used": {
        "files": home(lab(top='openai_base_url = "ftp://x"\nchatgpt_base_url = "x"\n'))
    },
    # texts
    "developer instructions": {"files": home(lab(top='developer_instructions = "TEXT-A"\n'))},
    "developer instructions of the profile": {
        "files": home(
            lab(top='developer_instructions = "TEXT-A"\n'), **{PROFILE: 'developer_instructions = "TEXT-B"\n'}
        ),
        "profile": "work",
    },
    "blank developer instructions": {"files": home(lab(top='developer_instructions = " "\n'))},
    **{
        f"documents below {what}": {
            "files": home(**{"AGENTS.md": "TEXT-A", "work/sub/AGENTS.md": "TEXT-B", marker: ""}),
            "folder": "work/sub",
        }
        for what, marker in (("a repository", ".git/HEAD"), ("what is no repository", ".git/objects/x"))
    },
    "document of the home": {"files": home(**{"ch/AGENTS.md": "TEXT-A"})},
    "document of the home, overridden": {
        "files": home(**{"ch/AGENTS.md": "TEXT-A", "ch/AGENTS.override.md": "TEXT-B"})
    },
    "documents of a project": {
        "files": home(
            **{
                "work/.git/HEAD": "ref: refs/heads/main",
                "work/AGENTS.md": "TEXT-A",
                "work/sub/AGENTS.md": "TEXT-B",
                "work/sub/CLAUDE.md": "TEXT-C",
            }
        ),
        "folder": "work/sub",
    },
    "documents of other names": {
        "files": home(
            lab(top='project_doc_fallback_filenames = ["CLAUDE.md", "README.md"]\n'),
            **{
                "ch/CLAUDE.md": "TEXT-A",
                "work/.git/HEAD": "ref: refs/heads/main",
                "work/CLAUDE.md": "TEXT-B",
                "work/README.md": "TEXT-C",
                "work/sub/AGENTS.md": "TEXT-D",
                "work/sub/CLAUDE.md": "TEXT-E",
            },
        ),
        "folder": "work/sub",
    },
    "documents of limited size": {
        "files": home(lab(top="project_doc_max_bytes = 5\n"), **{"work/AGENTS.md": "long TEXT-A"})
    },
    "no documents": {"files": home(lab(top="project_doc_max_bytes = 0\n"), **{"work/AGENTS.md": "TEXT-A"})},
    "catalog": {
        "files": home(lab(top='model_catalog_json = "models.json"\n'), **{"ch/models.json": '{"models": []}'})
    },
    "catalog that is not there": {"files": home(lab(top='model_catalog_json = "models.json"\n'))},
    # Azure
    **{
        f"Azure at {host}, named {name}": {
            "files": home(
                lab()
                .replace("http://127.0.0.1:PORT/lab", f"http://{host}/openai")
                .replace('name = "lab"', f'name = "{name}"')
            ),
            "environ": {"HTTP_PROXY": "http://127.0.0.1:PORT"},
        }
        for host, name in (
            ("res.openai.azure.com", "Az"),
            ("res.openai.azure.com", "azure"),
            ("res.services.ai.azure.com", "Az"),
            ("res.cognitiveservices.azure.com", "Az"),
        )
    },
    # proxies
    "proxy": {"files": home(FAR), "environ": {"HTTP_PROXY": "http://127.0.0.1:PORT"}},
    "proxy without a scheme": {"files": home(FAR), "environ": {"http_proxy": "127.0.0.1:PORT"}},
    "proxy for all": {
        "files": home(FAR),
        "environ": {"ALL_PROXY": "http://127.0.0.1:PORT", "HTTPS_PROXY": "http://x"},
    },
    "SOCKS that is not needed": {
        "files": home(FAR),
        "environ": {"HTTP_PROXY": "http://127.0.0.1:PORT", "ALL_PROXY": "socks5://127.0.0.1:1"},
    },
    "NO_PROXY with another port": {
        "files": home(FAR),
        "environ": {"HTTP_PROXY": "http://127.0.0.1:PORT", "NO_PROXY": "lab.invalid:80,*.invalid"},
    },
}


REFUSED = {
    "broken profile",
    "old profile chosen",
    "old profile beside the file",
    "old profile without the file",
    "profile in a profile",
    "profile of the system",
    "managed login method",
    "managed broken",
    "no login method",
    "required broken",
    "required unknown method",
    "project broken",
    "variable not set",
    "variable blank",
    "variable not set, and token",
    "variable not set, and login",
    "command and variable",
    "command and token",
    "command and login",
    "Latin-1",
    "effort empty",
    "verbosity loud",
    "summary brief",
    "retries below 0",
    "header of a wrong type",
    "unused provider of a wrong type",
    "unused provider with chat",
    "reserved openai",
    "reserved ollama",
    "reserved lmstudio",
    "reserved in the profile",
    "reserved amazon-bedrock",
    "reserved amazon-bedrock, chosen",
    "amazon-bedrock with two ways to sign in",
    "amazon-bedrock with retries",
    "AWS of another provider",
    "reserved gcp",
    "gcp with AWS",
    "forced login, own provider, other login",
    "forced key, own provider, other login",
    "forced key, own provider, access token",
    "forced login, local server, other login",
    "forced login, own provider, unreadable login",
    "forced login, own key, other login",
    "forced workspace, own provider, another's login",
    "managed login method, own provider, other login",
    "unknown provider",
    "empty provider",
    "catalog",
    "catalog that is not there",
}


@pytest.mark.parametrize("name", HOMES)
async def test_the_same_request_leaves_or_both_refuse(
    codex_program: Path, tmp_path: Path, recorder: RecordingServer, name: str
) -> None:
    world = World(codex_program, tmp_path, recorder, **HOMES[name])
    theirs = world.theirs()
    assert len(theirs) == (0 if name in REFUSED else 1)
    assert await world.ours() == theirs


def blank_key_beside_tokens(mode: str | None) -> str:
    return json.dumps({**json.loads(CHATGPT), "OPENAI_API_KEY": "", "auth_mode": mode})


AT_A_GATEWAY = (
    'model_reasoning_summary = "auto"\nchatgpt_base_url = "http://127.0.0.1:1/backend-api"\n' + OPENAI
)
TOKEN = json.loads(CHATGPT)["tokens"]["access_token"]
FAILS = COMMAND.replace("echo from-command", "exit 3")
Told = dict[str, Any] | None

# What docs/configuration.md lists: the World, and what differs in the CLI's request and in ours; None: no request.
DIFFERENT: dict[str, tuple[dict[str, Any], Told, Told]] = {
    "an unknown profile": ({"files": home(), "profile": "work"}, {}, None),
    "a request to this machine": (
        {"files": home(), "environ": {"HTTP_PROXY": "http://127.0.0.1:PORT"}},
        {"path": "http://127.0.0.1:PORT/lab/v1/responses"},
        {"path": "/lab/v1/responses"},
    ),
    "a provider without a name": ({"files": home(lab().replace('name = "lab"\n', ""))}, None, {}),
    "an empty key": (
        {"files": home(lab('experimental_bearer_token = ""'))},
        {"authorization": "Bearer"},
        {"authorization": None},
    ),
    "an empty key, and a login": (
        {
            "files": home(
                lab('requires_openai_auth = true\nexperimental_bearer_token = ""'), **{"ch/auth.json": KEY}
            )
        },
        {"authorization": "Bearer"},
        {"authorization": None},
    ),
    "an empty key, and a header": (
        {
            "files": home(
                lab('http_headers = { Authorization = "Basic Zm9v" }\nexperimental_bearer_token = ""')
            )
        },
        {"authorization": "Bearer"},
        {"authorization": "Basic Zm9v"},
    ),
    "an empty key beside tokens": (
        {"files": home(AT_A_GATEWAY, **{"ch/auth.json": blank_key_beside_tokens(None)})},
        {"authorization": "Bearer", "chatgpt-account-id": None},
        {"authorization": f"Bearer {TOKEN}", "chatgpt-account-id": "acct-1"},
    ),
    "an empty key that is the login": (
        {"files": home(AT_A_GATEWAY, **{"ch/auth.json": blank_key_beside_tokens("apikey")})},
        {"authorization": "Bearer"},
        None,
    ),
    "spaces around a key": (
        {"files": home(lab('env_key = "FAB_KEY"')), "environ": {"FAB_KEY": " from-variable "}},
        {"authorization": "Bearer  from-variable"},
        {"authorization": "Bearer from-variable"},
    ),
    "a key that is not ASCII": (
        {"files": home(lab('experimental_bearer_token = "kéy"'))},
        {"authorization": "Bearer k\xc3\xa9y"},
        None,
    ),
    "a header that is not ASCII": (
        {"files": home(lab('http_headers = { x-t = "é" }'))},
        {"x-t": "\xc3\xa9"},
        {"x-t": None},
    ),
    "no model, and a provider of one's own": ({"files": home(lab(model=""))}, {}, None),
    "no login": ({"files": home(lab("requires_openai_auth = true"))}, {"authorization": None}, None),
    "a command that fails": ({"files": home(lab(FAILS))}, {"authorization": None}, None),
    "a command that prints nothing": (
        {"files": home(lab(FAILS.replace("exit 3", "true")))},
        {"authorization": None},
        None,
    ),
    "an address of ChatGPT that is none": (
        {"files": home('chatgpt_base_url = "x"\n' + OPENAI, **{"ch/auth.json": KEY})},
        {},
        None,
    ),
}


@pytest.mark.parametrize("name", DIFFERENT)
async def test_what_differs_is_what_is_listed(
    codex_program: Path, tmp_path: Path, recorder: RecordingServer, name: str
) -> None:
    more, their_own, our_own = DIFFERENT[name]
    world = World(codex_program, tmp_path, recorder, **more)
    theirs, ours = world.theirs(), await world.ours()
    assert [len(theirs), len(ours)] == [int(each is not None) for each in (their_own, our_own)]
    for sent, own in ((theirs, their_own), (ours, our_own)):
        for request in sent:
            wanted = {key: world.filled(value) if value else value for key, value in (own or {}).items()}
            assert {key: request[key] for key in wanted} == wanted
    if theirs and ours:
        rest = [{key: each[key] for key in each if key not in (their_own or {})} for each in (*theirs, *ours)]
        assert rest[0] == rest[1]


def skill(word: str, name: str | None = None) -> str:
    return f"---\nname: {name or word.lower()}\ndescription: TEXT-{word}\n---\nHow to do it.\n"


ONLY_BY_NAME = "policy:\n  allow_implicit_invocation: false\n"
SKILLS = {
    "ch/skills/a/SKILL.md": skill("A"),
    "ch/skills/a/deeper/SKILL.md": skill("B"),
    "ch/skills/deep/er/SKILL.md": skill("C"),
    "ch/skills/too/deep/for/it/to/be/found/here/SKILL.md": skill("D"),
    "ch/skills/.hidden/SKILL.md": skill("E"),
    "ch/skills/.system/mine/SKILL.md": skill("F"),
    "ch/skills/plain/SKILL.md": "TEXT-G",
    "ch/skills/nameless/SKILL.md": "---\ndescription: TEXT-H\n---\n",
    "ch/skills/long/SKILL.md": skill("I").replace("TEXT-I", "TEXT-I " + "x" * 3_000),
    "ch/skills/longname/SKILL.md": skill("J", "j" * 100),
    "ch/skills/odd/SKILL.md": skill("K", "[k"),
    "ch/skills/lines/SKILL.md": skill("L").replace("TEXT-L", "|\n  One.\n  TEXT-L").replace("\n", "\r\n"),
    "ch/skills/offpath/SKILL.md": skill("M"),
    "ch/skills/offrelative/SKILL.md": skill("N"),
    "ch/skills/offfolder/SKILL.md": skill("O"),
    "ch/skills/offname/SKILL.md": skill("P"),
    "ch/skills/onagain/SKILL.md": skill("Q"),
    "ch/skills/byname/SKILL.md": skill("R"),
    "ch/skills/byname/agents/openai.yaml": ONLY_BY_NAME,
    "home/.agents/skills/s/SKILL.md": skill("S"),
    "etc/codex/skills/t/SKILL.md": skill("T"),
    "work/.git/HEAD": "ref: refs/heads/main",
    "work/.codex/skills/u/SKILL.md": skill("U"),
    "work/.agents/skills/v/SKILL.md": skill("V"),
    "work/sub/.agents/skills/w/SKILL.md": skill("W"),
}
SWITCHES = (
    ("path", "ROOT/ch/skills/offpath/SKILL.md", "false"),
    ("path", "skills/offrelative/SKILL.md", "false"),
    ("path", "ROOT/ch/skills/offfolder", "false"),
    ("name", "p", "false"),
    ("name", "q", "false"),
    ("name", "q", "true"),
)


@pytest.mark.parametrize("lines", ["", "[skills]\ninclude_instructions = false\n"])
def test_the_same_skills_are_listed(
    codex_program: Path, tmp_path: Path, recorder: RecordingServer, lines: str
) -> None:
    switches = [f'[[skills.config]]\n{key} = "{value}"\nenabled = {on}\n' for key, value, on in SWITCHES]
    files = home(lab() + lines + "".join(switches), **SKILLS)
    world = World(codex_program, tmp_path, recorder, files, folder="work/sub")
    (theirs,) = world.theirs()
    settings = load_settings(world.variables, machine=Machine(root=tmp_path))
    found = skills_of(settings, tmp_path / world.folder, world.variables) if settings.lists_skills else ()
    assert sorted(re.findall("TEXT-[A-Z]+", skills_listing(found))) == theirs["texts"]


WITHOUT_A_MODEL = AT_A_GATEWAY.replace('model = "gpt-5.5"\n', "")


@pytest.mark.parametrize("login", [KEY, CHATGPT], ids=["key", "ChatGPT"])
async def test_the_default_model_is_the_clis(
    codex_program: Path, codex_version: str, tmp_path: Path, recorder: RecordingServer, login: str
) -> None:
    world = World(codex_program, tmp_path, recorder, home(WITHOUT_A_MODEL, **{"ch/auth.json": login}))
    (theirs,), (ours,) = world.theirs(), await world.ours()
    found = {"default model": "different values"} if theirs["model"] != ours["model"] else {}
    listed = documented(f"### {codex_version}").items()
    assert found == {key: who for key, who in listed if key == "default model"}
    assert ours["model"] == json.loads(TABLE.read_text())["models"][0]["slug"]


# What the CLI loads beside the keys that we need; the values are written in every form of TOML 1.1.
VALUES = st.sampled_from(
    [
        "1",
        "0x0f",
        "-5",
        "1e3",
        "inf",
        "true",
        '""',
        '"\\e[0m"',
        '"\\x41"',
        "'''a\nb'''",
        '"""a\\\n  b"""',
        "07:32",
        "1979-05-27",
        "1979-05-27 07:32Z",
        "[]",
        '["a"]',
        "[1, [2],\n # comment\n]",
        '{ a = "b" }',
        "{ a = 1, b.c = 2 }",
        "{\n  a = 1, # comment\n  b = [\n 1 ],\n}",
        "{}",
    ]
)
KEYS_OF_TOML = st.from_regex(r"zz_[a-z0-9_-]{1,8}|\"zz [ -!#-Z^-~]{0,6}\"|'zz[ -&(-~]{0,6}'", fullmatch=True)
LINES = st.lists(st.tuples(KEYS_OF_TOML, VALUES), max_size=8, unique_by=lambda line: line[0].strip("\"'"))
# Keys that both programs know, and tables that a question does not need.
KNOWN = st.sampled_from(
    sorted(ConfigToml.model_fields.keys() - {"model_provider", "model_providers", "profile"})
)
UNUSED = {
    "model_providers.unused": (
        "name",
        "env_key",
        "query_params",
        "http_headers",
        "request_max_retries",
        "auth",
        "x",
    ),
    "profiles.unused": ("model", "model_provider", "sandbox_mode", "x"),
    'projects."/somewhere"': ("trust_level", "x"),
    "tui": ("theme", "notifications", "x"),
    "history": ("persistence", "max_bytes", "x"),
    "features": ("hooks", "unified_exec", "x"),
    "shell_environment_policy": ("inherit", "set", "exclude", "x"),
    "sandbox_workspace_write": ("network_access", "writable_roots", "x"),
    "otel": ("environment", "x"),
    "notice": ("hide_full_access_warning", "x"),
    "tools": ("web_search", "view_image", "x"),
}
PLACES = st.sampled_from([(table, key) for table, keys in UNUSED.items() for key in keys])


@given(
    lines=LINES,
    known=st.none() | st.tuples(KNOWN, VALUES),
    unused=st.none() | st.tuples(PLACES, VALUES),
    newline=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
)
@hypothesis_settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_the_cli_loads_is_loaded(
    codex_program: Path,
    tmp_path_factory: pytest.TempPathFactory,
    recorder: RecordingServer,
    lines: list[tuple[str, str]],
    known: tuple[str, str] | None,
    unused: tuple[tuple[str, str], str] | None,
    newline: str,
    mark: bool,
) -> None:
    text = "".join(f"{key} = {value}\n" for key, value in (*lines, *([known] if known else ())))
    model = "" if known and known[0] == "model" else 'model = "gpt-5.5"\n'
    text += lab(model=model).removesuffix(QUIET)
    if unused is not None:
        (table, key), value = unused
        text += f"[{table}]\n{key} = {value}\n"
    config = ("\ufeff" if mark else "") + text.replace("\n", newline)
    world = World(codex_program, tmp_path_factory.mktemp("world"), recorder, home(config))
    is_loaded = world.is_loaded_by_the_cli()
    event(f"loaded by the CLI: {is_loaded}")
    if is_loaded:
        assert load_settings(world.variables).provider.id == "lab"
