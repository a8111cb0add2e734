from __future__ import annotations

import pytest

from codex_nb.errors import CodexError, ToolError

NEEDS_ITS_OWN_HINT = {"AuthError", "ApiError", "ConfigError", "CredentialsUnreadable"}


def classes(base: type[CodexError] = CodexError) -> list[type[CodexError]]:
    return [one for child in base.__subclasses__() for one in (child, *classes(child))]


@pytest.mark.parametrize(
    "error", [one for one in classes() if not issubclass(one, ToolError)], ids=lambda one: one.__name__
)
def test_every_error_that_a_user_can_see_says_what_to_do_next(error: type[CodexError]) -> None:
    assert error.default_hint or error.__name__ in NEEDS_ITS_OWN_HINT
