"""Bodies of requests: what a resource's writable form accepts, and how refusals are worded."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Self, TypeVar

from fastapi import Body as FromBody
from kasal_contracts.errors import InvalidError
from kasal_contracts.problems import FieldError
from kasal_contracts.storable import Loc, unstorable
from kasal_contracts.wire import JsonObject, Resource, Strict
from pydantic import BaseModel, JsonValue, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

MAX_PROBLEMS = 100
READ_ONLY = frozenset(Resource.model_fields)

MergePatch = Annotated[JsonObject, FromBody(description="A JSON merge patch (RFC 7386): null removes.")]


class Body(Strict):
    """Refuses what no database keeps (see `unstorable`), and says which field an unknown one may have meant.

    Fields of `read_only` are passed over; `parts` are the models of fields, or of their items, to guess fields from.
    """

    read_only: ClassVar[frozenset[str]] = frozenset()
    parts: ClassVar[Mapping[str, type[BaseModel]]] = {}

    @model_validator(mode="wrap")
    @classmethod
    def _accept(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(value, Mapping):
            if found := unstorable(value):
                raise _validation_error(cls.__name__, [found])
            value = {name: item for name, item in value.items() if name not in cls.read_only}
        try:
            return handler(value)
        except ValidationError as error:
            raise _reworded(cls, error) from error


class Writable(Body):
    """Accepts what a `GET` of the resource returned: fields that cannot be changed are passed over."""

    read_only: ClassVar[frozenset[str]] = READ_ONLY


Form = TypeVar("Form", bound=Body)


def _reworded(model: type[Body], error: ValidationError) -> ValidationError:
    found = error.errors(include_url=False, include_context=False, include_input=False)[:MAX_PROBLEMS]
    return _validation_error(error.title, [(item["loc"], _message(model, item)) for item in found])


def _validation_error(title: str, found: Iterable[tuple[Loc, str]]) -> ValidationError:
    return ValidationError.from_exception_data(
        title,
        [InitErrorDetails(type=PydanticCustomError("invalid", message), loc=loc, input=None) for loc, message in found],
    )


def _message(model: type[Body], item: ErrorDetails) -> str:
    loc, message = item["loc"], item["msg"]
    if item["type"] != "extra_forbidden":
        return message.removeprefix("Value error, ")
    owner = model if len(loc) == 1 else model.parts.get(str(loc[0]))
    return f"unknown field{near(str(loc[-1]), owner.model_fields if owner else ())}"


def near(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest of `known`, or nothing."""
    close = difflib.get_close_matches(word[:200], list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def field_errors(error: ValidationError) -> list[FieldError]:
    return [FieldError(loc=["body", *item["loc"]], msg=item["msg"]) for item in error.errors(include_url=False)]


def refuse_unstorable(body: JsonValue) -> None:
    """For bodies that are not a `Body`. Raises InvalidError."""
    if found := unstorable(body):
        loc, message = found
        raise InvalidError(message, errors=[FieldError(loc=["body", *loc], msg=message)])


def patched(form: type[Form], current: JsonValue, patch: JsonValue) -> Form:
    """`current` changed by `patch`. Raises InvalidError where the outcome is not a `form`."""
    refuse_unstorable(patch)
    try:
        return form.model_validate(merged(current, patch))
    except ValidationError as error:
        errors = field_errors(error)
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
