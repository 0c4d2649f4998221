"""The writable form of a model."""

import json
import re
from typing import Annotated, ClassVar, Self
from urllib.parse import urlsplit

from kasal_contracts.crew import Name
from kasal_contracts.models import Price, Provider
from kasal_contracts.wire import JsonObject, Strict
from kasal_runtime.bodies import READ_ONLY, Writable
from pydantic import AfterValidator, Field, StringConstraints, model_validator

LOCAL_URL = re.compile(r"local://[a-z0-9-]{1,64}")
SECRET_NAME = re.compile(r"api_?key|secret|password|authorization|(^|_)token$", re.IGNORECASE)
MAX_EXTRA_CHARACTERS = 20_000


def _callable_url(url: str) -> str:
    if LOCAL_URL.fullmatch(url):
        return url
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError("base_url must be an absolute http or https URL, as in https://models.example.com/v1")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("base_url holds no user, password, query or fragment; name a key in api_key_name instead")
    return url.rstrip("/")


def _fitting_extra(extra: JsonObject) -> JsonObject:
    if secret := next((name for name in extra if SECRET_NAME.search(name)), None):
        raise ValueError(f"extra may not hold {secret!r}: keep keys under /api-keys and name one in api_key_name")
    if len(json.dumps(extra)) > MAX_EXTRA_CHARACTERS:
        raise ValueError(f"extra may hold at most {MAX_EXTRA_CHARACTERS} characters")
    return extra


BaseUrl = Annotated[str, StringConstraints(max_length=2000, strip_whitespace=True), AfterValidator(_callable_url)]
KeyName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,199}$")]
ModelTitle = Annotated[str, StringConstraints(max_length=200, strip_whitespace=True)]


class ModelFields(Strict):
    """Only `name`, `provider` and `model` are required. `api_key_name` need not exist yet."""

    name: Name = Field(description="What crews call it; unique in the group.")
    title: ModelTitle = Field(default="", description="What people read.")
    provider: Provider
    model: Name = Field(description="The provider's own name for it.")
    base_url: BaseUrl | None = None
    api_key_name: KeyName | None = Field(default=None, description="Null means the provider's usual key.")
    temperature: float | None = Field(default=None, ge=0, le=2)
    context_window: int = Field(default=128_000, ge=256, le=100_000_000)
    max_tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    extra: Annotated[JsonObject, AfterValidator(_fitting_extra)] = {}
    price: Price | None = None
    enabled: bool = True


class ModelForm(Writable, ModelFields):
    """A model to save."""

    read_only: ClassVar[frozenset[str]] = READ_ONLY | {"available", "unavailable_reason"}

    @model_validator(mode="after")
    def _has_address(self) -> Self:
        if self.provider is Provider.OPENAI_COMPATIBLE and self.base_url is None:
            raise ValueError("a model of the provider openai_compatible needs a base_url")
        return self

    def columns(self) -> JsonObject:
        content: JsonObject = self.model_dump(mode="json")
        return content
