from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from codex_nb.auth.credentials import AuthMode
from codex_nb.responses.events import Credits, RateLimits, Window
from codex_nb.ui.account import AccountStatus, AccountView, limit_rows, usage_bar
from tests.rendering.hostile import PAYLOADS, payload
from tests.rendering.strict import text_of, violations
from tests.ui.fakes import FakeNotebook

NOW = datetime(2026, 11, 20, 18, 0, tzinfo=timezone(timedelta(hours=1)))
STATUS = AccountStatus(
    signed_in=True,
    auth_mode=AuthMode.CHATGPT,
    label="ada@example.com",
    email="ada@example.com",
    plan="plus",
    account_id="workspace-1",
    billing="chatgpt",
    credentials_location="/home/ada/.codex/auth.json",
    expires_at=NOW + timedelta(hours=3),
)
LIMITS = RateLimits(
    windows=(
        Window(42.4, 300, NOW + timedelta(hours=1)),
        Window(7.0, 10_080, NOW + timedelta(days=3)),
        Window(None, None, None, limit="gpt-5.2-codex"),
    ),
    credits=Credits(has_credits=True, balance="12.50"),
)
REPORT = replace(STATUS, limits=LIMITS, model="gpt-5.2-codex", effort="medium", now=NOW)
KEY = AccountStatus(signed_in=True, auth_mode=AuthMode.API_KEY, label="API key sk-…cdef", billing="api_key")


def test_a_report_reads_as_text() -> None:
    assert str(REPORT).splitlines() == [
        "Account                a…@example.com",
        "Plan                   ChatGPT Plus",
        "Billing                included in ChatGPT Plus",
        "Workspace ID           …ce-1",
        "Credentials stored in  /home/ada/.codex/auth.json",
        "Valid until            today 21:00 (renews automatically)",
        "Model                  gpt-5.2-codex, medium effort",
        "5 h                    ████████░░░░░░░░░░░░ 42 %  resets today 19:00 (in 1 h)",
        "week                   █░░░░░░░░░░░░░░░░░░░ 7 %  resets Mon 23 Nov 18:00 (in 3 days)",
        "Credits: 12.50",
    ]


@pytest.mark.parametrize("label", ["ada@example.com", "5f0c9a52-3b1e-4a55-9c50-1d6f7a2b9e01"])
def test_only_on_request_the_account_and_the_workspace_are_named_in_full(label: str) -> None:
    status = replace(STATUS, label=label, email=label if "@" in label else None)
    full = replace(status, now=NOW, in_full=True)
    told = {name: [label in text, "workspace-1" in text] for name, text in forms_of(full).items()}
    assert told == {name: [True, True] for name in FORMS}
    short = forms_of(replace(full, in_full=False)) | {"repr": repr(full)}
    assert [name for name, text in short.items() if label in text or "workspace-1" in text] == []


FORMS = ("text/html", "text/markdown", "text/plain")


def forms_of(report: AccountStatus) -> dict[str, str]:
    return {name: str(report._repr_mimebundle_()[name]) for name in FORMS}  # type: ignore[literal-required]


def test_the_home_folder_is_written_as_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, "/home/ada")
    shown = {name: text.replace("\\", "") for name, text in forms_of(REPORT).items()}
    assert [name for name in FORMS if "~/.codex/auth.json" in shown[name] and "/home" not in shown[name]] == [
        *FORMS
    ]


def test_a_report_is_a_dict_of_plain_values() -> None:
    report = json.loads(json.dumps(REPORT.as_dict()))
    assert report["limits"][0] == {
        "label": "5 h",
        "limit": "codex",
        "used_percent": 42.4,
        "window_minutes": 300,
        "resets_at": "2026-11-20T18:00:00+00:00",
    }
    assert (report["billing"], report["plan"], report["auth_mode"]) == ("chatgpt", "plus", "chatgpt")


def test_a_key_is_billed_per_token_and_has_no_invented_limits() -> None:
    text = str(replace(KEY, now=NOW))
    assert "API key sk-…cdef" in text
    assert "API key, pay as you go (billed per token)" in text
    assert "none (API key)" in text
    assert text.endswith("Limits: an API key is billed per token; see the OpenAI platform for its limits.")


def test_what_is_not_known_is_left_out() -> None:
    unknown = AccountStatus(signed_in=True, billing="chatgpt")
    report = replace(unknown, action_error="The service did not answer.", now=NOW)
    assert str(report).splitlines() == [
        "Account  signed in",
        "Billing  included in ChatGPT plan",
        "Model    account default",
        "The service did not answer.",
        "Limits: not known yet. Ask a question or refresh to fetch them.",
    ]
    assert "unknown" not in str(report._repr_mimebundle_())


@pytest.mark.parametrize(("balance", "told"), [("0", False), ("0.00", False), (None, False), ("0.50", True)])
def test_credits_are_told_where_there_are_any(balance: str | None, told: bool) -> None:
    limits = RateLimits(windows=LIMITS.windows, credits=Credits(has_credits=told, balance=balance))
    assert ("Credits" in str(replace(STATUS, limits=limits, now=NOW))) == told


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (timedelta(minutes=-1), "today 17:59"),
        (timedelta(minutes=90), "today 19:30 (in 1 h 30 min)"),
        (timedelta(days=1), "Sat 21 Nov 18:00 (in 1 day)"),
        (timedelta(days=60), "19 Jan 2027 18:00 (in 60 days)"),
    ],
)
def test_when_a_limit_resets_is_told_by_the_clock_and_from_now(left: timedelta, told: str) -> None:
    limits = RateLimits(windows=(Window(1.0, 300, NOW + left),))
    (row,) = limit_rows(limits, NOW)
    assert row[2] == told


def test_nobody_is_told_apart_from_unknown() -> None:
    nobody = AccountStatus(
        signed_in=False, credentials_location="/h/auth.json", problem="Sign in with %codex login."
    )
    assert str(replace(nobody, now=NOW)).splitlines() == [
        "Account                Not signed in",
        "Credentials stored in  /h/auth.json",
        "Sign in with %codex login.",
    ]


@pytest.mark.parametrize(
    ("absence", "told"),
    [
        ("signed_out", "Not signed in"),
        ("changed", "A different account is signed in"),
        ("unusable", "The stored credentials cannot be used"),
    ],
)
def test_why_the_account_is_missing_is_told_truly(absence: Any, told: str) -> None:
    status = AccountStatus(signed_in=False, absence=absence)
    assert str(replace(status, now=NOW)).splitlines() == [f"Account  {told}"]


@pytest.mark.parametrize(
    ("used", "drawn"),
    [
        (0.0, "░" * 20 + " 0 %"),
        (100.0, "█" * 20 + " 100 %"),
        (130.0, "█" * 20 + " 130 %"),
        (-1.0, "░" * 20 + " -1 %"),
    ],
)
def test_a_bar_stays_within_its_length(used: float, drawn: str) -> None:
    assert usage_bar(used) == drawn


def test_the_page_shows_what_the_text_shows() -> None:
    html = REPORT._repr_mimebundle_()["text/html"]
    assert violations(html) == []
    shown = " ".join(text_of(html).split())
    for value in ("a…@example.com", "ChatGPT Plus", "today 21:00", "42 %", "Mon 23 Nov 18:00", "12.50"):
        assert value in shown


@pytest.mark.parametrize("name", PAYLOADS)
def test_no_hostile_account_gets_through(name: str) -> None:
    text: Any = payload(name)
    status = AccountStatus(
        signed_in=True,
        auth_mode=text,
        label=text,
        email=text,
        plan=text,
        account_id=text,
        billing="chatgpt",
        credentials_location=text,
        profile=text,
        problem=text,
    )
    limits = RateLimits(windows=(Window(1.0, 300, None, limit=text),), credits=Credits(balance=text))
    report = replace(status, limits=limits, model=text, effort=text, action_error=text, now=NOW)
    assert violations(report._repr_mimebundle_()["text/html"]) == []


class Harness:
    def __init__(self) -> None:
        self.notebook = FakeNotebook()
        self.commands: list[str] = []
        self.view = AccountView(
            REPORT,
            on_action=self.commands.append,
            area=self.notebook,
            open_comm=self.notebook.open_comm,
        )
        self.view.show()
        self.comm = self.notebook.comms[0]


def test_the_output_is_plain_and_its_buttons_are_beside_it() -> None:
    harness = Harness()
    harness.comm.ready()
    harness.view.finish()
    harness.comm.says("replaced")
    assert harness.notebook.standing() == [REPORT._repr_mimebundle_()]
    ending = harness.comm.sent[-1]
    assert [command["name"] for command in ending["actions"]] == ["refresh", "sign_in", "sign_out"]
    assert ending["names"] == {"a…@example.com": "ada@example.com", "…ce-1": "workspace-1"}
    saved = json.dumps(harness.notebook.standing(), ensure_ascii=False)
    assert [name for name in ending["names"].values() if name in saved] == []
    harness.comm.says("action", name="refresh")
    harness.comm.says("action", name="delete_everything")
    assert harness.commands == ["refresh"]


def test_nobody_is_signed_out_without_having_been_asked() -> None:
    harness = Harness()
    harness.comm.ready()
    harness.view.finish()
    harness.comm.says("action", name="confirm_sign_out")
    assert harness.commands == []
    harness.comm.says("action", name="sign_out")
    harness.view.ask_to_sign_out("ada@example.com")
    asked = harness.comm.sent[-1]
    assert (asked["kind"], "ada@example.com" in asked["question"]) == ("confirm", True)
    harness.comm.says("action", name="confirm_sign_out")
    harness.comm.says("action", name="confirm_sign_out")  # a second time
    assert harness.commands == ["sign_out", "confirm_sign_out"]


def test_a_new_report_takes_the_question_away() -> None:
    harness = Harness()
    harness.comm.ready()
    harness.view.finish()
    harness.view.ask_to_sign_out("ada@example.com")
    harness.view.update(STATUS)
    harness.comm.says("action", name="confirm_sign_out")
    assert harness.commands == []


def test_where_nobody_is_signed_in_signing_in_comes_first_and_nobody_can_be_signed_out() -> None:
    harness = Harness()
    harness.comm.ready()
    harness.view.update(AccountStatus(signed_in=False))
    told = harness.comm.sent[-1]["actions"]
    assert [(command["name"], command["style"]) for command in told] == [
        ("refresh", ""),
        ("sign_in", "codex-primary"),
    ]


def test_a_refresh_shows_the_new_report_in_the_same_output() -> None:
    harness = Harness()
    harness.comm.ready()
    harness.view.finish()
    new = replace(STATUS, now=NOW.astimezone(UTC))
    harness.view.update(new)
    assert harness.notebook.standing() == [new._repr_mimebundle_()]
    assert [message["kind"] for message in harness.comm.sent] == ["full", "ended", "ended"]
    harness.comm.says("dismissed")
    assert harness.comm.closed


def test_nobody_who_is_signed_out_is_offered_to_sign_out() -> None:
    harness = Harness()
    harness.comm.ready()
    harness.view.finish()
    harness.view.update(AccountStatus(signed_in=False))
    ending = harness.comm.sent[-1]
    assert [command["name"] for command in ending["actions"]] == ["refresh", "sign_in"]


def test_where_no_front_end_answers_the_report_stays_without_buttons() -> None:
    harness = Harness()
    harness.view.finish()
    assert (harness.comm.closed, harness.notebook.standing()) == (True, [REPORT._repr_mimebundle_()])
