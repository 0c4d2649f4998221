"""Keeping messages under the bus's limit: long texts are cut, and say so."""

import json
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from kasal_contracts.events import NumberedEvent
from kasal_contracts.executions import Result, TaskResult
from pydantic import BaseModel, JsonValue

# The bus carries 256 KiB; the rest is room for the envelope.
MAX_BATCH_BYTES = 240 * 1024
MAX_EVENT_BYTES = 128 * 1024
MAX_RESULT_BYTES = 192 * 1024
# No text is cut below this, so that what is left still says something.
SHORTEST = 64

Cut = Callable[[str], str]
Value = TypeVar("Value", bound=BaseModel)


def size_of(value: BaseModel) -> int:
    return len(value.model_dump_json().encode())


def fitted(event: NumberedEvent) -> tuple[NumberedEvent, int]:
    """The event and its size; one that is too large has `truncated: true` in its data and shorter texts."""
    size = size_of(event)
    if size <= MAX_EVENT_BYTES:
        return event, size

    def with_texts_of(length: int) -> NumberedEvent:
        data = {key: _shortened(value, partial(cut, length=length)) for key, value in event.data.items()}
        return event.model_copy(update={"data": {**data, "truncated": True}})

    small = _largest_that_fits(with_texts_of, MAX_EVENT_BYTES)
    if small is None:
        small = event.model_copy(update={"data": {"truncated": True}})
    return small, size_of(small)


def fitted_result(result: Result) -> Result:
    """The result, its texts cut as far as that is needed for it to travel."""
    if size_of(result) <= MAX_RESULT_BYTES:
        return result

    # Half a JSON value is no JSON value.
    value = result.json_ if len(json.dumps(result.json_)) <= MAX_RESULT_BYTES // 4 else None

    def with_texts_of(length: int) -> Result:
        def shorter(task: TaskResult) -> TaskResult:
            return task.model_copy(update={"output": _cut_or_none(task.output, length)})

        return result.model_copy(
            update={
                "text": _cut_or_none(result.text, length),
                "json_": value,
                "tasks": [shorter(task) for task in result.tasks],
            }
        )

    return _largest_that_fits(with_texts_of, MAX_RESULT_BYTES) or with_texts_of(0)


def cut(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    return f"{text[:length]}… (cut, {len(text)} characters in all)"


def _cut_or_none(text: str | None, length: int) -> str | None:
    return None if text is None else cut(text, length)


def _largest_that_fits(with_texts_of: Callable[[int], Value], limit: int) -> Value | None:
    length = limit
    while length >= SHORTEST:
        value = with_texts_of(length)
        if size_of(value) <= limit:
            return value
        length //= 2
    return None


def _shortened(value: JsonValue, shorten: Cut) -> JsonValue:
    match value:
        case str():
            return shorten(value)
        case list():
            return [_shortened(item, shorten) for item in value]
        case dict():
            return {key: _shortened(item, shorten) for key, item in value.items()}
        case _:
            return value
