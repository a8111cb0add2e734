"""What a reader shows of a notebook, at first sight and with everything unfolded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

LOOK = """cells => cells.map(cell => {
  const roots = [...cell.querySelectorAll(OUTPUTS)].map(each => each.shadowRoot?.getElementById('preview') ?? each);
  const all = selector => roots.flatMap(root => [...root.querySelectorAll(selector)]);
  const joined = property => roots.map(root => root[property]).join('\\n');
  return {
    seen: joined('innerText'),
    held: joined('textContent'),
    images: all('img').map(image => image.getAttribute('src') ?? ''),
    foreign: all('script:not([type^="math/"]), style, iframe, object, embed, form, link, [onerror], [onclick]')
      .map(node => node.outerHTML.slice(0, 120)),
  };
})"""


@dataclass(frozen=True)
class Seen:
    """What a reader shows of one cell: ``seen`` at first sight, ``held`` with everything unfolded."""

    seen: str
    held: str
    images: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


def look(page: Page, cells: str, outputs: str) -> list[Seen]:
    """Return what the page shows of every cell; both are CSS selectors."""
    found = page.locator(cells).evaluate_all(LOOK.replace("OUTPUTS", json.dumps(outputs)))
    return [Seen(one["seen"], one["held"], tuple(one["images"]), tuple(one["foreign"])) for one in found]
