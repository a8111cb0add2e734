"""The pages that a person sees: enough HTML to confirm a login, readable in any browser."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from codex_nb.simulator.people import Person

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · Codex simulator</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }}
body {{ max-width: 28rem; margin: 10vh auto; padding: 0 1rem; }}
input, select, button {{ font: inherit; padding: .5rem .75rem; margin: .25rem 0 1rem; width: 100%; }}
* {{ box-sizing: border-box; }}
input {{ text-transform: uppercase; letter-spacing: .15em; }}
small {{ opacity: .7; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{content}
<p><small>This is the codex_nb simulator on this machine. No real account is involved.</small></p>
</main>
</body>
</html>
"""


def page(title: str, content: str) -> str:
    """A whole page; ``content`` is HTML."""
    return _PAGE.format(title=escape(title), content=content)


def message_page(title: str, text: str) -> str:
    """A page that only says something."""
    return page(title, f'<p role="status">{escape(text)}</p>')


def device_page(user_code: str, people: Sequence[Person], problem: str = "") -> str:
    """The page where a person confirms a device code."""
    alert = f'<p role="alert">{escape(problem)}</p>' if problem else ""
    return page(
        "Sign in to Codex on a device",
        f"""{alert}<form method="post" action="/codex/device">
<label for="user_code">The code that the device shows</label>
<input id="user_code" name="user_code" value="{escape(user_code)}" autocomplete="off" required>
{_people(people)}
<button id="confirm" name="decision" value="confirm">Confirm</button>
<button id="deny" name="decision" value="deny">Deny</button>
</form>""",
    )


def authorize_page(fields: Mapping[str, str], people: Sequence[Person]) -> str:
    """The page where a person lets a client in."""
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">\n'
        for name, value in fields.items()
    )
    return page(
        "Sign in to Codex",
        f"""<form method="post" action="/oauth/authorize">
{hidden}{_people(people)}
<button id="confirm" name="decision" value="confirm">Continue</button>
<button id="deny" name="decision" value="deny">Cancel</button>
</form>""",
    )


def _people(people: Sequence[Person]) -> str:
    options = "".join(
        f'<option value="{escape(person.email)}">{escape(person.email)} ({escape(person.plan)})</option>'
        for person in people
    )
    return f'<label for="email">Sign in as</label>\n<select id="email" name="email">{options}</select>'
