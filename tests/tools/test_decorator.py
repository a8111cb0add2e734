from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from codex_nb.errors import InvalidArguments
from codex_nb.tools.approval import Decision, DecisionKind, Effect
from codex_nb.tools.base import Ports, Tool, ToolResult, read_docstring, tool
from tests.session.scripted import ProcessKernel, SameThread, call_tool

pytestmark = pytest.mark.anyio
PORTS = Ports(SameThread())


@dataclass
class Point:
    x: int
    y: int = 0


@tool
def weather(
    city: str, days: int = 3, unit: Literal["C", "F"] = "C", schema: Annotated[str, "how"] = "short"
) -> str:
    """Tell the weather.

    From the almanac.

    Args:
        city: The city's name.
        days (int): How many days ahead.
    """
    return f"{city}: {days} days, {unit}, {schema}"


def test_a_typed_function_is_described_by_its_annotations_and_docstring() -> None:
    assert weather.spec() == {
        "type": "function",
        "name": "weather",
        "description": "Tell the weather.\n\nFrom the almanac.",
        "strict": False,
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "The city's name."},
                "days": {"type": "integer", "default": 3, "description": "How many days ahead."},
                "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
                "schema": {"type": "string", "default": "short", "description": "how"},
            },
            "required": ["city"],
            "additionalProperties": False,
        },
    }
    assert weather.effect is Effect.EXECUTE


async def test_a_call_gets_the_values_that_the_annotations_promise() -> None:
    @tool(name="move", description="Moves.", effect="read")
    def shift(start: Point, by: int = 1) -> dict[str, int]:
        return {"x": start.x + by, "y": start.y}

    assert (shift.name, shift.description, shift.effect) == ("move", "Moves.", Effect.READ)
    arguments = {"start": {"x": 4}, "by": 2}
    assert await call_tool(shift, arguments, PORTS) == ToolResult('{"x": 6, "y": 0}')


def test_a_function_runs_code_and_cannot_pass_for_a_plan_that_nobody_is_asked_for() -> None:
    with pytest.raises(TypeError, match="cannot be 'none'"):
        tool(effect="none")(lambda: None)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("{}", "invalid arguments for weather: city: Field required"),
        (
            '{"city": "Bern", "days": "many"}',
            "invalid arguments for weather: days: Input should be a valid integer",
        ),
        (
            '{"city": "Bern", "moon": 1}',
            "invalid arguments for weather: moon: Extra inputs are not permitted",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments: str, problem: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        weather.parse(arguments)
    assert str(caught.value).startswith(problem)


async def test_the_function_runs_on_the_main_thread() -> None:
    class Elsewhere:
        async def call(self, function: Callable[[], Any]) -> Any:
            got = []
            thread = threading.Thread(target=lambda: got.append(function()), name="the main thread")
            thread.start()
            thread.join()
            return got[0]

    @tool
    def where() -> str:
        return threading.current_thread().name

    assert await call_tool(where, {}, Ports(Elsewhere())) == ToolResult("the main thread")


async def test_a_coroutine_function_is_awaited_on_the_users_loop() -> None:
    @tool
    async def soon() -> str:
        return "now"

    assert await call_tool(soon, {}, Ports(SameThread(), ProcessKernel())) == ToolResult("now")
    assert await call_tool(soon, {}, PORTS) == ToolResult("now")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "(returned nothing)"),
        ("as it is", "as it is"),
        ([1, "é"], '[1, "é"]'),
        (Point(1), "Point(x=1, y=0)"),
    ],
)
async def test_what_a_function_returns_is_put_into_words(value: object, text: str) -> None:
    @tool
    def give() -> object:
        return value

    assert await call_tool(give, {}, PORTS) == ToolResult(text)


def with_stars(*numbers: int) -> None: ...
def with_riddle(a: Riddle) -> None: ...  # noqa: F821
def with_thread(a: threading.Thread) -> None: ...


@pytest.mark.parametrize("function", [with_stars, with_riddle, with_thread, lambda: None])
def test_a_signature_that_cannot_be_described_is_refused_at_once(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError):
        tool(function)


@pytest.mark.parametrize(
    "docstring",
    [
        "Do it.\n\nParameters\n----------\nsize : int\n    How big.\n\nReturns\n-------\nint\n    More.",
        "Do it.\n\n:param size: How big.\n:returns: More.",
        "Do it.\n\nArgs:\n    size: How big.\n\nReturns:\n    More.",
    ],
)
def test_the_usual_docstring_styles_are_understood(docstring: str) -> None:
    summary, details = read_docstring(docstring)
    assert (summary, details["size"]) == ("Do it.", "How big.")


def test_an_edited_call_is_checked_again() -> None:
    assert isinstance(weather, Tool)
    arguments = weather.parse('{"city": "Bern"}')
    request = weather.request(1, arguments)
    assert (request.code, request.language, request.editable) == ('{\n  "city": "Bern"\n}', "json", True)
    edited = weather.approve(arguments, request, Decision(DecisionKind.APPROVE, code='{"city": "Rom"}'))
    assert edited.arguments.to_json() == {"city": "Rom"}
    with pytest.raises(InvalidArguments):
        weather.approve(arguments, request, Decision(DecisionKind.APPROVE, code="{}"))


def test_a_decorated_function_can_still_be_called_by_its_owner() -> None:
    @tool
    def double(number: int) -> int:
        """Double a number."""
        return 2 * number

    assert double(21) == 42
    assert double(number=4) == 8
