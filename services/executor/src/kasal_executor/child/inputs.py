"""Filling `{placeholders}` with an execution's inputs. Any other braces, JSON above all, stay as they are."""

import json
import re
from collections.abc import Mapping

from kasal_contracts.crew import CrewDocument
from kasal_contracts.executions import ErrorCode
from kasal_contracts.wire import JsonObject
from pydantic import JsonValue

from .stop import stopped

PLACEHOLDER = re.compile(r"\{([A-Za-z][A-Za-z0-9_-]{0,63})\}")


class Inputs:
    """The crew's declared inputs with their defaults, and whatever else was given."""

    def __init__(self, crew: CrewDocument, given: JsonObject) -> None:
        defaults = {name: spec.default for name, spec in crew.inputs.items() if spec.default is not None}
        self.values: Mapping[str, JsonValue] = {**defaults, **given}
        self._declared = crew.inputs.keys()

    def fill(self, text: str) -> str:
        """One pass, so that braces inside a value are never taken for a placeholder."""
        return PLACEHOLDER.sub(self._value, text)

    def _value(self, found: re.Match[str]) -> str:
        name = found[1]
        if name in self.values:
            return _text(self.values[name])
        if name in self._declared:
            raise stopped(ErrorCode.INTERNAL, f"The input “{name}” has no default and was not given.")
        return found[0]


def _text(value: JsonValue) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
