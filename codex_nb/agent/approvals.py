"""What the agent asks for: each kind of request as a tool call of the one approval gate, and the answers to it.

Nothing is accepted but by an ``Approved`` value: a request is read into arguments, shown as what will be done, decided
by the rules or the user, and only then answered with yes. Whatever is not understood is declined.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

from pydantic import Field

from codex_nb.errors import InvalidArguments
from codex_nb.parse import JsonObject, parse_object, parse_objects, parse_text
from codex_nb.session.mcp import Form, foreign_tool, form_tool, read_form
from codex_nb.tools.approval import DecisionKind, Effect
from codex_nb.tools.base import A, Arguments, CallDisplay, Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from codex_nb.agent.app_server import Message
    from codex_nb.tools.approval import ApprovalRequest, Approved, Decision

SHELL, PATCH = "shell", "apply_patch"


class Command(Arguments):
    """A command of the agent's shell; ``more`` is what it asks for beyond it, such as access to the network."""

    command: str
    cwd: str = ""
    reason: str = ""
    more: JsonObject = Field(default_factory=dict)

    def to_code(self) -> str:
        """Return the command, with what it asks for beyond it."""
        more = "".join(f"\n# {key}: {json.dumps(value)}" for key, value in self.more.items())
        return f"{self.command}{more}"

    @property
    def view(self) -> CallDisplay:
        """A command is run as it stands."""
        place = f" in {self.cwd}" if self.cwd else ""
        why = f" {self.reason}" if self.reason else ""
        return CallDisplay(f"Runs a command on this computer{place}.{why}", "bash", editable=False)


class Patch(Arguments):
    """Changes of files."""

    diff: str
    paths: list[str] = Field(default_factory=list)
    reason: str = ""

    def to_code(self) -> str:
        """Return the changes as a unified diff."""
        return self.diff

    @property
    def view(self) -> CallDisplay:
        """Changes are made as they stand."""
        why = f" {self.reason}" if self.reason else ""
        return CallDisplay(f"Changes {', '.join(self.paths)}.{why}", "diff", editable=False)


class Permissions(Arguments):
    """What the agent wants to be allowed for the rest of the turn."""

    permissions: JsonObject
    cwd: str = ""
    reason: str = ""

    @property
    def view(self) -> CallDisplay:
        """Permissions are granted as they stand."""
        why = f" {self.reason}" if self.reason else ""
        return CallDisplay(f"Allows the agent's commands more, for this turn.{why}", editable=False)


class McpCall(Arguments):
    """A call of a tool of an MCP server."""

    server: str
    tool: str
    arguments: JsonObject = Field(default_factory=dict)

    @property
    def view(self) -> CallDisplay:
        """A call is made as it stands; each tool is allowed by itself."""
        return CallDisplay(
            f"Calls the tool {self.tool} of the MCP server {self.server}.",
            editable=False,
            variant=f"{self.server} {self.tool}",
        )


shell_tool = foreign_tool(SHELL, Command)
patch_tool = foreign_tool(PATCH, Patch, Effect.EDIT)
permissions_tool = foreign_tool("permissions", Permissions)
mcp_tool = foreign_tool("mcp", McpCall)


@dataclass(frozen=True)
class Asked(Generic[A]):
    """A request of the agent, ready to be decided.

    ``accept`` makes its answer of approved arguments, ``declined`` is its answer otherwise and ``cancelled`` the one
    that ends the turn as well. ``item_id`` names the item that it belongs to.
    """

    tool: Tool[A]
    arguments: A
    accept: Callable[[Approved[A]], JsonObject]
    declined: JsonObject
    cancelled: JsonObject
    item_id: str = ""

    @property
    def is_question(self) -> bool:
        """Whether only a person can answer it, whatever the policy."""
        return self.tool is form_tool

    def request(self, number: int) -> ApprovalRequest:
        """Return the approval request of the call with a number."""
        return self.tool.request(number, self.arguments)

    def answer(self, request: ApprovalRequest, decision: Decision) -> JsonObject:
        """Return the answer that a decision gives."""
        if not decision.approved:
            return self.cancelled if decision.kind is DecisionKind.STOP else self.declined
        try:
            return self.accept(self.tool.approve(self.arguments, request, decision))
        except InvalidArguments:
            return self.declined


def read_request(
    message: Message, open_items: Mapping[str, JsonObject], redact: Callable[[str], str]
) -> Asked[Any] | None:
    """Return what a request asks for, None when it is not understood.

    ``open_items`` are the calls that have begun, by their ids: a change of files is told by its item, and CLIs before
    0.169 do not repeat which tool of an MCP server is asked about. ``redact`` removes secrets from what the model will
    read.
    """
    params = message.params
    match message.method:
        case "item/commandExecution/requestApproval":
            return _command(params)
        case "item/fileChange/requestApproval":
            return _patch(params, open_items.get(parse_text(params.get("itemId")), {}))
        case "item/permissions/requestApproval":
            return _permissions(params)
        case "mcpServer/elicitation/request":
            return _elicitation(params, open_items)
        case "item/tool/requestUserInput":
            return _questions(params, redact)
        case _:
            return None


def read_action(item: JsonObject) -> Asked[Any] | None:
    """Return what an item does that must be asked about, as its request would; None for all other items."""
    about = {**item, "itemId": item.get("id")}
    match item.get("type"):
        case "commandExecution":
            return _command(about)
        case "fileChange":
            return _patch(about, item)
        case _:
            return None


_MORE = ("additionalPermissions", "networkApprovalContext")


def _command(params: JsonObject) -> Asked[Command] | None:
    if params.get("kind", "command") != "command" or not (command := parse_text(params.get("command"))):
        return None
    more = {key: params[key] for key in _MORE if params.get(key)}
    arguments = Command(
        command=command, cwd=parse_text(params.get("cwd")), reason=parse_text(params.get("reason")), more=more
    )
    return _decided(shell_tool, arguments, params)


def _decided(tool: Tool[A], arguments: A, params: JsonObject) -> Asked[A]:
    return Asked(
        tool,
        arguments,
        lambda _approved: {"decision": "accept"},
        {"decision": "decline"},
        {"decision": "cancel"},
        parse_text(params.get("itemId")),
    )


def _patch(params: JsonObject, item: JsonObject) -> Asked[Patch] | None:
    changes = parse_objects(item.get("changes"))
    if not changes or params.get("grantRoot"):
        return None
    paths = [parse_text(change.get("path")) for change in changes]
    arguments = Patch(diff=diff_of(item), paths=paths, reason=parse_text(params.get("reason")))
    return _decided(patch_tool, arguments, params)


def diff_of(item: JsonObject) -> str:
    """Return an item's changes as one unified diff; a file that is added or deleted comes with its whole text."""
    parts = []
    for change in parse_objects(item.get("changes")):
        path, diff = parse_text(change.get("path")), parse_text(change.get("diff"))
        kind = change.get("kind")
        kind, moved = (kind.get("type"), kind.get("move_path")) if isinstance(kind, dict) else (kind, None)
        before = "/dev/null" if kind == "add" else path
        after = "/dev/null" if kind == "delete" else moved or path
        sign = {"add": "+", "delete": "-"}.get(str(kind))
        lines = [f"{sign}{line}" for line in diff.splitlines()] if sign else diff.splitlines()
        parts.append("\n".join((f"--- {before}", f"+++ {after}", *lines)))
    return "\n".join(parts)


def _permissions(params: JsonObject) -> Asked[Permissions] | None:
    wanted = params.get("permissions")
    if not isinstance(wanted, dict):
        return None
    asked = {key: value for key, value in wanted.items() if value is not None}
    arguments = Permissions(
        permissions=asked, cwd=parse_text(params.get("cwd")), reason=parse_text(params.get("reason"))
    )
    nothing: JsonObject = {"permissions": {}, "scope": "turn"}
    return Asked(
        permissions_tool,
        arguments,
        lambda approved: {"permissions": approved.arguments.permissions, "scope": "turn"},
        nothing,
        nothing,
        parse_text(params.get("itemId")),
    )


def _elicitation(params: JsonObject, open_items: Mapping[str, JsonObject]) -> Asked[Any] | None:
    server, about = parse_text(params.get("serverName")), parse_object(params.get("_meta"))
    declined, cancelled = _action("decline"), _action("cancel")
    if about.get("codex_approval_kind") == "mcp_tool_call":
        calls = {
            item_id: item
            for item_id, item in open_items.items()
            if item.get("type") == "mcpToolCall" and item.get("server") == server
        }
        only = next(iter(calls.values())) if len(calls) == 1 else {}
        tool = parse_text(about.get("tool_name")) or parse_text(only.get("tool"))
        given = about.get("tool_params", only.get("arguments"))
        if not tool:
            return None
        call = McpCall(server=server, tool=tool, arguments=parse_object(given))
        item_id = next((item_id for item_id, item in calls.items() if item.get("tool") == tool), "")
        return Asked(mcp_tool, call, lambda _approved: _action("accept", {}), declined, cancelled, item_id)
    form = read_form(server, params)
    if form is None:
        return None
    has_fields = params.get("mode") != "url"
    return Asked(
        form_tool,
        form,
        lambda approved: _action("accept", approved.arguments.answers if has_fields else None),
        declined,
        cancelled,
    )


def _action(action: str, content: JsonObject | None = None) -> JsonObject:
    return {"action": action, "content": content, "_meta": None}


def _questions(params: JsonObject, redact: Callable[[str], str]) -> Asked[Form] | None:
    """Read the agent's questions; one whose answer is a secret is not asked, for the answer would be shown."""
    questions = params.get("questions")
    if not isinstance(questions, list) or not all(isinstance(each, dict) for each in questions):
        return None
    if any(each.get("isSecret") for each in questions):
        return None
    texts, answers, choices = list[str](), JsonObject(), dict[str, list[Any]]()
    for each in questions:
        labels = [parse_text(option.get("label")) for option in parse_objects(each.get("options"))]
        texts.append(parse_text(each.get("question")) + (f" ({' / '.join(labels)})" if labels else ""))
        answers[parse_text(each.get("id"))] = labels[0] if labels else ""
        choices[parse_text(each.get("id"))] = list(labels)
    return Asked(
        form_tool,
        Form(questions="Codex asks: " + " ".join(texts), answers=answers, choices=choices),
        lambda approved: {
            "answers": {
                name: {"answers": [redact(str(one)) for one in (each if isinstance(each, list) else [each])]}
                for name, each in approved.arguments.answers.items()
            }
        },
        {"answers": {}},
        {"answers": {}},
        parse_text(params.get("itemId")),
    )
