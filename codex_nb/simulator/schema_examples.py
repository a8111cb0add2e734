"""Example values for JSON schemas: the simulator's answers where a request demands structured output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]

_MAX_DEPTH = 12
_FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "email": "simulator@example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/simulator",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "hostname": "localhost",
    "duration": "PT1S",
}


def example_value(schema: Schema, prompt: str) -> Any:
    """A value that is valid for the schema; an enum value that occurs in the prompt is preferred."""
    return _Generator(schema, prompt).value(schema, "", _MAX_DEPTH)


@dataclass(frozen=True)
class _Generator:
    """Generates values; references are resolved in ``root``, optional parts are omitted below half the depth."""

    root: Schema
    prompt: str

    def value(self, schema: Any, name: str, depth: int) -> Any:
        """A value for a subschema; ``name`` is the property that it belongs to, ``depth`` the levels left."""
        if not isinstance(schema, Mapping) or depth == 0:
            return None
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._enum_value(schema["enum"])
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                choice = next((each for each in schema[key] if not _is_null(each)), schema[key][0])
                return self.value({**choice, **_without(schema, key)}, name, depth - 1)
        if schema.get("allOf"):
            merged = {key: value for each in schema["allOf"] for key, value in self._resolved(each).items()}
            return self.value({**_without(schema, "allOf"), **merged}, name, depth - 1)
        match _type_of(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "string":
                return self._string(schema, name)
            case "integer":
                return _number(schema)
            case "number":
                return float(_number(schema))
            case "boolean":
                return True
        return None

    def _resolved(self, schema: Schema) -> Schema:
        """The schema that a local ``$ref`` leads to."""
        target: Any = schema
        for _ in range(_MAX_DEPTH):
            reference = target.get("$ref") if isinstance(target, Mapping) else None
            if not isinstance(reference, str) or not reference.startswith("#"):
                break
            target = self.root
            for part in filter(None, reference.removeprefix("#").split("/")):
                key = part.replace("~1", "/").replace("~0", "~")
                target = target.get(key, {}) if isinstance(target, Mapping) else {}
        return target if isinstance(target, Mapping) else {}

    def _enum_value(self, values: list[Any]) -> Any:
        prompt = self.prompt.lower()
        return next(
            (value for value in values if isinstance(value, str) and value.lower() in prompt), values[0]
        )

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = schema.get("required") or list(properties)
        names = [*properties, *(name for name in required if name not in properties)]
        wanted = names if depth > _MAX_DEPTH // 2 else required
        value = {name: self.value(properties.get(name, {}), name, depth - 1) for name in wanted}
        extra = schema.get("additionalProperties") or {"type": "string"}
        for number in range(max(0, int(schema.get("minProperties", 0)) - len(value))):
            value[f"key{number}"] = self.value(extra, "", depth - 1)
        return value

    def _array(self, schema: Schema, name: str, depth: int) -> list[Any]:
        fixed = [self.value(each, name, depth - 1) for each in schema.get("prefixItems") or ()]
        items = schema.get("items")
        wanted = int(schema.get("minItems", 0 if depth <= _MAX_DEPTH // 2 else 1))
        wanted = min(wanted, int(schema.get("maxItems", wanted)))
        if not isinstance(items, Mapping):
            return fixed
        return fixed + [self.value(items, name, depth - 1) for _ in range(wanted - len(fixed))]

    def _string(self, schema: Schema, name: str) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        text = f"Simulated {name or 'text'}"
        if quote := " ".join(self.prompt.split())[:60]:
            text = f"{text} for “{quote}”"
        text = text.ljust(int(schema.get("minLength", 0)), ".")
        return text[: int(schema.get("maxLength", len(text)))]


def _without(schema: Schema, key: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != key}


def _is_null(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "null"


def _type_of(schema: Schema) -> str | None:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), None)
    if kind is None and "properties" in schema:
        return "object"
    if kind is None and ("items" in schema or "prefixItems" in schema):
        return "array"
    return kind if isinstance(kind, str) else None


def _number(schema: Schema) -> int | float:
    step = schema.get("multipleOf")
    low, high = schema.get("minimum"), schema.get("maximum")
    over, under = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    value: int | float = 1
    if low is not None:
        value = max(value, low)
    if over is not None and value <= over:
        value = over + (step or 1)
    if high is not None:
        value = min(value, high)
    if under is not None and value >= under:
        value = under - (step or 1) if over is None else (over + under) / 2
    if step:
        value = -(-value // step) * step
    return value
