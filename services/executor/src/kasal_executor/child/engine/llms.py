"""CrewAI's native model clients, spoken to through a `Seat` and over the egress broker."""

import asyncio
import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol

import httpx
from anthropic import Anthropic
from crewai.llms.base_llm import BaseLLM
from crewai.llms.providers.anthropic.completion import AnthropicCompletion
from crewai.llms.providers.gemini.completion import GeminiCompletion
from crewai.llms.providers.openai.completion import OpenAICompletion
from google import genai
from google.genai.types import HttpOptions
from kasal_contracts.wire import JsonObject
from openai import OpenAI
from pydantic import PrivateAttr

O_SERIES_1 = re.compile(r"(^|/)o1\b")
# CrewAI keeps a reserve of the context window for the answer.
USABLE_WINDOW = 0.85

# The JSON schema that the answer to the next request must satisfy, where the provider can enforce one.
answer_schema: ContextVar[JsonObject | None] = ContextVar("answer_schema", default=None)


class Seat(Protocol):
    """What a model client needs from its execution."""

    alias: str
    context_window: int
    strict_tools: bool

    @property
    def http(self) -> httpx.Client: ...

    @property
    def url(self) -> str: ...

    def ask(self, call: Callable[[], Any], *, agent: Any, task: Any, has_tools: bool, has_form: bool) -> Any: ...


def _through_the_seat(call: Any) -> Any:
    """`call` without CrewAI's own retries of rate limits: the broker retries, and nobody else does."""

    def asked(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self._seat.ask(
            lambda: call.__wrapped__(self, *args, **kwargs),
            agent=kwargs.get("from_agent"),
            task=kwargs.get("from_task"),
            has_tools=bool(kwargs.get("tools")),
            has_form=bool(kwargs.get("response_model")),
        )

    asked._crewai_rate_limit_wrapped = True  # type: ignore[attr-defined]
    return asked


def _characters(messages: Any) -> int:
    if isinstance(messages, str):
        return len(messages)
    return sum(len(str(message.get("content") or "")) for message in messages)


class _Seated:
    """What the three clients share. Their CrewAI class follows in the bases."""

    _seat: Any

    @property
    def alias(self) -> str:
        return str(self._seat.alias)

    def get_context_window_size(self) -> int:
        return int(self._seat.context_window * USABLE_WINDOW)

    def get_input_tokens_count(self, messages: Any, tools: Any = None, response_model: Any = None) -> int:  # noqa: ARG002
        """About four characters a token; asking the provider would be one more request for each call."""
        return (_characters(messages) + 3) // 4

    def supports_multimodal(self) -> bool:
        return False

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        """CrewAI shortens conversations with it; there is no client but the one that blocks."""
        return await asyncio.to_thread(self.call, *args, **kwargs)  # type: ignore[attr-defined]

    def _build_async_client(self) -> None:
        """See `acall`."""


class SeatedOpenAI(_Seated, OpenAICompletion):  # type: ignore[misc]
    _seat: Any = PrivateAttr(default=None)
    extra: JsonObject = {}
    call = _through_the_seat(OpenAICompletion.call)

    def _build_sync_client(self) -> OpenAI | None:
        if self._seat is None:
            return None
        return OpenAI(api_key=self.api_key, base_url=self.base_url, max_retries=0, http_client=self._seat.http)

    def _prepare_completion_params(self, messages: Any, tools: Any = None) -> dict[str, Any]:
        params: dict[str, Any] = super()._prepare_completion_params(messages, tools)
        if self.extra:
            params["extra_body"] = self.extra
        schema = answer_schema.get()
        if schema is not None:
            params["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        return params

    def _convert_tools_for_interference(self, tools: Any) -> list[dict[str, Any]]:
        converted: list[dict[str, Any]] = super()._convert_tools_for_interference(tools)
        if not self._seat.strict_tools:
            for tool in converted:
                tool["function"].pop("strict", None)
        return converted


class SeatedAnthropic(_Seated, AnthropicCompletion):  # type: ignore[misc]
    _seat: Any = PrivateAttr(default=None)
    extra: JsonObject = {}
    call = _through_the_seat(AnthropicCompletion.call)

    def _build_sync_client(self) -> Anthropic | None:
        if self._seat is None:
            return None
        return Anthropic(api_key=self.api_key, base_url=self._seat.url, max_retries=0, http_client=self._seat.http)

    def _prepare_completion_params(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        params: dict[str, Any] = super()._prepare_completion_params(*args, **kwargs)
        return {**params, "extra_body": self.extra} if self.extra else params


class SeatedGemini(_Seated, GeminiCompletion):  # type: ignore[misc]
    _seat: Any = PrivateAttr(default=None)
    extra: JsonObject = {}
    call = _through_the_seat(GeminiCompletion.call)

    def _initialize_client(self, use_vertexai: bool = False) -> genai.Client | None:  # noqa: ARG002
        if self._seat is None:
            return None
        options = HttpOptions(base_url=self._seat.url, httpx_client=self._seat.http, extra_body=self.extra or None)
        return genai.Client(api_key=self.api_key, vertexai=False, http_options=options)


def seated(kind: type[BaseLLM], seat: Seat, **fields: Any) -> BaseLLM:
    """A client of `kind` that asks through `seat`."""
    llm = kind(stream=True, **fields)
    llm._seat = seat
    if isinstance(llm, SeatedOpenAI):
        # CrewAI looks for "o1" anywhere in the name, which "demo1" has too.
        llm.is_o1_model = O_SERIES_1.search(llm.model) is not None
    return llm
