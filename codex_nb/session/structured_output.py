"""Structured output: from a Python type to a strict JSON schema, and from an answer back to a value."""

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
from codex_nb.session.turn import SchemaMismatch
from codex_nb.words import schemas as words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


Schema = dict[str, Any]

_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"},
)
_NOT_SENT = frozenset({"default", "title", "examples", "$schema", "$id", "$comment", "discriminator"})
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_CHILDREN = ("items", "additionalProperties", "not", "if", "then", "else")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS = ("properties", "$defs", "definitions")


def resolved(schema: Schema, root: Schema) -> Schema:
    """Follow local references to the schema that they name."""
    seen = set()
    while (
        isinstance(reference := schema.get("$ref"), str)
        and reference.startswith("#")
        and reference not in seen
    ):
        seen.add(reference)
        found: Any = root
        for step in reference.removeprefix("#").split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            found = found.get(key, {}) if isinstance(found, dict) else {}
        schema = found if isinstance(found, dict) else {}
    return schema


def strict_schema(schema: Schema) -> Schema:
    """Return the schema as strict mode wants it: closed objects, every property required, nothing decorative."""
    reference = schema.get("$ref")
    if isinstance(reference, str):
        # A reference stands alone; the definitions beside it belong to the root.
        alone: Schema = {"$ref": reference}
        if "$defs" in schema:
            alone["$defs"] = {name: strict_schema(child) for name, child in schema["$defs"].items()}
        return alone
    strict: Schema = {}
    for key, value in schema.items():
        if key in _NOT_SENT or (key == "format" and value not in _FORMATS):
            continue
        strict["anyOf" if key == "oneOf" else key] = _strict_value(key, value)
    if strict.get("type") == "object" and "properties" in strict:
        strict["required"] = list(strict["properties"])
        if not isinstance(strict.get("additionalProperties"), dict):
            strict["additionalProperties"] = False
    return strict


def _strict_value(key: str, value: Any) -> Any:
    if key in _MAPS and isinstance(value, dict):
        return {name: strict_schema(child) for name, child in value.items()}
    if key in _LISTS and isinstance(value, list):
        return [strict_schema(child) for child in value]
    if key in _CHILDREN and isinstance(value, dict):
        return strict_schema(value)
    return value


def fits_strict_mode(schema: Schema) -> bool:
    """Whether strict mode can hold the schema: no object with keys that are not named in it, no tuples."""
    if schema.get("type") == "object" and not isinstance(schema.get("properties"), dict):
        return False
    if isinstance(schema.get("additionalProperties"), dict) or {"prefixItems", "allOf", "not", "if"} & set(
        schema
    ):
        return False
    if not schema or set(schema) == {"description"}:
        return False
    return all(fits_strict_mode(child) for child in _children(schema))


def _children(schema: Schema) -> Iterator[Schema]:
    for key, value in schema.items():
        if key in _MAPS and isinstance(value, dict):
            yield from value.values()
        elif key in _LISTS and isinstance(value, list):
            yield from value
        elif key in _CHILDREN and isinstance(value, dict):
            yield value


def validate_value(value: Any, schema: Any, root: Schema, path: str = "value") -> list[str]:
    """Return what of a value does not fit, as sentences that name the place; empty when all fits."""
    if schema is False:
        return [words.not_allowed(path)]
    if not isinstance(schema, dict):
        return []
    schema = resolved(schema, root)
    problems = list(_kind_problems(value, schema, path))
    if problems:
        return problems
    for union in ("anyOf", "oneOf"):
        branches = schema.get(union)
        if branches and all(validate_value(value, branch, root, path) for branch in branches):
            return (
                validate_value(value, branches[0], root, path)
                if len(branches) == 1
                else [words.fits_none(path, union)]
            )
    for branch in schema.get("allOf", ()):
        problems += validate_value(value, branch, root, path)
    if isinstance(value, dict):
        problems += _object_problems(value, schema, root, path)
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            problems += validate_value(entry, schema.get("items", True), root, f"{path}[{number}]")
    return problems + list(_bound_problems(value, schema, path))


def _kind_problems(value: Any, schema: Schema, path: str) -> Iterator[str]:
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is_kind(value, kind) for kind in kinds):
        yield words.must_be(path, words.OR.join(kinds))
    elif "enum" in schema and value not in schema["enum"]:
        yield words.must_be_one_of(path, ", ".join(map(repr, schema["enum"])))
    elif "const" in schema and value != schema["const"]:
        yield words.must_be(path, repr(schema["const"]))


def _is_kind(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(kind, (object,)))


def _object_problems(value: Mapping[str, Any], schema: Schema, root: Schema, path: str) -> list[str]:
    named = schema.get("properties", {})
    problems = [words.is_missing(f"{path}.{key}") for key in schema.get("required", ()) if key not in value]
    for key, entry in value.items():
        wanted = named.get(key, schema.get("additionalProperties", True))
        problems += validate_value(entry, wanted, root, f"{path}.{key}")
    return problems


def _bound_problems(value: Any, schema: Schema, path: str) -> Iterator[str]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        measured: float = value
        low, high = "minimum", "maximum"
    elif isinstance(value, str):
        measured, low, high = len(value), "minLength", "maxLength"
        pattern = schema.get("pattern")
        if isinstance(pattern, str) and not re.search(pattern, value):
            yield words.must_match(path, pattern)
    elif isinstance(value, list):
        measured, low, high = len(value), "minItems", "maxItems"
    else:
        return
    if measured < schema.get(low, measured):
        yield words.bound(path, low, str(schema[low]))
    if measured > schema.get(high, measured):
        yield words.bound(path, high, str(schema[high]))
    if "exclusiveMinimum" in schema and measured <= schema["exclusiveMinimum"]:
        yield words.must_be_more(path, str(schema["exclusiveMinimum"]))
    if "exclusiveMaximum" in schema and measured >= schema["exclusiveMaximum"]:
        yield words.must_be_less(path, str(schema["exclusiveMaximum"]))


_OPENS_FENCE = re.compile(r"```[a-zA-Z]*\s*")
_MOST_PROBLEMS = 8


class SchemaError(CodexError):
    """The schema that was asked for cannot be used; nothing was sent."""

    default_hint = words.GIVE_A_SCHEMA


@dataclass(frozen=True)
class ValueFormat:
    """How a value is asked for and read.

    ``text_format`` goes into the request. ``parse`` reads an answer's text and raises SchemaMismatch.
    Types that are not objects (a list, a number) are asked for as an object with the one key
    ``value``, because the API's schemas are always
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
            raise SchemaMismatch(told) from None
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
        if problems := validate_value(value, schema, schema)[:_MOST_PROBLEMS]:
            raise SchemaMismatch("; ".join(problems))
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
        raise SchemaMismatch(words.not_json(str(error))) from None


def _unwrapped(value: Any, *, wrapped: bool) -> Any:
    if not wrapped:
        return value
    if isinstance(value, dict) and set(value) == {"value"}:
        return value["value"]
    raise SchemaMismatch(words.ONE_KEY)
