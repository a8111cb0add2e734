"""Values instead of prose: from a user's type to a strict JSON schema, and from an answer back to a value."""

from __future__ import annotations

import inspect
import json
import re
import sys
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NotRequired

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from codex_nb.errors import CodexError
from codex_nb.session.json_schema import fits_strict_mode, mismatches, resolved, strict_schema
from codex_nb.session.turn import Unfit
from codex_nb.words import schemas as words

if TYPE_CHECKING:
    from collections.abc import Callable

_OPENS_FENCE = re.compile(r"```[a-zA-Z]*\s*")
_MOST_PROBLEMS = 8


class SchemaError(CodexError):
    """The schema that was asked for cannot be used; nothing was sent."""

    default_hint = words.GIVE_A_SCHEMA


@dataclass(frozen=True)
class ValueFormat:
    """How a value is asked for and read.

    ``text_format`` goes into the request. ``parse`` reads an answer's text and raises Unfit. Types that are not objects
    (a list, a number) are asked for as an object with the one key ``value``, because the API's schemas are always
    objects. Types with free keys cannot be held strictly by the API; there the check on this side is the only one.
    """

    text_format: dict[str, Any]
    parse: Callable[[str], Any]


def value_format(wanted: Any) -> ValueFormat:
    """Describe what is wanted; raises SchemaError when it cannot be put as a JSON schema."""
    if isinstance(wanted, dict):
        return _from_json_schema(wanted)
    if inspect.isroutine(wanted):
        raise SchemaError(words.is_a_function(wanted.__name__))
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(_readable(wanted))
        schema = adapter.json_schema()
    except Exception as error:
        raise SchemaError(words.unusable(f"{wanted!r:.80}", str(error))) from error
    wrapped = resolved(schema, schema).get("type") != "object"

    def parse(text: str) -> Any:
        value = _unwrapped(_load(text), wrapped=wrapped)
        try:
            # JSON mode: an answer can only ever say "2024-01-01", never a date.
            return adapter.validate_json(json.dumps(value))
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False)[:_MOST_PROBLEMS]
            told = "; ".join(f"{'.'.join(map(str, p['loc'])) or 'value'}: {p['msg']}" for p in problems)
            raise Unfit(told) from None
        except Exception as error:
            raise SchemaError(words.own_code_failed(type(error).__name__, str(error))) from error

    return ValueFormat(_text_format(schema, wrapped=wrapped), parse)


def _readable(wanted: Any) -> Any:
    # Before Python 3.12 pydantic reads only the TypedDict of typing_extensions, which tells more of itself.
    if sys.version_info >= (3, 12) or not typing.is_typeddict(wanted):
        return wanted
    hints = typing.get_type_hints(wanted, include_extras=True)
    fields = {
        key: _readable(hint) if key in wanted.__required_keys__ else NotRequired[_readable(hint)]
        for key, hint in hints.items()
    }
    return TypedDict(wanted.__name__, fields)  # type: ignore[operator]  # the functional form, its fields not literal


def _from_json_schema(schema: dict[str, Any]) -> ValueFormat:
    kind = resolved(schema, schema).get("type")
    if kind is None and not {"properties", "$ref", "anyOf", "enum"} & set(schema):
        raise SchemaError(words.NO_TYPE)
    wrapped = kind != "object"

    def parse(text: str) -> Any:
        value = _unwrapped(_load(text), wrapped=wrapped)
        if problems := mismatches(value, schema, schema)[:_MOST_PROBLEMS]:
            raise Unfit("; ".join(problems))
        return value

    return ValueFormat(_text_format(schema, wrapped=wrapped), parse)


def _text_format(schema: dict[str, Any], *, wrapped: bool) -> dict[str, Any]:
    strict = strict_schema(_wrapped(schema) if wrapped else _inlined(schema))
    return {
        "type": "json_schema",
        "strict": fits_strict_mode(strict),
        "schema": strict,
        "name": "codex_output_schema",
    }


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    # The root itself must be an object, not a reference to one (a recursive model's schema is such a reference).
    if "$ref" not in schema:
        return schema
    return {**resolved(schema, schema), "$defs": schema.get("$defs", {})}


def _wrapped(schema: dict[str, Any]) -> dict[str, Any]:
    inner = {key: value for key, value in schema.items() if key != "$defs"}
    outer = {"type": "object", "properties": {"value": inner}, "required": ["value"]}
    return outer | ({"$defs": schema["$defs"]} if "$defs" in schema else {})


def _load(text: str) -> Any:
    text = text.strip()
    first, _, rest = text.partition("\n")
    if _OPENS_FENCE.fullmatch(first) and rest.endswith("\n```"):
        text = rest.removesuffix("```")
    try:
        return json.loads(text)
    except ValueError as error:
        raise Unfit(words.not_json(str(error))) from None


def _unwrapped(value: Any, *, wrapped: bool) -> Any:
    if not wrapped:
        return value
    if isinstance(value, dict) and set(value) == {"value"}:
        return value["value"]
    raise Unfit(words.ONE_KEY)
