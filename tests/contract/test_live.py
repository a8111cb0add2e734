"""Both engines against a real account, by explicit choice: two short questions each, and what the account is.

``CODEX_NB_LIVE=1`` chooses it, and ``CODEX_NB_LIVE_HOME`` names the CODEX_HOME whose login is used (your own).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from secrets import token_hex

import pytest

from codex_nb.config.settings import Environment, load_settings
from codex_nb.magics.account import profile_status
from codex_nb.profile import Profile, make_profile
from codex_nb.session.prompt import TurnRequest
from codex_nb.simulator import End, Reply, Say, Scenario, Simulator
from codex_nb.tools.approval import DenyAll
from codex_nb.tools.base import Ports
from tests.conftest import INHERITED
from tests.contract.test_agent import texts_on_disk
from tests.patience import PATIENCE_S
from tests.session.scripted import SameThread

pytestmark = pytest.mark.anyio

IS_LIVE = INHERITED.get("CODEX_NB_LIVE") == "1"
HOME = Path(INHERITED.get("CODEX_NB_LIVE_HOME") or INHERITED.get("CODEX_HOME") or "~/.codex").expanduser()
ACCOUNT_ID = "00000000-0000-0000-0000-000000000000"  # no secret is as short
MARKER = "CODEX_NB_LIVE_MARKER"  # what stands for an account can answer with this word only


def live_profile(codex_program: Path) -> Profile:
    """Open the person's profile as a kernel does that has just started."""
    environ = {**INHERITED, "CODEX_HOME": str(HOME), "CODEX_NB_CODEX": str(codex_program)}
    return make_profile(load_settings(environ), Environment(environ))


def secrets_of_the_login() -> set[bytes]:
    """Return the tokens and the key in auth.json; none where the login is elsewhere."""
    file = HOME / "auth.json"
    login = json.loads(file.read_text()) if file.exists() else {}
    values = [login.get("OPENAI_API_KEY"), *(login.get("tokens") or {}).values()]
    return {each.encode() for each in values if isinstance(each, str) and len(each) > len(ACCOUNT_ID)}


@pytest.mark.skipif(not IS_LIVE, reason="CODEX_NB_LIVE=1 asks a real account, which costs a little")
@pytest.mark.parametrize("is_agent", [False, True], ids=["direct", "agent"])
async def test_a_real_account_answers_over_two_kernels_and_says_who_it_is(
    codex_program: Path, tmp_path: Path, is_agent: bool
) -> None:
    marker, thread = INHERITED.get(MARKER) or f"MARKER-{token_hex(3)}", f"codex-nb-live-{token_hex(3)}"
    prompts = [f"Remember {marker}. Answer with that word alone.", "Which word was it? Answer with it alone."]
    secrets = secrets_of_the_login()
    for prompt in prompts:
        profile = live_profile(codex_program)
        try:
            request = TurnRequest(prompt, thread=thread, folder=tmp_path, agent=is_agent)
            answer = await profile.assistant.answer(request, ports=Ports(SameThread()), approver=DenyAll())
            assert marker in answer.text
            status = await profile_status(profile, in_full=True)
            assert status.signed_in
            assert (status.limits is not None) or answer.billing == "api_key"
            assert await (profile.agent.open().models() if is_agent else profile.backend.models())
            secrets |= secrets_of_the_login()
            if prompt is prompts[-1]:
                await profile.assistant.forget(thread)
        finally:
            await profile.close()
        texts = texts_on_disk(HOME / "codex_nb")
        assert [path for path, text in texts.items() if any(each in text for each in secrets)] == []


@pytest.mark.skipif(IS_LIVE, reason="it is what is running")
def test_what_asks_a_real_account_does_so_where_the_simulator_stands_for_it(tmp_path: Path) -> None:
    with Simulator(Scenario((Reply(stream=(Say("MARKER-SIM"), End()), times=None),)), tls=True) as sim:
        sim.change(websockets=False)
        (tmp_path / "config.toml").write_text(sim.config_toml())
        sim.write_login(tmp_path)
        chosen = {"CODEX_NB_LIVE": "1", "CODEX_NB_LIVE_HOME": str(tmp_path), MARKER: "MARKER-SIM"}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
            env={**os.environ, **sim.environ(), **chosen},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        sent = [json.dumps(each.body["input"]) for each in sim.requests.to("/responses") if each.body]
    assert (done.returncode, "2 passed, 1 skipped" in done.stdout) == (0, True), done.stdout
    assert (
        sum("Remember MARKER-SIM" in text and "Which word" in text for text in sent) == 2
    )  # one by each engine
