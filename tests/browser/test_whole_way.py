"""End to end: a login of the real CLI, JupyterLab, a streaming answer, an approval, reopening."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from codex_nb.simulator import Call, End, Reply, Say, Scenario, Simulator, Think
from tests import tiers
from tests.browser.asking import LOAD, lead_to
from tests.browser.jupyter_server import FrontEnd
from tests.browser.notebook_page import NotebookPage
from tests.contract.cli import CodexCli
from tests.contract.test_logins import DEVICE_LOGIN
from tests.patience import PATIENCE_S

LOOK = "print('rows', len(df)); df.describe()"
FRAME = "import pandas as pd\ndf = pd.DataFrame({'height': [1.6, 1.7, 1.8], 'weight': [60, 70, 85]})"
SCENARIO = Scenario(
    (
        Reply(
            stream=(
                Think(("**Looking first**\n\nThe frame is small.",)),
                Say("I will **look** at `df` before I answer.", gate="middle"),
                Call("run_python", {"code": LOOK}, call_id="call_look"),
                End(),
            )
        ),
        Reply(
            stream=(Say("There are *three rows*.\n\n| column | mean |\n|---|---|\n| height | 1.7 |"), End())
        ),
    )
)


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """Run a simulator that plays the scenario."""
    with Simulator(SCENARIO, tls=True) as simulator:
        yield simulator


@pytest.fixture
def signed_in_by_the_cli(sim: Simulator, tmp_path: Path, kernel_environ: dict[str, str]) -> CodexCli:
    """Let the real Codex CLI log in by device code; the kernel gets the home that it leaves behind."""
    program = tiers.codex_cli()
    assert program is not None, "the Codex CLI is not here: python -m tests.provision contract"
    cli = CodexCli(program, sim, tmp_path)
    cli.configure(sim.config_toml("builtin"))
    with cli.running(*DEVICE_LOGIN, sim.issuer) as process:
        assert sim.requests.wait(lambda log: log.count("/deviceauth/token") > 0, PATIENCE_S)
        (code,) = sim.waiting_device_codes()
        sim.approve_device_code(code)
        process.communicate(timeout=PATIENCE_S)
    kernel_environ.update(sim.environ() | {"CODEX_HOME": str(cli.home)})
    return cli


@pytest.mark.parametrize("front_end", [FrontEnd.LAB, FrontEnd.NOTEBOOK])
def test_a_login_of_the_real_cli_answers_with_an_approval_during_the_cell(
    open_notebook: Callable[..., NotebookPage],
    signed_in_by_the_cli: CodexCli,
    sim: Simulator,
    front_end: FrontEnd,
) -> None:
    notebook = open_notebook(["%load_ext codex_nb", FRAME, "%%codex\nHow many rows has df?", "1 + 1"])
    notebook.run(0)
    notebook.run(1)
    notebook.start(2)

    notebook.wait_for_text(2, "I will")  # the response stops in the middle of its text
    assert sim.requests.count("/responses", "POST") == 1
    assert notebook.execution_count(2) is None
    sim.release("middle")

    approve = notebook.output(2).get_by_role("button", name="Approve", exact=True)
    approve.wait_for()
    assert LOOK in notebook.output(2).inner_text()
    assert "rows 3" not in notebook.output(2).inner_text()
    notebook.screenshot(f"whole-way-asking-{front_end}")
    approve.click()

    notebook.wait_for_text(2, "three rows")
    notebook.wait_until_run(2)
    notebook.wait_for_text(2, "rows 3")
    notebook.screenshot(f"whole-way-answered-{front_end}")
    (_, second) = sim.requests.to("/responses", "POST")
    (output,) = [item for item in second.body["input"] if item["type"] == "function_call_output"]
    assert "rows 3" in str(output["output"])

    notebook.run(3)
    saved = notebook.save()
    kinds = {kind for output in saved.cells[2].outputs for kind in output.get("data", {})}
    assert "application/vnd.jupyter.widget-view+json" not in kinds
    notebook.reopen_without_kernel()
    notebook.wait_for_text(2, "three rows")
    assert "Error displaying widget" not in notebook.output(2).inner_text()
    notebook.screenshot(f"whole-way-reopened-{front_end}")


@pytest.mark.parametrize("front_end", [FrontEnd.LAB])
def test_always_allowed_code_is_asked_about_once_and_other_code_again(
    open_notebook: Callable[..., NotebookPage], kernel_environ: dict[str, str]
) -> None:
    def run(code: str, call_id: str) -> Reply:
        return Reply(stream=(Call("run_python", {"code": code}, call_id=call_id), End()))

    calls = (run("print('one')", "c1"), run("print('one')", "c2"), run("print('two')", "c3"))
    with Simulator(Scenario((*calls, Reply(stream=(Say("All done."), End()))))) as simulator:
        lead_to(simulator, kernel_environ)
        notebook = open_notebook([LOAD, "%%codex\nRun it."])
        notebook.run(0)
        notebook.start(1)
        notebook.output(1).get_by_role("button", name="Always allow this code").click()
        notebook.output(1).get_by_role("button", name="Approve", exact=True).click()
        notebook.wait_for_text(1, "All done.")
        notebook.wait_until_run(1)
        printed = "".join(each.get("text", "") for each in notebook.save().cells[1].outputs)
        assert printed == "one\none\ntwo\n"
