"""Bodies of requests: what a resource's writable form accepts, and how refusals are worded."""

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self, TypeVar

from kasal_contracts.errors import InvalidError
from kasal_contracts.problems import FieldError
from kasal_contracts.wire import Strict
from pydantic import BaseModel, JsonValue, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

NOT_TEXT = re.compile("[\x00\ud800-\udfff]")
MAX_PROBLEMS = 100
MAX_DEPTH = 60
READ_ONLY = frozenset({"id", "group_id", "created_by", "created_at", "updated_at"})

Loc = tuple[str | int, ...]
WritableForm = TypeVar("WritableForm", bound="Writable")


class Writable(Strict):
    """Accepts what a `GET` of the resource returned: `read_only` fields are ignored, other unknown ones refused.

    Also refuses what no database keeps (see `unstorable`), and says which field an unknown one may have meant.
    """

    read_only: ClassVar[frozenset[str]] = READ_ONLY
    parts: ClassVar[Mapping[str, type[BaseModel]]] = {}

    @model_validator(mode="wrap")
    @classmethod
    def _accept(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(value, Mapping):
            _refuse_unstorable(cls.__name__, value)
            value = {name: item for name, item in value.items() if name not in cls.read_only}
        try:
            return handler(value)
        except ValidationError as error:
            raise _reworded(cls, error) from error


def _refuse_unstorable(title: str, value: Mapping[str, JsonValue]) -> None:
    found = unstorable(value)
    if found is not None:
        loc, message = found
        raise _validation_error(title, [(loc, message)])


def unstorable(value: object) -> tuple[Loc, str] | None:
    """The first place in parsed JSON that no database keeps: too deep, not a number, not text, a huge integer."""
    waiting: list[tuple[Loc, object]] = [((), value)]
    while waiting:
        loc, item = waiting.pop()
        message = _unstorable_leaf(item) if len(loc) <= MAX_DEPTH else f"more than {MAX_DEPTH} levels deep"
        if message is not None:
            return loc, message
        if isinstance(item, Mapping):
            if bad := next((key for key in item if not is_text(key)), None):
                return loc, f"the name {bad!r} holds characters that are not text"
            waiting += [((*loc, key), inner) for key, inner in item.items()]
        elif isinstance(item, list):
            waiting += [((*loc, index), inner) for index, inner in enumerate(item)]
    return None


def _unstorable_leaf(item: object) -> str | None:
    if isinstance(item, str) and not is_text(item):
        return "the text holds a NUL character or half a surrogate pair; remove it"
    if isinstance(item, float) and not math.isfinite(item):
        return "NaN and infinity are not numbers in JSON"
    if isinstance(item, int) and abs(item) >= 2**63:
        return "the integer is too large"
    return None


def is_text(value: str) -> bool:
    """Whether a database keeps it: PostgreSQL knows neither NUL nor lone surrogates."""
    return NOT_TEXT.search(value) is None


def _reworded(model: type[Writable], error: ValidationError) -> ValidationError:
    found = error.errors(include_url=False, include_context=False, include_input=False)[:MAX_PROBLEMS]
    return _validation_error(error.title, [(item["loc"], _message(model, item)) for item in found])


def _validation_error(title: str, found: Iterable[tuple[Loc, str]]) -> ValidationError:
    return ValidationError.from_exception_data(
        title,
        [InitErrorDetails(type=PydanticCustomError("invalid", message), loc=loc, input=None) for loc, message in found],
    )


def _message(model: type[Writable], item: ErrorDetails) -> str:
    loc, message = item["loc"], item["msg"]
    if item["type"] != "extra_forbidden":
        return message.removeprefix("Value error, ")
    owner = model if len(loc) == 1 else model.parts.get(str(loc[0]))
    return f"unknown field{near(str(loc[-1]), owner.model_fields if owner else ())}"


def near(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest of `known`, or nothing."""
    close = difflib.get_close_matches(word[:200], list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def field_errors(error: ValidationError, *prefix: str) -> list[FieldError]:
    return [FieldError(loc=[*prefix, *item["loc"]], msg=item["msg"]) for item in error.errors(include_url=False)]


def patched(model: type[WritableForm], current: JsonValue, patch: JsonValue) -> WritableForm:
    """`current` changed by `patch`. Raises InvalidError where the outcome is not a `model`."""
    found = unstorable(patch)
    if found is not None:
        raise InvalidError(found[1], errors=[FieldError(loc=["body", *found[0]], msg=found[1])])
    try:
        return model.model_validate(merged(current, patch))
    except ValidationError as error:
        errors = field_errors(error, "body")
        raise InvalidError(f"after the change: {errors[0].msg}", errors=errors) from error


def merged(target: JsonValue, patch: JsonValue) -> JsonValue:
    """`target` changed by a JSON merge patch (RFC 7386): null removes, objects merge, the rest replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
