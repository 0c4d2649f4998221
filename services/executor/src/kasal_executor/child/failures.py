"""Turning what a model client raises into a code and a sentence for people."""

from collections.abc import Iterator, Mapping

import httpx
from anthropic import AnthropicError
from crewai.utilities.agent_utils import is_context_length_exceeded, is_native_tool_calling_unsupported_error
from google.genai.errors import APIError
from kasal_contracts.executions import ErrorCode, ExecutionError
from openai import LengthFinishReasonError, OpenAIError

# All that the clients are known to raise, also on answers that make no sense.
CALL_FAILURES = (
    *(OpenAIError, AnthropicError, APIError, httpx.HTTPError, OSError),
    *(ValueError, TypeError, LookupError, AttributeError, RuntimeError),
)
KNOWN_CODES = frozenset(ErrorCode)
MAX_SENTENCE = 600


def is_recoverable(error: Exception) -> bool:
    """CrewAI shortens a conversation that is too long, and describes tools in words to a model that knows none.

    Only while it offers tools: without them it would end with an answer of its own making.
    """
    return bool(is_context_length_exceeded(error) or is_native_tool_calling_unsupported_error(error))


def model_failure(error: BaseException, alias: str, *, has_form: bool = False) -> ExecutionError:
    """Prefer what the egress broker said: it answers with a code of ours and a sentence.

    `has_form`: the answer was to have a certain form.
    """
    said = broker_failure(error)
    if said is not None:
        return said
    chain = list(_chain(error))
    for each in chain:
        status, words = getattr(each, "status_code", None), _provider_words(each)
        if isinstance(status, int):
            return _model_error(f"The model “{alias}” refused the request (HTTP {status}){words}")
    if any(isinstance(each, LengthFinishReasonError) for each in chain):
        return _model_error(f"The model “{alias}” ran out of tokens before its answer was complete. Raise max_tokens.")
    if any(isinstance(each, httpx.HTTPError | OSError) for each in chain):
        return _model_error(f"The connection to the model “{alias}” broke before its answer was complete. Try again.")
    if has_form and isinstance(error, ValueError):
        return ExecutionError(
            code=ErrorCode.INVALID_OUTPUT, message=f"The model “{alias}” answered in another form than was asked for."
        )
    return _model_error(f"The model “{alias}” gave an answer that cannot be read. Try again or choose another model.")


def broker_failure(error: BaseException) -> ExecutionError | None:
    """What the egress broker said, if `error` goes back to it."""
    return next((said for each in _chain(error) if (said := _said(each)) is not None), None)


def empty_answer(alias: str) -> ExecutionError:
    return _model_error(f"The model “{alias}” gave an empty answer. Try again or choose another model.")


def _model_error(message: str) -> ExecutionError:
    return ExecutionError(code=ErrorCode.MODEL_ERROR, message=message)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _said(error: BaseException) -> ExecutionError | None:
    """The broker's `{"error": {"code", "message"}}`; the OpenAI SDK unwraps it, Anthropic's and Google's do not."""
    details = _details(error)
    if details is None:
        return None
    code, message = details.get("code"), details.get("message")
    if code in KNOWN_CODES and isinstance(message, str):
        return ExecutionError(code=str(code), message=message)
    return None


def _details(error: BaseException) -> Mapping[str, object] | None:
    body = getattr(error, "body", None) or getattr(error, "details", None)
    if not isinstance(body, Mapping):
        return None
    inner = body.get("error", body)
    return inner if isinstance(inner, Mapping) else None


def _provider_words(error: BaseException) -> str:
    details = _details(error)
    message = details.get("message") if details else None
    return f": {message[:MAX_SENTENCE]}" if isinstance(message, str) and message else "."
