"""Types of what people send."""

from typing import Annotated, Any, ClassVar

from email_validator import EmailNotValidError, validate_email
from fastapi import Path
from kasal_contracts.errors import InvalidError, NotFoundError
from kasal_contracts.problems import FieldError
from kasal_contracts.wire import JsonObject, Strict
from pydantic import AfterValidator, Field, SecretStr, model_validator

PASSWORD_MIN = 12
PASSWORD_MAX = 1024
PREFERENCES_MAX = 64_000

READ_ONLY = frozenset({"id", "group_id", "created_by", "created_at", "updated_at", "revision"})


def is_storable(text: str) -> bool:
    """PostgreSQL refuses U+0000 in text, and a lone surrogate has no UTF-8 form."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _storable(text: str) -> str:
    if not is_storable(text):
        raise ValueError("contains a character that cannot be stored")
    return text


def _storable_secret(secret: SecretStr) -> SecretStr:
    _storable(secret.get_secret_value())
    return secret


def _findable(text: str) -> str:
    if not is_storable(text):
        raise NotFoundError("resource", "with such an id")
    return text


def _email(text: str) -> str:
    try:
        checked = validate_email(text, check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError as error:
        raise ValueError(str(error)) from error
    return normal_email(checked.normalized)


def normal_email(text: str) -> str:
    """The form in which addresses are stored and compared."""
    return text.strip().lower()


def _storable_json(value: Any) -> Any:
    if isinstance(value, str):
        _storable(value)
    elif isinstance(value, dict):
        _storable_json(list(value))
        _storable_json(list(value.values()))
    elif isinstance(value, list):
        for item in value:
            _storable_json(item)
    return value


def _small(value: JsonObject) -> JsonObject:
    if len(repr(value)) > PREFERENCES_MAX:
        raise ValueError(f"at most {PREFERENCES_MAX} characters are kept")
    return value


PlainText = Annotated[str, AfterValidator(_storable)]
Email = Annotated[str, Field(max_length=254), AfterValidator(_email)]
DisplayName = Annotated[PlainText, Field(max_length=200)]
Description = Annotated[PlainText, Field(max_length=2000)]
Preferences = Annotated[JsonObject, AfterValidator(_storable_json), AfterValidator(_small)]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=PASSWORD_MAX), AfterValidator(_storable_secret)]
Id = Annotated[str, Path(), AfterValidator(_findable)]
"""An id in a path: whatever its text looks like, an unknown one is 404."""


class Editable(Strict):
    """A body of PUT or PATCH: it may carry what GET showed; fields that cannot be changed are passed over."""

    read_only: ClassVar[frozenset[str]] = READ_ONLY

    @model_validator(mode="before")
    @classmethod
    def _drop_read_only(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if key not in cls.read_only}


def check_password_rule(password: SecretStr, email: str, *, field: str) -> None:
    """Raises InvalidError. The rule is length: composition rules make passwords worse (NIST SP 800-63B, 3.1.1.2)."""
    text = password.get_secret_value()
    problem = None
    if len(text) < PASSWORD_MIN:
        problem = f"a password needs at least {PASSWORD_MIN} characters"
    elif normal_email(text) == email:
        problem = "the password must not be the email address"
    if problem:
        raise InvalidError(problem, errors=[FieldError(loc=["body", field], msg=problem)])
