"""Both engines against a real account, by explicit choice: two short questions each, and what the account is.

``CODEX_NB_LIVE=1`` chooses it, and ``CODEX_NB_LIVE_HOME`` names the CODEX_HOME whose login is used (``~/.codex``).
"""

from __future__ import annotations

import os
from pathlib import Path
from secrets import token_hex

import pytest

from codex_nb.config.settings import load_settings
from codex_nb.profile import Profile, make_profile
from codex_nb.session.prompt import TurnRequest
from codex_nb.tools.approval import DenyAll
from codex_nb.tools.base import Ports
from tests.session.scripted import SameThread

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        os.environ.get("CODEX_NB_LIVE") != "1",
        reason="CODEX_NB_LIVE=1 asks a real account, which costs a little",
    ),
]


def live_profile(codex_program: Path) -> Profile:
    """Open the person's profile as a kernel does that has just started."""
    home = Path(os.environ.get("CODEX_NB_LIVE_HOME", "~/.codex")).expanduser()
    environ = {**os.environ, "CODEX_HOME": str(home), "CODEX_NB_CODEX": str(codex_program)}
    return make_profile(load_settings(environ), environ)


@pytest.mark.parametrize("is_agent", [False, True], ids=["direct", "agent"])
async def test_a_real_account_answers_over_two_kernels_and_says_who_it_is(
    codex_program: Path, tmp_path: Path, is_agent: bool
) -> None:
    marker, thread = f"MARKER-{token_hex(3)}", f"codex-nb-live-{token_hex(3)}"
    prompts = [f"Remember {marker}. Answer with that word alone.", "Which word was it? Answer with it alone."]
    for prompt in prompts:
        profile = live_profile(codex_program)
        try:
            request = TurnRequest(prompt, thread=thread, folder=tmp_path, agent=is_agent)
            answer = await profile.assistant.answer(request, ports=Ports(SameThread()), approver=DenyAll())
            assert marker in answer.text
            status, limits = await profile.status()
            assert status.signed_in
            assert (limits is not None) or answer.billing == "api_key"
            assert await (profile.agent.open().models() if is_agent else profile.backend.models())
            if prompt is prompts[-1]:
                await profile.assistant.forget(thread)
        finally:
            await profile.close()
