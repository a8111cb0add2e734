"""``inspect``: the model inspects variables without running any code of theirs."""

from __future__ import annotations

import inspect as source_inspection
import types
from typing import TYPE_CHECKING

from pydantic import Field

from codex_nb.tools.approval import Approved, Effect
from codex_nb.tools.base import Arguments, Ports, Tool, ToolResult
from codex_nb.tools.describe import Detail, describe, is_user_variable
from codex_nb.tools.nbmodel import truncate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from codex_nb.tools.hiding import Hidden

MAX_NAMES = 20
SOURCE_LIMIT = 8_000
NO_VARIABLE = "there is no such variable"
NOT_SHOWN = "the user keeps this out (codex-skip) unless their question mentions it with @"
_LISTED = 200

_DESCRIPTION = """\
Looks at variables of the user's kernel without running any code: type, size, columns and first rows of frames, values \
of simple objects, attributes of others, the source of functions defined in the notebook. Without names it lists all \
variables."""


class InspectVariables(Arguments, extra="forbid"):
    """Names to look up."""

    names: list[str] = Field(default=[], description="Names of variables; empty for a list of all.")


async def _inspect(call: Approved[InspectVariables], ports: Ports) -> ToolResult:
    kernel = ports.kernel
    if kernel is None:
        return ToolResult("There is no kernel here to look into.", ok=False)
    names = call.arguments.names
    return await ports.main_thread.call(lambda: inspect_variables(kernel.namespace(), names, ports.hidden()))


def inspect_variables(namespace: Mapping[str, Any], names: list[str], hidden: Hidden) -> ToolResult:
    """Describe the variables of these names, or list all of them, except those that the user keeps out."""
    shown = hidden.visible(namespace)
    if not names:
        known = [name for name, value in shown.items() if is_user_variable(name, value)]
        lines = [describe(name, shown[name], Detail.LINE).text for name in known[:_LISTED]]
        if len(known) > _LISTED:
            lines.append(f"… {len(known)} variables in all")
        return ToolResult("\n".join(lines) or "(no variables)")
    missing = [name for name in names[:MAX_NAMES] if name not in shown]
    texts = [_description(name, shown[name], hidden) for name in names[:MAX_NAMES] if name in shown]
    texts += [f"{name}: {NOT_SHOWN if name in namespace else NO_VARIABLE}" for name in missing]
    if len(names) > MAX_NAMES:
        texts.append(f"… only the first {MAX_NAMES} names were looked at")
    return ToolResult("\n\n".join(texts), ok=len(missing) < len(names))


def _description(name: str, value: object, hidden: Hidden) -> str:
    text = describe(name, value, Detail.FULL).text
    if type(value) is not types.FunctionType:
        return text
    try:
        source = source_inspection.getsource(value)
    except (OSError, TypeError):
        return text
    shown = source if name in hidden.mentioned else hidden.text(source)
    return f"{text}\n{truncate(shown, SOURCE_LIMIT)}"


inspect = Tool(
    name="inspect",
    description=_DESCRIPTION,
    arguments=InspectVariables,
    effect=Effect.INSPECT,
    call=_inspect,
    title="Inspect variables",
    summary="Reads variables. Changes nothing.",
    requires="kernel",
)
