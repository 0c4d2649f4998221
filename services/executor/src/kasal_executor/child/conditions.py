"""Whether a task runs: a CEL expression over the outputs of earlier tasks."""

import json
from collections.abc import Mapping

import celpy
from celpy.evaluation import CELEvalError
from kasal_contracts.executions import ErrorCode
from pydantic import JsonValue

from .stop import stopped


def holds(expression: str, task: str, outputs: Mapping[str, JsonValue], inputs: Mapping[str, JsonValue]) -> bool:
    """Evaluate `expression` with `outputs` (by task key; a skipped task has an empty text) and `inputs`.

    Each output is also a variable of its own, as long as its key is an identifier.
    """
    variables = {**outputs, "outputs": dict(outputs), "inputs": dict(inputs)}
    environment = celpy.Environment()
    try:
        program = environment.program(environment.compile(expression))
        answer = program.evaluate({name: celpy.json_to_cel(value) for name, value in variables.items()})
    except (celpy.CELParseError, CELEvalError) as error:
        reason = str(error.args[0]) if error.args else "it is not valid"
        raise stopped(
            ErrorCode.INVALID_OUTPUT, f"The condition of task “{task}” could not be evaluated: {reason}"
        ) from None
    return bool(answer)


def value(text: str, *, is_json: bool) -> JsonValue:
    """What a condition sees of an output: the parsed value where the task has a schema, else the text."""
    return json.loads(text) if is_json and text else text
