from __future__ import annotations

import sys

import pytest

from tests import provision


def test_a_set_up_command_that_fails_says_which_and_why() -> None:
    program = "import sys; print('no such package', file=sys.stderr); sys.exit(3)"
    with pytest.raises(provision.NotHereError, match="ended with 3: no such package"):
        provision.run([sys.executable, "-c", program])


def test_a_set_up_command_that_is_not_installed_is_named() -> None:
    with pytest.raises(provision.NotHereError, match=r"^no-such-program-here is not installed$"):
        provision.run(["no-such-program-here", "install"])


def test_a_tier_without_a_set_up_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert provision.main(["submarine"]) == 2
    assert "no set-up for submarine" in capsys.readouterr().out
