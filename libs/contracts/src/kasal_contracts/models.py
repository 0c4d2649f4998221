"""Language models: how one is addressed, and what a resolved one looks like inside an execution."""

from enum import StrEnum

from pydantic import Field

from .wire import Frozen, JsonObject, Strict


class Provider(StrEnum):
    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GOOGLE = "google"
    DATABRICKS = "databricks"
    META = "meta"
    OPENAI_COMPATIBLE = "openai_compatible"
    DEMO = "demo"


class Price(Strict):
    """US dollars for a million tokens."""

    input_per_mtok: float = Field(ge=0, le=100_000)
    output_per_mtok: float = Field(ge=0, le=100_000)


class ResolvedModel(Frozen):
    """A model as an execution uses it. Holds the *name* of a key, never a key.

    `alias` is what the crew's agents call it; it is unique inside a snapshot. A `base_url` of `local://NAME` is a
    model that the worker's machine runs itself.
    """

    alias: str
    provider: Provider
    model: str
    title: str = ""
    base_url: str | None = None
    api_key_name: str | None = None
    temperature: float | None = None
    context_window: int = 128_000
    max_tokens: int | None = None
    extra: JsonObject = {}
    price: Price | None = None
