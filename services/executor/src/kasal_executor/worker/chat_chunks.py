"""A whole chat completion as the stream of chunks that a client asked for (OpenAI's API reference, chat streaming)."""

import json

from kasal_contracts.wire import Frozen, JsonObject
from pydantic import JsonValue, ValidationError

DONE = b"data: [DONE]\n\n"


class _Choice(Frozen):
    index: int = 0
    message: JsonObject
    finish_reason: str | None = None


class _Completion(Frozen):
    id: str = "chatcmpl"
    created: int = 0
    model: str = ""
    choices: list[_Choice]
    usage: JsonValue = None


def completion_frames(completion: JsonObject) -> list[bytes]:
    """Server-sent events with the whole of each message in one delta; empty for what is no chat completion."""
    try:
        whole = _Completion.model_validate(completion)
    except ValidationError:
        return [DONE]
    common: JsonObject = {
        "id": whole.id,
        "object": "chat.completion.chunk",
        "created": whole.created,
        "model": whole.model,
    }
    frames: list[JsonObject] = []
    for choice in whole.choices:
        frames += [{**common, "choices": [piece]} for piece in _pieces(choice)]
    frames.append({**common, "choices": [], "usage": whole.usage})
    return [*map(frame, frames), DONE]


def frame(data: JsonObject) -> bytes:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def _pieces(choice: _Choice) -> list[JsonValue]:
    delta = dict(choice.message)
    calls = delta.get("tool_calls")
    if isinstance(calls, list):
        delta["tool_calls"] = [{"index": index, **call} for index, call in enumerate(calls) if isinstance(call, dict)]
    return [
        {"index": choice.index, "delta": delta, "finish_reason": None},
        {"index": choice.index, "delta": {}, "finish_reason": choice.finish_reason or "stop"},
    ]
