"""The scripted `demo` provider: deterministic answers, each marked as one, in OpenAI's chat format."""

import asyncio
import re
from typing import Annotated

from aiohttp import web
from kasal_contracts.models import ResolvedModel
from kasal_contracts.wire import Frozen, JsonObject
from pydantic import Field, JsonValue, StringConstraints, TypeAdapter, ValidationError

from .chat_chunks import completion_frames
from .demo_schemas import smallest_instance
from .refusals import BrokerRefusedError

MARK = "[demo]"
QUOTE = 200
DELEGATE = "delegate_work_to_coworker"
CALCULATOR = "calculator"
_COWORKERS = re.compile(r"following coworkers: ([^\n]+)")
_CURRENT_TASK = re.compile(r"Current Task:\s*(.+?)(?:\n\n|\Z)", re.DOTALL)
_WORDED = (
    (re.compile(r"\b(?:times|multiplied by)\b|[\u00d7\u00b7]|(?<=\d)\s*x\s*(?=\d)"), "*"),
    (re.compile(r"\bdivided by\b|\u00f7"), "/"),
    (re.compile(r"\bplus\b"), "+"),
    (re.compile(r"\bminus\b|\u2212"), "-"),
)
_EXPRESSION = re.compile(r"\(*\d[\d.]*(?:\s*[-+*/%^()]+\s*\(*\d[\d.]*\)*)+")


class ScriptedCall(Frozen):
    tool: str
    arguments: JsonObject = {}


ScriptedAnswer = Annotated[str, StringConstraints(max_length=100_000)] | ScriptedCall


class DemoOptions(Frozen):
    """In a demo model's `extra`. The n-th answer of a conversation is the n-th of `script`, or its last."""

    delay_s: float = Field(default=0, ge=0, le=600)
    fail: int | None = Field(default=None, ge=400, le=599)
    script: list[ScriptedAnswer] = Field(default=[], max_length=100)


class _Function(Frozen):
    name: str
    description: str = ""


class _Tool(Frozen):
    function: _Function


class _Message(Frozen):
    role: str
    content: JsonValue = None

    @property
    def text(self) -> str:
        """Contents are a text or a list of parts."""
        if isinstance(self.content, list):
            return "\n".join(str(part.get("text", "")) for part in self.content if isinstance(part, dict))
        return self.content if isinstance(self.content, str) else ""


class _Schema(Frozen):
    schema_: JsonObject = Field(default={}, alias="schema")


class _Format(Frozen):
    json_schema: _Schema | None = None


class _Request(Frozen):
    messages: list[_Message]
    tools: list[_Tool] | None = None
    response_format: _Format | None = None
    stream: bool = False

    @property
    def task(self) -> str:
        """The last thing that a user said, or the task in it."""
        said = next((message.text for message in reversed(self.messages) if message.role == "user"), "")
        found = _CURRENT_TASK.search(said)
        return (found[1] if found else said).strip()

    @property
    def tool_result(self) -> str | None:
        last = self.messages[-1] if self.messages else None
        return last.text if last is not None and last.role == "tool" else None


_TextList: TypeAdapter[list[str]] = TypeAdapter(list[str])


async def answer(request: web.Request, model: ResolvedModel, body: JsonObject) -> web.StreamResponse:
    """Raises BrokerRefusedError for a request that is none, or that the model's `extra` lets fail."""
    try:
        options = DemoOptions.model_validate(model.extra)
        asked = _Request.model_validate(body)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise BrokerRefusedError(f"{MARK} The demo model cannot read “{where}” of this request.", status=422) from None
    await asyncio.sleep(options.delay_s)
    if options.fail is not None:
        raise BrokerRefusedError(
            f"{MARK} The demo model “{model.alias}” fails, as it was told to.", status=options.fail
        )
    whole = _completion(model, body, _reply(asked, options))
    if not asked.stream:
        return web.json_response(whole)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    for frame in completion_frames(whole):
        await response.write(frame)
    await response.write_eof()
    return response


def _reply(asked: _Request, options: DemoOptions) -> str | ScriptedCall:
    if options.script:
        turn = sum(message.role == "assistant" for message in asked.messages)
        scripted = options.script[min(turn, len(options.script) - 1)]
        return scripted if isinstance(scripted, ScriptedCall) else f"{MARK} {scripted}"
    if asked.tool_result is not None:
        return f"{MARK} The result is: {asked.tool_result.removeprefix(MARK).strip()}"
    if asked.response_format is not None and asked.response_format.json_schema is not None:
        return smallest_instance(asked.response_format.json_schema.schema_, MARK)
    return _tool_call(asked) or _plain(asked.task)


def _tool_call(asked: _Request) -> ScriptedCall | None:
    """The calculator for arithmetic, else a coworker for a manager."""
    for tool in asked.tools or []:
        expression = find_expression(asked.task)
        if tool.function.name == CALCULATOR and expression is not None:
            return ScriptedCall(tool=CALCULATOR, arguments={"expression": expression})
    for tool in asked.tools or []:
        coworkers = _COWORKERS.search(tool.function.description)
        if tool.function.name == DELEGATE and coworkers is not None:
            coworker = coworkers[1].split(",")[0].strip()
            context = "This is everything that is known about it."
            return ScriptedCall(tool=DELEGATE, arguments={"task": asked.task, "context": context, "coworker": coworker})
    return None


def find_expression(text: str) -> str | None:
    """The first arithmetic in a text, as the calculator reads it: `17 times 23` is `17 * 23`."""
    for pattern, sign in _WORDED:
        text = pattern.sub(f" {sign} ", text)
    found = _EXPRESSION.search(text)
    if found is None:
        return None
    expression = " ".join(found[0].replace("^", "**").split()).rstrip(".")
    opened = expression.count("(") - expression.count(")")
    return expression + ")" * opened if opened >= 0 else expression[:opened]


def _plain(task: str) -> str:
    words = " ".join(task.split())
    quoted = words if len(words) <= QUOTE else f"{words[:QUOTE]}…"
    return f"{MARK} A scripted answer; no language model was asked. The task was: {quoted}"


def _completion(model: ResolvedModel, body: JsonObject, reply: str | ScriptedCall) -> JsonObject:
    message: JsonObject = {"role": "assistant", "content": reply if isinstance(reply, str) else None}
    if isinstance(reply, ScriptedCall):
        function: JsonObject = {
            "name": reply.tool,
            "arguments": TypeAdapter(JsonObject).dump_json(reply.arguments).decode(),
        }
        message["tool_calls"] = [{"id": "call_demo", "type": "function", "function": function}]
    sent, got = len(str(body.get("messages"))) // 4 + 1, len(str(message)) // 4 + 1
    return {
        "id": "chatcmpl-demo",
        "object": "chat.completion",
        "created": 0,
        "model": model.model,
        "choices": [
            {"index": 0, "message": message, "finish_reason": "stop" if isinstance(reply, str) else "tool_calls"}
        ],
        "usage": {"prompt_tokens": sent, "completion_tokens": got, "total_tokens": sent + got},
    }
