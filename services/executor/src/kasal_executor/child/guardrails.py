"""Checks on a task's output. A task is done again with what was wrong, a few times at most."""

import json
import re
from collections.abc import Callable
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import re2  # type: ignore[import-untyped]
from kasal_contracts.crew import Guardrail, LengthGuardrail, LlmGuardrail, RegexGuardrail, SchemaGuardrail
from kasal_contracts.executions import ErrorCode
from kasal_contracts.wire import JsonObject
from pydantic import JsonValue
from referencing import Registry
from referencing.exceptions import Unresolvable

from .reporter import Emit
from .stop import stopped

RETRIES = 3
FENCED = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)

Verdict = tuple[bool, str]
"""Whether the output passes, and then the output to go on with, else what is wrong with it."""

Check = Callable[[str], Verdict]
CrewGuardrail = Callable[[Any], Verdict]
AskModel = Callable[[str], str]


class TaskGuardrail:
    """A check that gives up after `RETRIES` with a sentence of ours."""

    def __init__(self, task: str, kind: str, check: Check, emit: Emit) -> None:
        self._task = task
        self._kind = kind
        self._check = check
        self._emit = emit
        self._failures = 0

    def examine(self, output: Any) -> Verdict:
        """What CrewAI calls, with a task's output. It wants a function and not just anything that can be called."""
        passes, words = self._check(str(output.raw))
        if passes:
            self._emit("guardrail.passed", kind=self._kind)
            return True, words
        self._failures += 1
        self._emit("guardrail.failed", kind=self._kind, reason=words, attempt=self._failures)
        if self._failures > RETRIES:
            raise stopped(
                ErrorCode.INVALID_OUTPUT,
                f"The output of task “{self._task}” failed its check {self._failures} times: {words}",
            )
        return False, words


def check_for(guardrail: Guardrail, ask: AskModel, fill: Callable[[str], str]) -> Check:
    """`fill` puts the inputs into an instruction."""
    match guardrail:
        case SchemaGuardrail():
            return schema_check(guardrail.schema_)
        case RegexGuardrail():
            return _regex_check(guardrail.pattern)
        case LengthGuardrail():
            return _length_check(guardrail.min, guardrail.max)
        case LlmGuardrail():
            return _llm_check(fill(guardrail.instruction), ask)


def schema_check(schema: JsonObject) -> Check:
    """The output becomes bare JSON; fences and words around it are dropped."""
    # The empty registry keeps a `$ref` to elsewhere from being fetched.
    validator = jsonschema.Draft202012Validator(schema, registry=Registry())

    def check(text: str) -> Verdict:
        try:
            value = parse_json(text)
        except ValueError:
            return False, "The answer must be JSON and nothing else."
        try:
            problem = jsonschema.exceptions.best_match(validator.iter_errors(value))
        except Unresolvable as error:
            raise stopped(ErrorCode.INVALID_OUTPUT, f"The schema refers to {error.ref}, which is not in it.") from None
        if problem is not None:
            return False, f"The answer does not satisfy the schema at {problem.json_path}: {problem.message}"
        return True, json.dumps(value, ensure_ascii=False)

    return check


def parse_json(text: str) -> JsonValue:
    """Raise `ValueError` when there is no JSON value in `text`, bare or fenced."""
    fenced = FENCED.search(text)
    parsed: JsonValue = json.loads(fenced[1] if fenced else text)
    return parsed


def _regex_check(pattern: str) -> Check:
    # RE2 takes linear time on any pattern, and patterns come from users.
    compiled = re2.compile(pattern)

    def check(text: str) -> Verdict:
        if compiled.search(text):
            return True, text
        return False, f"The answer must match the pattern {pattern}"

    return check


def _length_check(least: int, most: int | None) -> Check:
    def check(text: str) -> Verdict:
        if len(text) < least:
            return False, f"The answer has {len(text)} characters; at least {least} are wanted."
        if most is not None and len(text) > most:
            return False, f"The answer has {len(text)} characters; at most {most} are allowed."
        return True, text

    return check


def _llm_check(instruction: str, ask: AskModel) -> Check:
    def check(text: str) -> Verdict:
        for _ in range(2):
            verdict = _verdict(ask(_question(instruction, text)))
            if verdict is not None:
                return verdict.get("valid") is True, text if verdict.get("valid") is True else _feedback(verdict)
        raise stopped(
            ErrorCode.INVALID_OUTPUT,
            "The model that checks this output did not answer with a verdict. Choose another model for the agent.",
        )

    return check


def _question(instruction: str, text: str) -> str:
    return (
        "Check whether the output below complies with this rule. Judge only the rule.\n\n"
        f"Rule:\n{instruction}\n\nOutput:\n{text}\n\n"
        'Answer with JSON only: {"valid": true} or {"valid": false, "feedback": "what is wrong"}'
    )


def _verdict(answer: str) -> dict[str, JsonValue] | None:
    try:
        parsed = parse_json(answer)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) and isinstance(parsed.get("valid"), bool) else None


def _feedback(verdict: dict[str, JsonValue]) -> str:
    feedback = verdict.get("feedback")
    return feedback if isinstance(feedback, str) and feedback else "The answer does not comply with the rule."
