"""What changed between two definitions of a crew. Agents and tasks are matched by key. Pure."""

from collections.abc import Iterator, Mapping
from enum import StrEnum

from kasal_contracts.wire import Frozen, JsonObject
from pydantic import Field, JsonValue

KEYED = ("agents", "tasks")


class Kind(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    REORDERED = "reordered"


class Change(Frozen):
    """`path` names agents and tasks by key, as in `tasks.research.description`. Absent values are null."""

    path: str
    kind: Kind
    from_: JsonValue = Field(default=None, alias="from")
    to: JsonValue = None


def changes(before: JsonObject, after: JsonObject) -> Iterator[Change]:
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if name in KEYED and isinstance(old, list) and isinstance(new, list):
            yield from _reordered(name, list(_by_key(old)), list(_by_key(new)))
            yield from _between(name, _by_key(old), _by_key(new))
        elif old != new:
            yield from _between_values(name, old, new)


def _by_key(items: list[JsonValue]) -> dict[str, JsonValue]:
    return {str(item["key"]): item for item in items if isinstance(item, dict)}


def _reordered(path: str, old: list[str], new: list[str]) -> Iterator[Change]:
    stayed = [key for key in old if key in new]
    if stayed != [key for key in new if key in old]:
        yield Change(path=path, kind=Kind.REORDERED, from_=list(old), to=list(new))


def _between(path: str, old: Mapping[str, JsonValue], new: Mapping[str, JsonValue]) -> Iterator[Change]:
    for name in dict.fromkeys([*old, *new]):
        place = f"{path}.{name}"
        if name not in new:
            yield Change(path=place, kind=Kind.REMOVED, from_=old[name])
        elif name not in old:
            yield Change(path=place, kind=Kind.ADDED, to=new[name])
        elif old[name] != new[name]:
            yield from _between_values(place, old[name], new[name])


def _between_values(path: str, old: JsonValue, new: JsonValue) -> Iterator[Change]:
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _between(path, old, new)
    else:
        yield Change(path=path, kind=Kind.CHANGED, from_=old, to=new)
