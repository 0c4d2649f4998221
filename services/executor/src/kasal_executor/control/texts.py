"""Values as a database takes them: PostgreSQL refuses NUL in text, and JSON has no infinity."""

import json
import math

from kasal_contracts.events import NumberedEvent
from kasal_contracts.wire import JsonObject
from pydantic import BaseModel, JsonValue


def storable(event: NumberedEvent) -> NumberedEvent:
    """The same event without what would keep it, and all after it, out of the log."""
    return NumberedEvent(
        seq=event.seq,
        ts=event.ts,
        type=_name(event.type, 64) or "log",
        task=_name(event.task, 64),
        agent=_name(event.agent, 64),
        span_id=_name(event.span_id, 16),
        parent_span_id=_name(event.parent_span_id, 16),
        data={clean_text(key): clean(value) for key, value in event.data.items()},
    )


def is_storable(value: object) -> bool:
    """Whether `value`, made of JSON types, can be stored as it is."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except ValueError:
        return False
    return "\\u0000" not in text or clean(json.loads(text)) == json.loads(text)


def storable_json(model: BaseModel) -> JsonObject:
    return {key: clean(value) for key, value in model.model_dump(mode="json").items()}


def clean(value: JsonValue) -> JsonValue:
    match value:
        case str():
            return clean_text(value)
        case float():
            return value if math.isfinite(value) else None
        case list():
            return [clean(each) for each in value]
        case dict():
            return {clean_text(key): clean(each) for key, each in value.items()}
        case _:
            return value


def clean_text(text: str) -> str:
    return text.replace("\x00", "\ufffd") if "\x00" in text else text


def _name(text: str | None, length: int) -> str | None:
    return None if text is None else clean_text(text)[:length]
