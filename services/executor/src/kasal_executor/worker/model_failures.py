"""Failed model calls in words for people: which model, what happened, what to do. Never a key."""

import re

from kasal_contracts.executions import ErrorCode
from kasal_contracts.models import ResolvedModel
from kasal_contracts.wire import Frozen
from kasal_egress.errors import EgressError, EgressRefusedError, EgressTimeoutError, EgressUnreachableError, Phase
from pydantic import JsonValue, SecretStr, ValidationError

from .providers import is_local, key_name_of
from .refusals import BrokerRefusedError, Refusal, Said

EXCERPT = 300
# Providers repeat parts of a key in their refusals.
_SECRETS = re.compile(r"(?i)\b(?:bearer\s+\S+|(?:sk|pk|dapi|ksl|gsk|AIza)[-_]?[A-Za-z0-9*._-]{6,})")


class _SaidByProvider(Frozen):
    """The field `error` in the refusals of all providers, an object or a text; Databricks has `message` alone."""

    error: JsonValue = None
    message: JsonValue = None

    @property
    def words(self) -> str:
        inner = self.error.get("message") if isinstance(self.error, dict) else self.error or self.message
        return inner if isinstance(inner, str) else ""


class _ContextExceeded(Frozen):
    """How llama.cpp's server refuses a prompt that is too long."""

    n_prompt_tokens: int
    n_ctx: int


class _LocalRefusal(Frozen):
    error: _ContextExceeded


def refused_by_model(model: ResolvedModel, status: int, body: bytes, key: SecretStr | None) -> BrokerRefusedError:
    """An answer other than success, after whatever tries there were."""
    who = f"The model “{model.alias}”"
    if is_local(model) and (too_long := _too_long(body)):
        return BrokerRefusedError(too_long, status=422)
    match status:
        case 401 | 403:
            name = key_name_of(model)
            what = f"refused the key {name}" if name else "wants a key, but has no api_key_name"
            return BrokerRefusedError(f"{who} {what} (HTTP {status}). Check the key and its rights.", status=401)
        case 404:
            message = f"{who} is not known to its provider as “{model.model}” (HTTP 404). Check its name and base_url."
            return BrokerRefusedError(message, status=404)
        case 429:
            message = f"{who} takes no more requests for now (HTTP 429). Try again later, or set max_rpm."
            return BrokerRefusedError(message, status=429)
        case _ if status < 400:
            return BrokerRefusedError(f"{who} answered with a redirect (HTTP {status}). Check its base_url.")
        case _:
            words = _scrubbed(body, key)
            said = f": {words}" if words else "."
            deed = "failed" if status >= 500 else "refused the request"
            return BrokerRefusedError(f"{who} {deed} (HTTP {status}){said}", status=status if status < 500 else 502)


def not_answered(model: ResolvedModel, error: EgressError) -> BrokerRefusedError:
    """No answer, or not a whole one."""
    who = f"The model “{model.alias}”"
    match error:
        case EgressRefusedError():
            message = f"{who} may not be called there: {error.reason}. KASAL_EGRESS_ALLOW lists exceptions."
        case EgressTimeoutError(phase=Phase.CONNECT):
            message = f"{who} cannot be reached: no connection to {error.host} in time. Check its base_url."
        case EgressTimeoutError():
            message = f"{who} did not answer in time. Try again, or choose a faster model."
        case EgressUnreachableError():
            message = f"{who} cannot be reached: {error.detail}. Check its base_url, and whether its server runs."
        case _:
            message = f"{who} did not answer completely: {error.detail}. Try again."
    return BrokerRefusedError(message, status=error.status)


def not_an_answer(model: ResolvedModel) -> BrokerRefusedError:
    return BrokerRefusedError(
        f"The model “{model.alias}” gave an answer that cannot be read. Check that its base_url is the address of "
        f"an API of the provider {model.provider}."
    )


def broken_stream(model: ResolvedModel, error: EgressError) -> bytes:
    """The event that ends a stream whose rest will not come; the clients of all providers raise it as an error."""
    said = Refusal(error=Said(code=ErrorCode.MODEL_ERROR, message=not_answered(model, error).detail))
    return f"event: error\ndata: {said.model_dump_json()}\n\n".encode()


def _too_long(body: bytes) -> str | None:
    try:
        refusal = _LocalRefusal.model_validate_json(body)
    except ValidationError:
        return None
    return (
        f"The prompt has {refusal.error.n_prompt_tokens} tokens, and the local model reads {refusal.error.n_ctx}. "
        "Shorten the texts of the task, or choose another model."
    )


def _scrubbed(body: bytes, key: SecretStr | None) -> str:
    """The start of what a provider said, on one line and without anything that looks like a key."""
    try:
        words = _SaidByProvider.model_validate_json(body).words
    except ValidationError:
        words = ""
    if key is not None:
        words = words.replace(key.get_secret_value(), "…")
    words = " ".join(_SECRETS.sub("…", words).split())
    return words if len(words) <= EXCERPT else f"{words[:EXCERPT]}…"
