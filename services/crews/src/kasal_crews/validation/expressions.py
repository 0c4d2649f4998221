"""Rules about small languages inside a crew: regular expressions, JSON Schema and CEL; and what cannot run yet."""

import json
from collections.abc import Iterator
from functools import cache, lru_cache

import re2  # type: ignore[import-untyped]
from celpy import CELParseError, Environment
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]
from kasal_contracts.crew import CrewDocument, LengthGuardrail, RegexGuardrail, SchemaGuardrail, TaskSpec
from kasal_contracts.wire import JsonObject
from pydantic import JsonValue

from .findings import Finding

MAX_SCHEMA_CHARACTERS = 20_000
MAX_CONDITION_CHARACTERS = 2_000
REMEMBERED = 512


def output_schemas(document: CrewDocument) -> Iterator[Finding]:
    for index, task in enumerate(document.tasks):
        if task.output_schema is not None and (message := schema_mistake(task.output_schema)):
            yield Finding(("tasks", index, "output_schema"), message)


def guardrails(document: CrewDocument) -> Iterator[Finding]:
    for index, task in enumerate(document.tasks):
        yield from _guardrail(index, task)


def _guardrail(index: int, task: TaskSpec) -> Iterator[Finding]:
    loc = ("tasks", index, "guardrail")
    match task.guardrail:
        case RegexGuardrail(pattern=pattern) if message := regex_mistake(pattern):
            yield Finding((*loc, "pattern"), message)
        case SchemaGuardrail(schema_=schema) if message := schema_mistake(schema):
            yield Finding((*loc, "schema"), message)
        case LengthGuardrail(min=least, max=most) if most is not None and most < least:
            yield Finding((*loc, "max"), f"at most {most} and at least {least} characters cannot both hold")


def conditions(document: CrewDocument) -> Iterator[Finding]:
    for index, task in enumerate(document.tasks):
        if task.condition is not None and (message := condition_mistake(task.condition)):
            yield Finding(("tasks", index, "condition"), message)


def human_inputs(document: CrewDocument) -> Iterator[Finding]:
    for index, task in enumerate(document.tasks):
        if task.human_input:
            yield Finding(
                ("tasks", index, "human_input"), "tasks that ask a person are not supported yet; set it to false"
            )


@lru_cache(maxsize=REMEMBERED)
def regex_mistake(pattern: str) -> str | None:
    """RE2 checks outputs: it takes linear time on any pattern, and knows no look-around and no back references."""
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        return f"not a regular expression in the syntax of RE2: {error.args[0]}"
    return None


def schema_mistake(schema: JsonObject) -> str | None:
    return _schema_mistake(json.dumps(schema, sort_keys=True))


@lru_cache(maxsize=REMEMBERED)
def _schema_mistake(text: str) -> str | None:
    if len(text) > MAX_SCHEMA_CHARACTERS:
        return f"the schema is longer than {MAX_SCHEMA_CHARACTERS} characters; make it simpler"
    schema: JsonObject = json.loads(text)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = "/".join(map(str, error.absolute_path))
        return f"not a JSON Schema: {error.message[:200]}" + (f" (at {place})" if place else "")
    except RecursionError:
        return "the schema is too deep; make it simpler"
    if remote := next(_remote_references(schema), None):
        return f"a schema refers only to its own parts, as in '#/$defs/name', not to {remote[:80]!r}"
    return None


def _remote_references(value: JsonValue) -> Iterator[str]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            reference = item.get("$ref")
            if isinstance(reference, str) and not reference.startswith("#"):
                yield reference
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


@lru_cache(maxsize=REMEMBERED)
def condition_mistake(expression: str) -> str | None:
    if len(expression) > MAX_CONDITION_CHARACTERS:
        return f"the condition is longer than {MAX_CONDITION_CHARACTERS} characters; make it simpler"
    try:
        _cel().compile(expression)
    except CELParseError as error:
        where = f" at line {error.line}, column {error.column}" if error.line else ""
        return f"not a CEL expression{where}; it may look like outputs.research.contains('yes')"
    except RecursionError:
        return "the condition is nested too deep; make it simpler"
    return None


@cache
def _cel() -> Environment:
    return Environment()
