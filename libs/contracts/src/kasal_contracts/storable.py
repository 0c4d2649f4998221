"""What a database and JSON keep, of all that people may send: text, finite numbers and not too much depth."""

import math
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

MAX_DEPTH = 60

# PostgreSQL knows neither NUL nor lone surrogates.
_NOT_TEXT = re.compile("[\x00\ud800-\udfff]")
_NOT_KEPT = "the text holds a NUL character or half a surrogate pair; remove it"

Loc = tuple[str | int, ...]


def is_text(text: str) -> bool:
    """Whether a database keeps it."""
    return _NOT_TEXT.search(text) is None


def unstorable(value: object) -> tuple[Loc, str] | None:
    """The first place in parsed JSON that no database keeps, and why: too deep, no number, no text, a huge integer."""
    waiting: list[tuple[Loc, object]] = [((), value)]
    while waiting:
        loc, item = waiting.pop()
        message = _unstorable_leaf(item) if len(loc) <= MAX_DEPTH else f"more than {MAX_DEPTH} levels deep"
        if message is not None:
            return loc, message
        if isinstance(item, Mapping):
            if bad := next((key for key in item if not is_text(key)), None):
                return loc, f"the name {bad!r} holds characters that are not text"
            waiting += [((*loc, key), inner) for key, inner in item.items()]
        elif isinstance(item, list):
            waiting += [((*loc, index), inner) for index, inner in enumerate(item)]
    return None


def _unstorable_leaf(item: object) -> str | None:
    if isinstance(item, str) and not is_text(item):
        return _NOT_KEPT
    if isinstance(item, float) and not math.isfinite(item):
        return "NaN and infinity are not numbers in JSON"
    if isinstance(item, int) and abs(item) >= 2**63:
        return "the integer is too large"
    return None


def _text(text: str) -> str:
    if not is_text(text):
        raise ValueError(_NOT_KEPT)
    return text


StorableText = Annotated[str, AfterValidator(_text)]
"""For text that does not come in a body, as in the query of a URL."""
