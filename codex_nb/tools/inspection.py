"""``inspect``: the model looks at variables without running any code of theirs."""

from __future__ import annotations

import inspect as source_inspection
import types
from typing import TYPE_CHECKING

from codex_nb.errors import InvalidArguments
from codex_nb.tools.approval import Effect
from codex_nb.tools.outputs import shorten
from codex_nb.tools.tool import Arguments, Ports, Tool, ToolResult
from codex_nb.tools.variables import Detail, describe, is_worth_knowing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

MOST_NAMES = 20
SOURCE_LIMIT = 8_000
_LISTED = 200

_DESCRIPTION = """\
Looks at variables of the user's kernel without running any code: type, size, columns and first rows of frames, values \
of simple objects, attributes of others, the source of functions defined in the notebook. Without names it lists all \
variables."""


def _check(arguments: Arguments) -> Arguments:
    names = arguments.get("names", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidArguments('inspect takes "names": a list of variable names')
    if unknown := sorted(set(arguments) - {"names"}):
        raise InvalidArguments(f'inspect takes only "names", not {", ".join(unknown)}')
    return {"names": names}


async def _call(arguments: Arguments, ports: Ports) -> ToolResult:
    kernel = ports.kernel
    if kernel is None:
        return ToolResult("There is no kernel here to look into.", ok=False)
    return await ports.main_thread.call(lambda: look(kernel.namespace(), arguments["names"]))


def look(namespace: Mapping[str, Any], names: list[str]) -> ToolResult:
    """Describe the variables of these names, or list all of them."""
    if not names:
        known = [name for name, value in namespace.items() if is_worth_knowing(name, value)]
        lines = [describe(name, namespace[name], Detail.LINE) for name in known[:_LISTED]]
        if len(known) > _LISTED:
            lines.append(f"… {len(known)} variables in all")
        return ToolResult("\n".join(lines) or "(no variables)")
    missing = [name for name in names[:MOST_NAMES] if name not in namespace]
    texts = [_told(name, namespace[name]) for name in names[:MOST_NAMES] if name in namespace]
    texts += [f"{name}: there is no such variable" for name in missing]
    if len(names) > MOST_NAMES:
        texts.append(f"… only the first {MOST_NAMES} names were looked at")
    return ToolResult("\n\n".join(texts), ok=len(missing) < len(names))


def _told(name: str, value: object) -> str:
    text = describe(name, value, Detail.FULL)
    if type(value) is not types.FunctionType:
        return text
    try:
        return f"{text}\n{shorten(source_inspection.getsource(value), SOURCE_LIMIT)}"
    except (OSError, TypeError):
        return text


inspect = Tool(
    name="inspect",
    description=_DESCRIPTION,
    parameters={
        "type": "object",
        "properties": {
            "names": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Names of variables; empty for a list of all.",
            }
        },
        "required": ["names"],
        "additionalProperties": False,
    },
    effect=Effect.LOOKS,
    call=_call,
    check=_check,
    available=lambda ports: ports.kernel is not None,
)
