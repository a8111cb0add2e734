from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, TypedDict

import pytest
from pydantic import BaseModel, Field, field_validator

from codex_nb.session.structured_output import SchemaError, SchemaMismatch, value_format


class Colour(StrEnum):
    RED = "red"


class City(BaseModel):
    name: str
    founded: dt.date | None = None
    people: int = Field(default=0, ge=0, description="How many.")
    colour: Colour = Colour.RED


@dataclass
class Pair:
    left: int
    right: City


class Movie(TypedDict):
    title: str
    year: int


class Tree(BaseModel):
    name: str
    children: list[Tree] = []


POINT = {"type": "object", "properties": {"x": {"type": "number", "minimum": 0}}, "required": ["x"]}


def test_a_property_that_may_be_anything_is_not_asked_for_strictly() -> None:
    wanted = value_format({"type": "object", "properties": {"x": True}})
    assert (wanted.text_format["strict"], wanted.parse('{"x": [1]}')) == (False, {"x": [1]})


def test_a_model_is_asked_for_strictly_and_comes_back_as_its_instance() -> None:
    asked = value_format(City)
    assert asked.text_format["strict"] is True
    schema = asked.text_format["schema"]
    assert schema["required"] == ["name", "founded", "people", "colour"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["people"] == {"type": "integer", "minimum": 0, "description": "How many."}
    assert schema["properties"]["colour"] == {"$ref": "#/$defs/Colour"}
    text = '{"name": "Bern", "founded": "1191-01-01", "people": 1, "colour": "red"}'
    assert asked.parse(text) == City(name="Bern", founded=dt.date(1191, 1, 1), people=1)


@pytest.mark.parametrize(
    ("wanted", "text", "value"),
    [
        (Pair, '{"left": 1, "right": {"name": "Rom"}}', Pair(1, City(name="Rom"))),
        (Movie, '{"title": "Alien", "year": 1979}', {"title": "Alien", "year": 1979}),
        (list[int], '{"value": [1, 2]}', [1, 2]),
        (bool, '```json\n{"value": true}\n```', True),
        (POINT, '{"x": 1.5}', {"x": 1.5}),
        ({"type": "array", "items": {"type": "string"}}, '{"value": ["a"]}', ["a"]),
        (Tree, '{"name": "a", "children": [{"name": "b"}]}', Tree(name="a", children=[Tree(name="b")])),
        (dict[str, int], '{"a": 1}', {"a": 1}),
    ],
)
def test_every_kind_of_type_gives_its_own_values(wanted: Any, text: str, value: Any) -> None:
    asked = value_format(wanted)
    assert asked.text_format["schema"]["type"] == "object"
    assert asked.parse(text) == value


class Circle(BaseModel):
    kind: Literal["circle"] = "circle"
    radius: float


class Square(BaseModel):
    kind: Literal["square"] = "square"
    side: Decimal


@pytest.mark.parametrize(
    "wanted",
    [
        *(
            City,
            Pair,
            Movie,
            list[int],
            bool,
            POINT,
            Tree,
            dict[str, int],
            tuple[int, str],
            City | None,
            Colour,
        ),
        *(Literal["yes"], Literal["yes", 2] | None, Annotated[Circle | Square, Field(discriminator="kind")]),
        *(dt.datetime, list[Annotated[int, Field(gt=0)]], type(None), set[str]),
    ],
    ids=str,
)
def test_the_json_schema_of_a_type_asks_for_the_same(wanted: Any) -> None:
    asked = value_format(wanted)
    travelled = json.loads(json.dumps(asked.schema))
    assert value_format(travelled).text_format == asked.text_format


@pytest.mark.parametrize(
    ("wanted", "text", "problem"),
    [
        (City, "Bern", "the answer is not JSON: "),
        (City, '{"people": -1}', "name: Field required; people: Input should be greater than or equal to 0"),
        (list[int], "[1]", 'the answer must be an object with the one key "value"'),
        (POINT, '{"x": "far"}', "value.x: 'far' is not of type 'number'"),
        (POINT, '{"x": -1}', "value.x: -1 is less than the minimum of 0"),
        (POINT, "{}", "value: 'x' is a required property"),
        ({"type": "string", "enum": ["a"]}, '{"value": "b"}', "value: 'b' is not one of ['a']"),
        (
            {**POINT, "additionalProperties": False},
            '{"x": 1, "y": 2}',
            "value: Additional properties are not allowed ('y' was unexpected)",
        ),
        (
            {"type": "array", "items": {"type": "integer"}},
            '{"value": [1, true]}',
            "value[1]: True is not of type 'integer'",
        ),
    ],
)
def test_what_does_not_fit_is_named(wanted: Any, text: str, problem: str) -> None:
    with pytest.raises(SchemaMismatch) as caught:
        value_format(wanted).parse(text)
    assert str(caught.value).startswith(problem)


def test_what_strict_mode_cannot_hold_is_asked_for_loosely() -> None:
    assert value_format(dict[str, int]).text_format["strict"] is False
    assert value_format(tuple[int, str]).text_format["strict"] is False
    assert value_format(Tree).text_format["strict"] is True


@pytest.mark.parametrize(
    "wanted",
    [{}, {"description": "x"}, {"type": "text"}, {"type": "object", "required": 1}, object(), lambda x: x],
)
def test_what_is_no_schema_is_refused_before_anything_is_sent(wanted: Any) -> None:
    with pytest.raises(SchemaError):
        value_format(wanted)


def test_a_schema_whose_own_code_fails_says_so() -> None:
    class Broken(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def check(cls, value: str) -> str:
            raise ZeroDivisionError("in the validator")

    with pytest.raises(SchemaError) as caught:
        value_format(Broken).parse('{"name": "x"}')
    assert str(caught.value) == "The schema's own code failed: ZeroDivisionError: in the validator"


def test_a_reference_is_never_fetched() -> None:
    with pytest.raises(SchemaError, match=r"example\.invalid"):
        value_format({"$ref": "https://example.invalid/schema.json", "type": "object"}).parse("{}")
