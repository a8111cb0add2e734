"""JSON values that fit a JSON schema, made without a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DEPTH = 12
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


def example_of(schema: Mapping[str, Any], prompt: str) -> Any:
    """A value that fits; words of the prompt choose among an enum's values."""
    return _value(schema, schema, prompt, "", _DEPTH)


def _value(schema: Any, root: Mapping[str, Any], prompt: str, name: str, depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth == 0:
        return None
    schema = _resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return _chosen(schema["enum"], prompt)
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            choice = next((each for each in schema[key] if not _is_null(each)), schema[key][0])
            return _value({**choice, **_rest(schema, key)}, root, prompt, name, depth - 1)
    if schema.get("allOf"):
        merged = {key: value for each in schema["allOf"] for key, value in _resolved(each, root).items()}
        return _value({**_rest(schema, "allOf"), **merged}, root, prompt, name, depth - 1)
    match _type_of(schema):
        case "object":
            return _object(schema, root, prompt, depth)
        case "array":
            return _array(schema, root, prompt, name, depth)
        case "string":
            return _string(schema, prompt, name)
        case "integer":
            return _number(schema, 1)
        case "number":
            return float(_number(schema, 1))
        case "boolean":
            return True
    return None


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    target: Any = schema
    for _ in range(_DEPTH):
        reference = target.get("$ref") if isinstance(target, Mapping) else None
        if not isinstance(reference, str) or not reference.startswith("#"):
            break
        found: Any = root
        for part in reference.removeprefix("#").strip("/").split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            found = found if not part else found.get(key, {}) if isinstance(found, Mapping) else {}
        target = found
    return target if isinstance(target, Mapping) else {}


def _rest(schema: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != key}


def _is_null(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "null"


def _type_of(schema: Mapping[str, Any]) -> str | None:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), None)
    if kind is None and "properties" in schema:
        return "object"
    if kind is None and ("items" in schema or "prefixItems" in schema):
        return "array"
    return kind if isinstance(kind, str) else None


def _chosen(values: list[Any], prompt: str) -> Any:
    words = prompt.lower()
    return next((value for value in values if isinstance(value, str) and value.lower() in words), values[0])


def _object(schema: Mapping[str, Any], root: Mapping[str, Any], prompt: str, depth: int) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    required = schema.get("required") or list(properties)
    names = [*properties, *(name for name in required if name not in properties)]
    wanted = names if depth > _DEPTH // 2 else required
    value = {name: _value(properties.get(name, {}), root, prompt, name, depth - 1) for name in wanted}
    extra = schema.get("additionalProperties")
    for number in range(max(0, int(schema.get("minProperties", 0)) - len(value))):
        value[f"key{number}"] = _value(extra or {"type": "string"}, root, prompt, "", depth - 1)
    return value


def _array(
    schema: Mapping[str, Any], root: Mapping[str, Any], prompt: str, name: str, depth: int
) -> list[Any]:
    fixed = [_value(each, root, prompt, name, depth - 1) for each in schema.get("prefixItems") or ()]
    items = schema.get("items")
    wanted = int(schema.get("minItems", 0 if depth <= _DEPTH // 2 else 1))
    wanted = min(wanted, int(schema.get("maxItems", wanted)))
    if not isinstance(items, Mapping):
        return fixed
    return fixed + [_value(items, root, prompt, name, depth - 1) for _ in range(wanted - len(fixed))]


def _string(schema: Mapping[str, Any], prompt: str, name: str) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    about = " ".join(prompt.split())[:60]
    text = f"Simulated {name or 'text'} for “{about}”" if about else f"Simulated {name or 'text'}"
    text = text.ljust(int(schema.get("minLength", 0)), ".")
    return text[: int(schema.get("maxLength", len(text)))]


def _number(schema: Mapping[str, Any], start: int) -> int | float:
    step = schema.get("multipleOf")
    low, high = schema.get("minimum"), schema.get("maximum")
    over, under = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    value: int | float = start
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
