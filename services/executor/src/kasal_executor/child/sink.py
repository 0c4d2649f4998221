"""From CrewAI's events to ours. Nothing of CrewAI's objects is serialised: they hold tokens."""

import json
from collections.abc import Callable, Mapping
from contextvars import Token
from typing import Any

from kasal_contracts.events import EventType
from kasal_contracts.models import ResolvedModel
from pydantic import JsonValue

from .engine.bus import forget_events
from .names import Names
from .reporter import Reporter
from .results import Ledger
from .spans import Span, current
from .stop import Stop

CANCEL_POINTS = frozenset(
    {"llm_call_started", "llm_stream_chunk", "tool_usage_started", "task_started", "agent_execution_started"}
)
DELEGATES = {"delegate_work_to_coworker": "task", "ask_question_to_coworker": "question"}
FORGET_EVERY = 500


class CrewSink:
    """Called for every event of CrewAI on the thread that emits it. Raises to stop the crew."""

    def __init__(
        self, reporter: Reporter, ledger: Ledger, stop: Stop, names: Names, models: Mapping[str, ResolvedModel]
    ) -> None:
        self._reporter = reporter
        self._ledger = ledger
        self._stop = stop
        self._names = names
        self._models = models
        self._calls: dict[str, Span] = {}
        self._seen = 0
        self._handlers: dict[str, Callable[[Any, Any], None]] = {
            "task_started": self._task_started,
            "task_completed": self._task_completed,
            "task_failed": self._task_failed,
            "agent_execution_started": self._agent_started,
            "agent_execution_completed": self._agent_completed,
            "agent_execution_error": self._agent_failed,
            "llm_call_started": self._llm_started,
            "llm_stream_chunk": self._llm_chunk,
            "llm_call_completed": self._llm_completed,
            "llm_call_failed": self._llm_failed,
            "tool_usage_started": self._tool_started,
            "tool_usage_finished": self._tool_finished,
            "tool_usage_error": self._tool_failed,
        }

    def __call__(self, source: Any, event: Any) -> None:
        if event.type in CANCEL_POINTS:
            self._stop.check()
        handler = self._handlers.get(event.type)
        if handler is not None:
            handler(source, event)
        self._seen += 1
        if self._seen % FORGET_EVERY == 0:
            forget_events()

    def _enter(self, span: Span, type_: str, **data: JsonValue) -> Token[Span]:
        self._reporter.emit(type_, span, **data)
        return current.set(span)

    def _leave(self, kind: str, *, agents_failed: bool = False) -> Span | None:
        """Step out of the innermost span of `kind`, ending agents that were left open inside it."""
        inside = list(current.get().chain())
        at = next((index for index, span in enumerate(inside) if span.kind == kind), None)
        if at is None:
            return None
        for span in inside[:at]:
            if span.kind == "agent" and agents_failed:
                self._reporter.emit(EventType.AGENT_COMPLETED, span, status="failed", duration_ms=span.took_ms)
        left = inside[at]
        if left.parent is not None:
            current.set(left.parent)
        return left

    # Tasks

    def _task_started(self, _: Any, event: Any) -> None:
        key = self._names.tasks.get(str(event.task.id))
        if key is None:
            return
        agent = self._agent_key(event.task.agent)
        self._ledger.start(key, agent)
        self._enter(
            current.get().child("task", task=key, agent=agent),
            EventType.TASK_STARTED,
            description=str(event.task.description),
            agent=agent,
        )

    def _task_completed(self, _: Any, event: Any) -> None:
        key = self._names.tasks.get(str(event.task.id))
        span = self._leave("task") if key is not None else None
        if key is None or span is None:
            return
        output = str(event.output.raw)
        self._ledger.end(key, "completed", output)
        self._reporter.emit(
            EventType.TASK_COMPLETED,
            span,
            output=output,
            agent=self._agent_key(event.task.agent),
            duration_ms=span.took_ms,
        )
        forget_events()

    def _task_failed(self, _: Any, event: Any) -> None:
        key = self._names.tasks.get(str(event.task.id))
        span = self._leave("task", agents_failed=True) if key is not None else None
        if key is None or span is None:
            return
        self._ledger.end(key, "failed")
        self._reporter.emit(EventType.TASK_FAILED, span, error=self._words(event.error), duration_ms=span.took_ms)

    # Agents

    def _agent_key(self, agent: Any) -> str | None:
        return None if agent is None else self._names.agents.get(str(agent.id))

    def _agent_started(self, _: Any, event: Any) -> None:
        key = self._agent_key(event.agent)
        if key is not None:
            tools: list[JsonValue] = [self._tool_name(tool.name) for tool in event.tools or []]
            self._enter(
                current.get().child("agent", agent=key),
                EventType.AGENT_STARTED,
                role=str(event.agent.role),
                prompt=str(event.task_prompt),
                tools=tools,
            )

    def _agent_completed(self, _: Any, event: Any) -> None:
        if self._agent_key(event.agent) is not None:
            self._end_agent(status="completed", output=str(event.output))

    def _agent_failed(self, _: Any, event: Any) -> None:
        if self._agent_key(event.agent) is not None:
            self._end_agent(status="failed", error=self._words(event.error))

    def _end_agent(self, **data: JsonValue) -> None:
        span = self._leave("agent")
        if span is not None:
            self._reporter.emit(EventType.AGENT_COMPLETED, span, duration_ms=span.took_ms, **data)

    # Model calls: correlated by id, because they overlap and because CrewAI reports a failure twice

    def _llm_started(self, source: Any, event: Any) -> None:
        span = current.get().child("llm")
        self._calls[event.call_id] = span
        self._reporter.emit(
            EventType.LLM_STARTED,
            span,
            model=self._alias(source, event),
            call_id=event.call_id,
            messages=_messages(event.messages),
        )

    def _llm_chunk(self, source: Any, event: Any) -> None:
        span = self._calls.get(event.call_id)
        if span is not None and event.chunk and event.tool_call is None:
            self._reporter.chunk(span, event.call_id, self._alias(source, event), event.chunk)

    def _llm_completed(self, source: Any, event: Any) -> None:
        span = self._calls.pop(event.call_id, None)
        if span is None:
            return
        alias = self._alias(source, event)
        sent, got = _tokens(event.usage)
        self._reporter.emit(
            EventType.LLM_COMPLETED,
            span,
            model=alias,
            call_id=event.call_id,
            input_tokens=sent,
            output_tokens=got,
            cost_usd=self._cost(alias, sent, got),
            duration_ms=span.took_ms,
            replayed=False,
            **_answer(event.response),
        )

    def _llm_failed(self, source: Any, event: Any) -> None:
        span = self._calls.pop(event.call_id, None)
        if span is not None:
            self._reporter.emit(
                EventType.LLM_FAILED,
                span,
                model=self._alias(source, event),
                call_id=event.call_id,
                error=self._words(event.error),
                duration_ms=span.took_ms,
            )

    def _alias(self, source: Any, event: Any) -> str:
        return str(getattr(source, "alias", None) or event.model)

    def _cost(self, alias: str, sent: int, got: int) -> float | None:
        model = self._models.get(alias)
        if model is None or model.price is None:
            return None
        return (sent * model.price.input_per_mtok + got * model.price.output_per_mtok) / 1e6

    # Tools

    def _tool_name(self, name: str) -> str:
        return self._names.tools.get(name, name)

    def _tool_started(self, _: Any, event: Any) -> None:
        span = current.get().child("tool")
        tool = self._tool_name(event.tool_name)
        arguments = _arguments(event.tool_args)
        self._enter(span, EventType.TOOL_STARTED, tool=tool, arguments=arguments)
        if tool in DELEGATES and isinstance(arguments, dict):
            role = str(arguments.get("coworker") or "")
            self._reporter.emit(
                EventType.AGENT_DELEGATED,
                span,
                to=self._names.roles.get(" ".join(role.split()).casefold(), role),
                text=str(arguments.get(DELEGATES[tool]) or ""),
            )

    def _tool_finished(self, _: Any, event: Any) -> None:
        if event.failure is not None:
            self._end_tool(EventType.TOOL_FAILED, event, error=str(event.output))
        else:
            self._end_tool(EventType.TOOL_COMPLETED, event, output=str(event.output))

    def _tool_failed(self, _: Any, event: Any) -> None:
        self._end_tool(EventType.TOOL_FAILED, event, error=self._words(event.error))

    def _end_tool(self, type_: str, event: Any, **data: JsonValue) -> None:
        span = self._leave("tool", agents_failed=True)
        if span is not None:
            self._reporter.emit(
                type_,
                span,
                tool=self._tool_name(event.tool_name),
                arguments=_arguments(event.tool_args),
                duration_ms=span.took_ms,
                **data,
            )

    def _words(self, error: Any) -> str:
        """The reason for stopping explains every error after it better than the error itself."""
        return self._stop.error.message if self._stop.error is not None else str(error)


def _messages(messages: Any) -> JsonValue:
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    return [{"role": str(each.get("role")), "content": _content(each)} for each in messages or []]


def _content(message: Mapping[str, Any]) -> JsonValue:
    content = message.get("content")
    if content is None and message.get("tool_calls"):
        return json.dumps([call.get("function") for call in message["tool_calls"]], default=str)
    return content if isinstance(content, str) else json.dumps(content, default=str)


def _answer(response: Any) -> dict[str, JsonValue]:
    """`text`, and `tool_calls` where the model wants tools."""
    if isinstance(response, str):
        return {"text": response}
    calls: list[JsonValue] = (
        [_tool_call(each) for each in response if isinstance(each, dict)] if isinstance(response, list) else []
    )
    return {"text": "", "tool_calls": calls} if calls else {"text": json.dumps(response, default=str)}


def _tool_call(call: Mapping[str, Any]) -> JsonValue:
    function = call.get("function") or call
    return {
        "tool": str(function.get("name") or ""),
        "arguments": _arguments(function.get("arguments") or function.get("input") or {}),
    }


def _arguments(arguments: Any) -> JsonValue:
    if isinstance(arguments, str):
        return arguments
    plain: JsonValue = json.loads(json.dumps(arguments, default=str))
    return plain


def _tokens(usage: Mapping[str, Any] | None) -> tuple[int, int]:
    """Providers name them differently; a call without usage counts as nothing."""
    counts = usage or {}
    sent = counts.get("prompt_tokens") or counts.get("input_tokens") or counts.get("prompt_token_count") or 0
    got = counts.get("completion_tokens") or counts.get("output_tokens") or counts.get("candidates_token_count") or 0
    return int(sent), int(got)
