"""Types of what people send."""

from typing import Annotated

from email_validator import EmailNotValidError, validate_email
from kasal_contracts.errors import InvalidError
from kasal_contracts.problems import FieldError
from kasal_contracts.wire import JsonObject
from pydantic import AfterValidator, Field, SecretStr

PASSWORD_MIN = 12
PASSWORD_MAX = 1024
PREFERENCES_MAX = 64_000


def _email(text: str) -> str:
    try:
        checked = validate_email(text, check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError as error:
        raise ValueError(str(error)) from error
    return normal_email(checked.normalized)


def normal_email(text: str) -> str:
    """The form in which addresses are stored and compared."""
    return text.strip().lower()


def _small(value: JsonObject) -> JsonObject:
    if len(repr(value)) > PREFERENCES_MAX:
        raise ValueError(f"at most {PREFERENCES_MAX} characters are kept")
    return value


Email = Annotated[str, Field(max_length=254), AfterValidator(_email)]
DisplayName = Annotated[str, Field(max_length=200)]
Description = Annotated[str, Field(max_length=2000)]
Preferences = Annotated[JsonObject, AfterValidator(_small)]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=PASSWORD_MAX)]


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
