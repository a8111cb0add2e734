"""Structured output: from a Python type to a strict JSON schema, and from an answer back to a value."""

from __future__ import annotations

import dataclasses
import inspect
import json
import pprint
import re
import sys
import textwrap
import typing
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NotRequired

from pydantic import BaseModel, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from codex_nb.errors import CodexError
from codex_nb.parse import loads
from codex_nb.tools.nbmodel import truncate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


Schema = dict[str, Any]

_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"},
)
_NOT_SENT = frozenset({"default", "title", "examples", "$schema", "$id", "$comment", "discriminator"})
_CHILDREN = ("items", "additionalProperties", "not", "if", "then", "else")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS = ("properties", "$defs", "definitions")


def resolve_reference(schema: Schema, root: Schema) -> Schema:
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
    strict = deepcopy(schema)
    for each in list(_schemas_in(strict)):
        kept = {"anyOf" if key == "oneOf" else key: each[key] for key in each if key not in _NOT_SENT}
        if isinstance(each.get("$ref"), str):
            # A reference stands alone; the definitions beside it belong to the root.
            kept = {key: value for key, value in each.items() if key in {"$ref", "$defs"}}
        if kept.get("format", "date") not in _FORMATS:
            del kept["format"]
        if kept.get("type") == "object" and "properties" in kept:
            kept["required"] = list(kept["properties"])
            if not isinstance(kept.get("additionalProperties"), dict):
                kept["additionalProperties"] = False
        each.clear()
        each.update(kept)
    return strict


def fits_strict_mode(schema: Schema) -> bool:
    """Whether strict mode can hold the schema: no object with keys that are not named in it, no tuples."""
    return all(map(_fits_alone, _schemas_in(schema)))


def _fits_alone(schema: Schema) -> bool:
    has_free_keys = schema.get("type") == "object" and not isinstance(schema.get("properties"), dict)
    names_their_type = isinstance(schema.get("additionalProperties"), dict)
    says_nothing = schema.keys() <= {"description"}
    is_known = schema.keys().isdisjoint({"prefixItems", "allOf", "not", "if"})
    return is_known and not (has_free_keys or names_their_type or says_nothing)


def _schemas_in(schema: Schema) -> Iterator[Schema]:
    """Yield a schema and all those within it."""
    yield schema
    for key, value in schema.items():
        if isinstance(value, dict):
            within = value.values() if key in _MAPS else [value] if key in _CHILDREN else []
        else:
            within = value if isinstance(value, list) and key in _LISTS else []
        for each in within:  # true stands for one that says nothing
            yield from _schemas_in(each if isinstance(each, dict) else {})


_OPENS_FENCE = re.compile(r"```[a-zA-Z]*\s*")
_MOST_PROBLEMS = 8
_MESSAGE_LIMIT = 300


class SchemaError(CodexError):
    """The requested schema cannot be used; nothing was sent."""

    default_hint = "Give a pydantic model, a dataclass, a TypedDict or a JSON schema."


class SchemaMismatch(Exception):
    """An answer does not fit the requested schema; the text says why."""


@dataclass(frozen=True)
class ValueFormat:
    """How a value is requested and parsed.

    ``schema`` is the JSON schema of the value. ``text_format`` goes into the request. ``parse`` turns an answer's text
    into the value, or raises SchemaMismatch. A type that is no object (a list, a number) is requested as an object with
    the one key ``value``, because the API's schemas are always objects. The API does not enforce types with free keys;
    there ``parse`` is the only check.
    """

    schema: Schema
    text_format: dict[str, Any]
    parse: Callable[[str], Any]

    def read(self, text: str) -> tuple[Any, str]:
        """Return the value of an answer's text, and the value as Markdown; raises SchemaMismatch.

        Runs where the user's code runs: the classes are the user's own.
        """
        value = self.parse(text)
        return value, value_markdown(value)


_MOST_ROWS = 100
_LONGEST_VALUE = 16_000


def value_markdown(value: Any) -> str:
    """Return a value as Markdown: a list of records as a table, anything else as Python writes it."""
    try:
        records = [_record(each) for each in value[:_MOST_ROWS]] if type(value) is list else []
        heads = list(records[0]) if records and records[0] else []
        if (
            heads
            and len(value) <= _MOST_ROWS
            and all(each is not None and list(each) == heads for each in records)
        ):
            return _table(heads, [[*each.values()] for each in records if each is not None])
        written = value if type(value) is str else pprint.pformat(value, width=100, sort_dicts=False)
    except Exception as error:  # noqa: BLE001 -- whatever the user's own __repr__ raises, the value is there
        written = f"<{type(value).__name__}, whose repr fails: {type(error).__name__}>"
    return textwrap.indent(truncate(written, _LONGEST_VALUE) or " ", "    ", lambda _: True)


def _record(value: Any) -> dict[str, Any] | None:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    if isinstance(value, BaseModel):
        return dict(value)
    return value if type(value) is dict else None


def _table(heads: list[str], rows: list[list[Any]]) -> str:
    from codex_nb.rendering.markdown import escape_markdown

    cells = [heads, *([each if type(each) is str else repr(each) for each in row] for row in rows)]
    lines = [[escape_markdown(" ".join(str(cell).split())) for cell in row] for row in cells]
    head, *body = [f"| {' | '.join(line)} |" for line in lines]
    return truncate("\n".join([head, "|" + " --- |" * len(heads), *body]), _LONGEST_VALUE)


def value_format(wanted: Any) -> ValueFormat:
    """Return the format of a type or a JSON schema; raises SchemaError when it cannot be used."""
    schema, validate = _json_schema(wanted) if isinstance(wanted, dict) else _type(wanted)
    wrapped = resolve_reference(schema, schema).get("type") != "object"
    strict = strict_schema(_wrapped(schema) if wrapped else _inlined(schema))
    text_format = {
        "type": "json_schema",
        "strict": fits_strict_mode(strict),
        "schema": strict,
        "name": "codex_output_schema",
    }
    return ValueFormat(schema, text_format, lambda text: validate(_unwrapped(_load(text), wrapped=wrapped)))


def _type(wanted: Any) -> tuple[Schema, Callable[[Any], Any]]:
    """Return the JSON schema of a type, and what turns the JSON value of an answer into its instance."""
    if inspect.isroutine(wanted):
        raise SchemaError(f"{wanted.__name__} is a function, not a schema.")
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(_readable(wanted))
        schema = adapter.json_schema()
    except Exception as error:
        raise SchemaError(f"{wanted!r:.80} cannot be used as a schema: {error}") from error

    def validate(value: Any) -> Any:
        try:
            # JSON mode: an answer can only ever say "2024-01-01", never a date.
            return adapter.validate_json(json.dumps(value))
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False)[:_MOST_PROBLEMS]
            told = "; ".join(f"{'.'.join(map(str, p['loc'])) or 'value'}: {p['msg']}" for p in problems)
            raise SchemaMismatch(told) from None
        except Exception as error:
            raise SchemaError(
                f"The schema's own code failed: {type(error).__name__}: {error}",
                hint="Fix the schema; the answer's text is kept.",
            ) from error

    return schema, validate


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


def _json_schema(schema: Schema) -> tuple[Schema, Callable[[Any], Any]]:
    """Return a JSON schema, and what checks the value of an answer against it; neither fetches anything."""
    from jsonschema.exceptions import SchemaError as InvalidSchema
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing import Registry

    has_type = resolve_reference(schema, schema).get("type") is not None
    if not has_type and not {"properties", "$ref", "anyOf", "oneOf", "enum", "const"} & set(schema):
        raise SchemaError("The JSON schema has no type.", hint='Add a "type" to it.')
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except InvalidSchema as error:
        raise SchemaError(f"The JSON schema is not valid: {_sentence(error)}") from None
    validator = kind(schema, registry=Registry())

    def validate(value: Any) -> Any:
        try:
            errors = list(islice(validator.iter_errors(value), _MOST_PROBLEMS))
        except Exception as error:  # an unresolvable reference
            raise SchemaError(f"The JSON schema cannot be used: {error}") from error
        if errors:
            raise SchemaMismatch("; ".join(map(_sentence, errors)))
        return value

    return schema, validate


def _sentence(error: Any) -> str:
    return f"{error.json_path.replace('$', 'value', 1)}: {error.message[:_MESSAGE_LIMIT]}"


def _inlined(schema: Schema) -> Schema:
    # The root itself must be an object, not a reference to one (a recursive model's schema is such a reference).
    if "$ref" not in schema:
        return schema
    return {**resolve_reference(schema, schema), "$defs": schema.get("$defs", {})}


def _wrapped(schema: Schema) -> Schema:
    inner = {key: value for key, value in schema.items() if key != "$defs"}
    outer = {"type": "object", "properties": {"value": inner}, "required": ["value"]}
    return outer | ({"$defs": schema["$defs"]} if "$defs" in schema else {})


def _load(text: str) -> Any:
    text = text.strip()
    first, _, rest = text.partition("\n")
    if _OPENS_FENCE.fullmatch(first) and rest.endswith("\n```"):
        text = rest.removesuffix("```")
    try:
        return loads(text)
    except ValueError as error:
        raise SchemaMismatch(f"the answer is not JSON: {error}") from None


def _unwrapped(value: Any, *, wrapped: bool) -> Any:
    if not wrapped:
        return value
    if isinstance(value, dict) and set(value) == {"value"}:
        return value["value"]
    raise SchemaMismatch('the answer must be an object with the one key "value"')
