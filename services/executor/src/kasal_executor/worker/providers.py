"""Where each provider's API is, which of its calls a child may make, and how it is shown a key."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from kasal_contracts.models import Provider, ResolvedModel

from .refusals import BrokerRefusedError

LOCAL = "local://"
_GEMINI_CALL = re.compile(r"v1beta/models/[^/:]+:(generateContent|streamGenerateContent|countTokens)")


@dataclass(frozen=True)
class Api:
    """One provider. `origin` is where its API is unless the model says otherwise; `key_name` its usual key.

    `answer` is the field that every complete answer has.
    """

    origin: str | None
    key_name: str | None
    key_header: str
    answer: str

    def credentials(self, key: str | None) -> Mapping[str, str]:
        if key is None:
            return {}
        return {self.key_header: f"Bearer {key}" if self.key_header == "Authorization" else key}


def _openai_like(origin: str | None, key_name: str | None) -> Api:
    return Api(origin, key_name, key_header="Authorization", answer="choices")


APIS: Mapping[Provider, Api] = {
    Provider.OPENAI: _openai_like("https://api.openai.com/v1", "OPENAI_API_KEY"),
    Provider.ANTHROPIC: Api("https://api.anthropic.com", "ANTHROPIC_API_KEY", key_header="x-api-key", answer="content"),
    Provider.GOOGLE: Api(
        "https://generativelanguage.googleapis.com", "GEMINI_API_KEY", key_header="x-goog-api-key", answer="candidates"
    ),
    Provider.DATABRICKS: _openai_like(None, "DATABRICKS_TOKEN"),
    Provider.META: _openai_like("https://api.llama.com/compat/v1", "LLAMA_API_KEY"),
    Provider.OPENAI_COMPATIBLE: _openai_like(None, None),
    Provider.DEMO: _openai_like(None, None),
}


def key_name_of(model: ResolvedModel) -> str | None:
    """The name of the key that the model needs; `None` where it needs none."""
    return model.api_key_name or APIS[model.provider].key_name


def is_local(model: ResolvedModel) -> bool:
    return (model.base_url or "").startswith(LOCAL)


def url_of(model: ResolvedModel, call: str, origin: str | None) -> str:
    """Where `call` (the path after the model's alias, such as `v1/chat/completions`) goes.

    `origin` is the address to use where neither the model nor its provider has one. Raises BrokerRefusedError.
    """
    base = (model.base_url or APIS[model.provider].origin or origin or "").rstrip("/")
    if not base:
        raise BrokerRefusedError(
            f"The model “{model.alias}” has no address. Set its base_url to where its API is.", status=422
        )
    match model.provider:
        case Provider.ANTHROPIC if call == "v1/messages":
            return f"{base}/v1/messages"
        case Provider.GOOGLE if found := _GEMINI_CALL.fullmatch(call):
            return f"{base}/v1beta/models/{quote(model.model, safe='')}:{found[1]}"
        case Provider.DATABRICKS if call == "v1/chat/completions":
            return f"{base.removesuffix('/serving-endpoints')}/serving-endpoints/chat/completions"
        case Provider.ANTHROPIC | Provider.GOOGLE | Provider.DATABRICKS:
            raise _unknown_call(model)
        case _ if call == "v1/chat/completions":
            return f"{base}/chat/completions"
    raise _unknown_call(model)


def _unknown_call(model: ResolvedModel) -> BrokerRefusedError:
    return BrokerRefusedError(f"The model “{model.alias}” was called in a way that is not allowed.", status=404)
