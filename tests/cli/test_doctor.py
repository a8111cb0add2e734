"""The doctor: whatever is broken, it is a finding with a remedy, and nothing it looks at ends it."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from codex_nb.cli import main
from codex_nb.config.layers import Machine
from codex_nb.config.settings import load_settings
from codex_nb.doctor import diagnose, settings_table
from codex_nb.files import LockState

KEY_LOGIN = json.dumps({"auth_mode": "apikey", "OPENAI_API_KEY": "sk-fabricated-0123456789"})
LAB = 'model_provider = "lab"\n[model_providers.lab]\nbase_url = "https://lab.test/v1"\n'
SECRET = "fabricated-secret"

# Each home: its files, the environment, and what is said of it.
BROKEN: dict[str, tuple[dict[str, str | bytes], dict[str, str], str]] = {
    "no login": ({}, {}, "auth.json"),
    "half a line of TOML": ({"config.toml": "model ="}, {}, "is not valid TOML"),
    "UTF-16": ({"config.toml": 'model = "x"'.encode("utf-16")}, {}, "not UTF-8"),
    "a wrong type": ({"config.toml": "model = 5"}, {}, "expected a string"),
    "a wrong choice": ({"config.toml": 'model_verbosity = "loud"'}, {}, "'low', 'medium' or 'high'"),
    "a profile of the old form": ({"config.toml": 'profile = "x"'}, {}, "x.config.toml"),
    "a reserved provider": (
        {"config.toml": '[model_providers.openai]\nname = "x"'},
        {},
        "cannot be overridden",
    ),
    "an unknown provider": ({"config.toml": 'model_provider = "olama"'}, {}, "ollama"),
    "two keys of one provider": (
        {"config.toml": LAB + 'env_key = "K"\n[model_providers.lab.auth]\ncommand = "c"'},
        {},
        "cannot be combined",
    ),
    "the chat API": ({"config.toml": LAB + 'wire_api = "chat"'}, {}, '"responses"'),
    "no base URL": ({"config.toml": LAB.replace("base_url", "baseURL")}, {}, "base_url: it is missing"),
    "no URL": ({"config.toml": LAB.replace("https://", "")}, {}, "http:// or https://"),
    "a key in clear text": (
        {"config.toml": LAB.replace("https:", "http:") + f'experimental_bearer_token = "{SECRET}"'},
        {},
        "neither https nor on this machine",
    ),
    "a login in the address": (
        {"config.toml": LAB.replace("lab.test", f"ada:{SECRET}@lab.test")},
        {},
        "https://lab.test/v1 has a login in it",
    ),
    "a key that is not set": ({"config.toml": LAB + 'env_key = "LAB_KEY"'}, {}, "LAB_KEY"),
    "a command that is not there": (
        {"config.toml": LAB + '[model_providers.lab.auth]\ncommand = "no-such-command"'},
        {},
        "no-such-command",
    ),
    "a header that cannot be sent": ({"config.toml": LAB + 'http_headers = { k = "ü" }'}, {}, "not sent"),
    "a misspelled key": ({"config.toml": 'modelProvider = "x"\n' + LAB}, {}, "modelProvider is not used"),
    "a login that is no JSON": ({"auth.json": "{"}, {}, "auth.json"),
    "a login that all may read": ({"auth.json": KEY_LOGIN}, {}, "chmod 600"),
    "a login that is not allowed": (
        {"auth.json": KEY_LOGIN, "config.toml": 'forced_login_method = "chatgpt"'},
        {},
        "ChatGPT login is required",
    ),
    "a login that is not allowed beside a provider's own key": (
        {
            "auth.json": KEY_LOGIN,
            "config.toml": 'forced_login_method = "chatgpt"\n'
            + LAB
            + f'experimental_bearer_token = "{SECRET}"',
        },
        {},
        "ChatGPT login is required",
    ),
    "an empty key": ({"config.toml": LAB + 'experimental_bearer_token = " "'}, {}, "no key is sent"),
    "a provider that only the CLI has": (
        {"config.toml": 'model_provider = "amazon-bedrock"'},
        {},
        "codex_nb does not support",
    ),
    "a context window that is none": (
        {"config.toml": "model_context_window = -1\n" + LAB},
        {},
        "model_context_window is not used",
    ),
    "no proxy": ({"config.toml": LAB}, {"HTTPS_PROXY": f"ftp://ada:{SECRET}@p.test"}, "not a proxy URL"),
    "a pattern in NO_PROXY": (
        {"config.toml": LAB},
        {"HTTPS_PROXY": f"http://ada:{SECRET}@p.test", "NO_PROXY": "*.corp.test"},
        "'*.corp.test' matches no host",
    ),
    "no certificates": (
        {"config.toml": LAB, "ca.pem": "nothing"},
        {"SSL_CERT_FILE": "{home}/ca.pem"},
        "holds no",
    ),
    "no certificate file": ({"config.toml": LAB}, {"CODEX_CA_CERTIFICATE": "{home}/none.pem"}, "none.pem"),
    "a home that is a file": ({"config.toml": LAB}, {"CODEX_HOME": "{home}/config.toml"}, "not a directory"),
    "no home": ({}, {"CODEX_HOME": "{home}/none"}, "does not exist yet"),
    "a policy that is none": ({"config.toml": LAB}, {"CODEX_NB_APPROVAL": "sometimes"}, "CODEX_NB_APPROVAL"),
    "a CLI that is too old for the agent": (
        {"config.toml": LAB, "bin/codex": "#!/bin/sh\necho codex-cli 0.159.1\n"},
        {"PATH": "{home}/bin"},
        "is Codex CLI 0.159.1, and the agent needs 0.160.0 or newer",
    ),
    "a CLI that is named and not there": (
        {"config.toml": LAB},
        {"CODEX_NB_CODEX": "{home}/nowhere/codex"},
        "which is not there",
    ),
    "a CLI that fails": (
        {"config.toml": LAB, "bin/codex": "#!/bin/sh\nexit 3\n"},
        {"PATH": "{home}/bin"},
        "--version says no version",
    ),
}


def set_up(home: Path, files: dict[str, str | bytes], environ: dict[str, str]) -> dict[str, str]:
    for name, content in files.items():
        file = home / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        file.chmod(0o755)
    given = {"CODEX_HOME": str(home), "HOME": str(home.parent), "PATH": "/usr/bin:/bin"}
    return given | {name: value.format(home=home) for name, value in environ.items()}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_home_is_a_finding_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    files, environ, said = BROKEN[name]
    home = tmp_path / "home"
    home.mkdir()
    for variable in list(os.environ):
        monkeypatch.delenv(variable)
    for variable, value in set_up(home, files, environ).items():
        monkeypatch.setenv(variable, value)
    status, printed = main(["doctor"]), capsys.readouterr()
    findings = re.split(r"\n(?=-> |ok )", printed.out)
    problems = [each for each in findings if each.startswith("-> ")]
    assert (status, printed.err) == (1, "")
    assert any(said in each for each in problems), printed.out
    assert all(len(each.splitlines()) > 1 for each in problems)  # each has a remedy
    assert SECRET not in printed.out


def test_a_folder_that_cannot_be_listed_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    (tmp_path / "auth.json").mkdir()
    found = diagnose({"CODEX_HOME": str(tmp_path)})
    assert any("config.toml cannot be read" in each.found and each.advice for each in found)


def test_a_dotenv_that_cannot_be_read_stops_nothing_but_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(LAB)
    (tmp_path / ".env").mkdir()
    environ = {"CODEX_HOME": str(tmp_path)}
    assert load_settings(environ).provider.id == "lab"
    assert any(".env cannot be read" in each.found and each.advice for each in diagnose(environ))


def test_a_clock_that_is_behind_is_seen_by_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "auth.json").write_text(KEY_LOGIN)
    now = datetime.now(UTC)
    environ = {"CODEX_HOME": str(tmp_path)}
    on_time, behind = (
        {each.topic for each in diagnose(environ, clock=clock) if each.advice}
        for clock in (lambda: now, lambda: now - timedelta(hours=2))
    )
    assert behind - on_time == {"clock"}


@pytest.mark.parametrize(
    ("mount", "said", "is_risky"),
    [
        ("nfs rw,vers=3,local_lock=flock", "is on nfs, whose locks may not be seen by other machines", True),
        ("fuse.sshfs rw", "is on fuse.sshfs, whose locks may not be seen", True),
        ("nfs4 rw,vers=4.2,local_lock=none", "is on nfs4; other machines see the locks of this one", False),
    ],
)
def test_a_home_that_other_machines_use_is_named_with_its_risk(
    mount: str, said: str, is_risky: bool, tmp_path: Path
) -> None:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "mounts").write_text(f"nas:/home {tmp_path} {mount} 0 0\n")
    found = diagnose({"CODEX_HOME": str(tmp_path)}, machine=Machine(root=tmp_path))
    [about] = [each for each in found if each.topic == "file system"]
    assert said in about.found
    assert ("auth.lease" in about.advice) is is_risky
    assert about.is_well is not is_risky


def test_a_home_without_locks_and_the_owner_of_its_lease_are_findings(tmp_path: Path) -> None:
    (tmp_path / "auth.lock").touch()
    (tmp_path / "auth.lease").write_text('{"host": "node-7", "pid": 4711, "token": "t", "lasts_s": 120}')
    found = diagnose(
        {"CODEX_HOME": str(tmp_path)},
        machine=Machine(root=tmp_path),
        try_lock=lambda _descriptor: LockState.UNAVAILABLE,
    )
    said = {each.topic: each.found for each in found if each.advice}
    assert said["lock"] == f"files cannot be locked in {tmp_path}"
    assert said["lease"] == "process 4711 on node-7 is changing the login"


def test_what_is_in_order_needs_no_advice(tmp_path: Path) -> None:
    config = LAB + f'experimental_bearer_token = "{SECRET}"\nhttp_headers = {{ key = "{SECRET}" }}\n'
    files: dict[str, str | bytes] = {"config.toml": config, "bin/codex": "#!/bin/sh\necho codex-cli 9.9\n"}
    environ = set_up(
        tmp_path, files, {"HTTPS_PROXY": f"http://ada:{SECRET}@p.test", "PATH": "{home}/bin:/bin"}
    )
    environ["ALL_PROXY"] = "http://other.test"
    (tmp_path / ".env").write_text(f"OTHER_KEY={SECRET}\n")
    found = diagnose(environ, machine=Machine(root=tmp_path))
    assert [each for each in found if each.advice] == []
    said = {each.topic: each.found for each in found}
    assert any(each.found == f"{tmp_path / '.env'} sets the variables OTHER_KEY" for each in found)
    assert said["provider"] == "lab at https://lab.test/v1"
    assert said["HTTPS_PROXY"] == "requests go through http://p.test"
    assert said["Codex CLI"].startswith("Codex CLI 9.9.0 at ")
    assert SECRET not in repr(found)


def test_the_table_of_settings_says_where_each_comes_from_and_no_secret(tmp_path: Path) -> None:
    config = (
        'model = "m"\n'
        + LAB.replace("lab.test", f"ada:{SECRET}@lab.test")
        + f'http_headers = {{ a = "{SECRET}" }}\n'
    )
    environ = set_up(
        tmp_path, {"config.toml": config, "work.config.toml": 'model_reasoning_effort = "low"'}, {}
    )
    environ |= {"CODEX_NB_APPROVAL": "auto", "SSL_CERT_FILE": "/certs/corp.pem"}
    settings = load_settings(
        environ, profile="work", overrides={"verbosity": "high"}, machine=Machine(root=tmp_path)
    )
    rows = {name: (value, source) for name, value, source in settings_table(settings)}
    file = str(tmp_path / "config.toml")
    assert rows["model"] == ("m", file)
    assert rows["model_provider"] == ("lab", file)
    assert rows["model_providers.lab.base_url"] == ("https://lab.test/v1", file)
    assert rows["model_reasoning_effort"] == ("low", str(tmp_path / "work.config.toml"))
    assert rows["model_verbosity"] == ("high", "options")
    assert rows["approval"] == ("auto", "variable CODEX_NB_APPROVAL")
    assert rows["ca_certificate"] == ("/certs/corp.pem", "variable SSL_CERT_FILE")
    assert rows["service_tier"] == ("", "default")
    assert SECRET not in repr(rows)


@pytest.mark.parametrize(("scheme", "is_well"), [("https", True), ("http", False)])
def test_where_a_hub_keeps_the_login_none_is_missed_here(scheme: str, is_well: bool, tmp_path: Path) -> None:
    environ = {"CODEX_HOME": str(tmp_path), "CODEX_NB_TOKEN_URL": f"{scheme}://hub.test/services/codex/token"}
    found = {each.topic: each for each in diagnose(environ, machine=Machine(root=tmp_path))}
    about = found["CODEX_NB_TOKEN_URL"]
    assert (about.found, about.is_well) == ("your JupyterHub keeps the login (hub.test)", is_well)
    assert not {"auth.json", "login"} & set(found)


def test_the_hubs_service_says_that_a_hub_must_start_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("JUPYTERHUB_SERVICE_URL", raising=False)
    status, printed = main(["hub"]), capsys.readouterr()
    assert (status, printed.out) == (1, "")
    assert "c.JupyterHub.services" in printed.err
    assert len(printed.err.splitlines()) == 1
