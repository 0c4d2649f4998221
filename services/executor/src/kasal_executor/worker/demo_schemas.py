"""The smallest JSON value that satisfies a schema, for the demo model's structured answers."""

import json
from collections.abc import Mapping

from kasal_contracts.wire import JsonObject
from pydantic import JsonValue

DEEPEST = 20
_FORMATS: Mapping[str, str] = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "demo@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def smallest_instance(schema: JsonObject, text: str) -> str:
    """As JSON text. `text` stands where any string will do."""
    return json.dumps(_Smallest(schema, text).of(schema), ensure_ascii=False)


class _Smallest:
    def __init__(self, root: JsonObject, text: str) -> None:
        self._root = root
        self._text = text

    def of(self, schema: JsonValue, depth: int = 0) -> JsonValue:
        if not isinstance(schema, dict) or depth > DEEPEST:
            return None
        for fixed in ("const", "default"):
            if fixed in schema:
                return schema[fixed]
        chosen = _first(schema, "enum")
        if chosen is not None:
            return chosen
        part = self._referred(schema) or _first(schema, "anyOf", "oneOf")
        return self.of(part, depth + 1) if part is not None else self._typed(self._whole(schema), depth)

    def _typed(self, schema: JsonObject, depth: int) -> JsonValue:
        kind = schema.get("type") or ("object" if "properties" in schema else "string")
        smallest: JsonValue = self._string(schema)
        match kind[0] if isinstance(kind, list) and kind else kind:
            case "object":
                smallest = self._object(schema, depth)
            case "array":
                smallest = [self.of(schema.get("items"), depth + 1) for _ in range(_number(schema, "minItems", 0))]
            case "integer" | "number":
                smallest = _number(schema, "minimum", _number(schema, "exclusiveMinimum", -1) + 1)
            case "boolean":
                smallest = False
            case "null":
                smallest = None
        return smallest

    def _object(self, schema: JsonObject, depth: int) -> JsonObject:
        properties = schema.get("properties")
        known = properties if isinstance(properties, dict) else {}
        required = schema.get("required")
        names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else list(known)
        return {name: self.of(known.get(name, {}), depth + 1) for name in names}

    def _string(self, schema: JsonObject) -> str:
        named = _FORMATS.get(str(schema.get("format")))
        if named is not None:
            return named
        shortest, longest = _number(schema, "minLength", 0), _number(schema, "maxLength", len(self._text))
        return self._text.ljust(shortest, ".")[: max(longest, shortest)]

    def _referred(self, schema: JsonObject) -> JsonValue:
        """What a local `$ref` such as `#/$defs/Person` leads to."""
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return None
        found: JsonValue = self._root
        for step in reference.removeprefix("#/").split("/"):
            found = found.get(step) if isinstance(found, dict) else None
        return found

    def _whole(self, schema: JsonObject) -> JsonObject:
        """With the parts of `allOf` in it, the later ones winning."""
        parts = schema.get("allOf")
        whole = dict(schema)
        for part in parts if isinstance(parts, list) else []:
            found = self._referred(part) or part if isinstance(part, dict) else None
            whole |= found if isinstance(found, dict) else {}
        return whole


def _first(schema: JsonObject, *names: str) -> JsonValue:
    for name in names:
        listed = schema.get(name)
        if isinstance(listed, list) and listed:
            return listed[0]
    return None


def _number(schema: JsonObject, name: str, default: int) -> int:
    value = schema.get(name)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else default
