"""Example values are valid for their JSON schemas."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from codex_nb.simulator.answerer import example_value


def schemas() -> list[dict[str, Any]]:
    person = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "child": {"$ref": "#/$defs/person"}},
        "required": ["name"],
        "additionalProperties": False,
    }
    return [
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        {"$defs": {"person": person}, "$ref": "#/$defs/person"},
        {"type": "array", "items": {"type": "integer", "minimum": 5, "maximum": 7}, "minItems": 3},
        {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}], "items": False},
        {"anyOf": [{"type": "null"}, {"type": "string", "minLength": 200, "maxLength": 210}]},
        {"oneOf": [{"const": 3}, {"const": 4}]},
        {"allOf": [{"type": "object", "properties": {"a": {"type": "boolean"}}}, {"required": ["a"]}]},
        {"type": ["null", "number"], "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        {"type": "number", "multipleOf": 0.5, "minimum": 2.1},
        {"type": "integer", "exclusiveMaximum": -3},
        {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2},
        {"type": "string", "format": "date-time"},
        {"enum": ["negative", "positive"]},
        {"type": "null"},
        {},
    ]


@pytest.mark.parametrize("schema", schemas(), ids=lambda schema: "/".join(schema) or "anything")
def test_values_fit_their_schema(schema: dict[str, Any]) -> None:
    value = example_value(schema, "What a positive surprise")
    jsonschema.Draft202012Validator(schema).validate(value)
