"""The transcript of a turn: its buttons, what is going on, how far a call is, why it ended, the line below it."""

from __future__ import annotations

# What the front-end half shows; it knows no word of its own.
LABELS = {
    "answer": "Answer of Codex",
    "approve": "Approve",
    "approveCall": "Always this call",
    "approveCallHelp": "Approve this, and exactly this call whenever it comes again in this session",
    "approveCode": "Always this code",
    "approveCodeHelp": "Approve this, and exactly this code whenever it comes again in this session",
    "approveSession": "Approve for session",
    "approveSessionHelp": "Approve this, and every later call of this tool in this session",
    "cancelReject": "Back",
    "code": "Code that the model wants to run",
    "continue": "Continue",
    "copied": "Copied",
    "copy": "Copy",
    "copyFailed": "Could not copy",
    "edit": "Edit",
    "editHelp": "Change the code before it runs",
    "inserted": "Inserted below",
    "insert": "Insert below",
    "insertFailed": "Could not insert",
    "keepEdit": "Done editing",
    "minutes": "min",
    "output": "Output",
    "reject": "Reject",
    "rejectHelp": "Tell the model why, or what to do instead (optional)",
    "rejectSend": "Send rejection",
    "retry": "Retry",
    "seconds": "s",
    "stop": "Stop",
    "stopHelp": "Stop this turn; what has arrived is kept",
    "undoEdit": "Undo changes",
}

WORKING = "Codex is working"
THINKING = "Thinking"
WRITING = "Writing"
WAITING = "Waiting for your word"
FINISHED = "Finished"
NO_FRONT_END = "There is no front end to ask."
FRONT_END_REFUSED = "The front end refused."
NOTHING_SHOWN = "nothing has been shown yet"
WIDGET_PLACEHOLDER = "Codex is answering; the answer replaces this line."
REASONING = "Reasoning"

PHASES = {
    "writing": "being written",
    "ready": "waiting its turn",
    "asking": "waits for your approval",
    "running": "running",
    "done": "done",
    "failed": "failed",
    "rejected": "rejected",
    "unanswered": "refused, nobody was there to approve it",
    "abandoned": "did not run",
    "stopped": "stopped while it ran",
}
TOOLS = {
    "run_python": "Python",
    "inspect": "Look at variables",
    "read_file": "Read a file",
    "list_files": "List files",
    "insert_cells": "Insert cells",
    "update_plan": "Plan",
}
TOOL = "Tool"
PLAN = "Plan"
STEP_STATES = {
    "pending": "to do",
    "in_progress": "in progress",
    "completed": "done",
    "unfinished": "not finished",
}

STOPPED = "Stopped. What had arrived is kept."
FAILED_WITHOUT_A_REASON = "The turn failed, and no reason was given. Ask again."


def edited_by_you(phase: str) -> str:
    """Return how far a call has come whose code the person changed."""
    return f"{phase}, edited by you"


def call_title(tool: str, phase: str) -> str:
    """Return the line that stands above a tool call."""
    return f"{tool} ({phase})"


def preparing(tool: str) -> str:
    """Return what is going on while a call is being written."""
    return f"Preparing: {tool}"


def running(tool: str) -> str:
    """Return what is going on while a call is carried out."""
    return f"Running: {tool}"


def step(number: str, count: str, text: str) -> str:
    """Return what is going on while a step of the plan is in progress."""
    return f"Step {number} of {count}: {text}"


def asks(tool: str) -> str:
    """Return what a screen reader hears when the person's word is needed."""
    return f"Codex asks for your approval: {tool}"


def trying_again(reason: str, attempt: str, attempts: str) -> str:
    """Return the line that tells of a request that is tried again at once."""
    return f"{reason} Trying again (attempt {attempt} of {attempts})."


def trying_again_later(reason: str, seconds: str, attempt: str, attempts: str) -> str:
    """Return the line that tells of a request that is tried again after a while."""
    return f"{reason} Trying again in {seconds} s (attempt {attempt} of {attempts})."


def model_and_effort(model: str, effort: str) -> str:
    """Return which model answered, and how long it thought."""
    return f"{model}, {effort} effort"


def tokens_in(count: str) -> str:
    """Return what was sent."""
    return f"{count} tokens in"


def tokens_in_cached(count: str, cached: str) -> str:
    """Return what was sent, some of which the service still knew."""
    return f"{count} tokens in ({cached} cached)"


def tokens_out(count: str) -> str:
    """Return what came back."""
    return f"{count} out"


def tokens_out_reasoning(count: str, reasoning: str) -> str:
    """Return what came back, some of which was thinking."""
    return f"{count} out ({reasoning} reasoning)"


def seconds(count: str) -> str:
    """Return a duration below a minute."""
    return f"{count} s"


def minutes(minutes: str, seconds: str) -> str:
    """Return a duration of a minute or more."""
    return f"{minutes} min {seconds} s"
