"""Settings that people change at run time: what the system and a group say, and what holds in the end. Pure."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import ClassVar, Generic, TypeVar

from kasal_contracts.crew import Name
from kasal_contracts.executions import LimitMaxima
from kasal_contracts.wire import Frozen, Strict
from kasal_runtime.bodies import Body
from pydantic import BaseModel, Field

T = TypeVar("T")
Part = TypeVar("Part", bound=BaseModel)


Days = int | None


class Retention(Strict):
    """Days after which each kind is deleted; null keeps it."""

    executions: Days = Field(default=None, ge=1, le=36_500)
    traces: Days = Field(default=None, ge=1, le=36_500)
    logs: Days = Field(default=None, ge=1, le=36_500)
    chat: Days = Field(default=None, ge=1, le=36_500)


class SettingsLayer(Body):
    """What one layer says. What it leaves out, the layer below says."""

    parts: ClassVar[Mapping[str, type[BaseModel]]] = {"limits": LimitMaxima, "retention": Retention}

    default_model: Name | None = None
    allowed_models: list[Name] | None = Field(default=None, max_length=1000)
    allowed_tools: list[Name] | None = Field(default=None, max_length=1000)
    limits: LimitMaxima = LimitMaxima()
    retention: Retention = Retention()


class Source(StrEnum):
    DEFAULT = "default"
    SYSTEM = "system"
    GROUP = "group"


class Setting(Frozen, Generic[T]):
    value: T
    source: Source


class EffectiveSettings(Frozen):
    """A list of null allows all. A group narrows what the system allows and never widens it."""

    default_model: Setting[str]
    allowed_models: Setting[list[str] | None]
    allowed_tools: Setting[list[str] | None]
    limits: Setting[LimitMaxima]
    retention: Setting[Retention]


def effective(system: SettingsLayer, group: SettingsLayer, default_model: str) -> EffectiveSettings:
    named = group.default_model or system.default_model
    source = Source.GROUP if group.default_model else Source.SYSTEM if system.default_model else Source.DEFAULT
    return EffectiveSettings(
        default_model=Setting[str](value=named or default_model, source=source),
        allowed_models=allowed(system.allowed_models, group.allowed_models),
        allowed_tools=allowed(system.allowed_tools, group.allowed_tools),
        limits=_joined(LimitMaxima, system.limits, group.limits, _lesser),
        retention=_joined(Retention, system.retention, group.retention, _group_first),
    )


def allowed(system: list[str] | None, group: list[str] | None) -> Setting[list[str] | None]:
    if group is None:
        return Setting(value=system, source=Source.DEFAULT if system is None else Source.SYSTEM)
    return Setting(value=[name for name in group if system is None or name in system], source=Source.GROUP)


def _joined(kind: type[Part], system: Part, group: Part, choose: Callable[[float, float], float]) -> Setting[Part]:
    below = system.model_dump(exclude_none=True)
    above = group.model_dump(exclude_none=True)
    both = {name: choose(below[name], above[name]) for name in below.keys() & above.keys()}
    source = Source.GROUP if above else Source.SYSTEM if below else Source.DEFAULT
    return Setting(value=kind(**{**below, **above, **both}), source=source)


def _lesser(system: float, group: float) -> float:
    return min(system, group)


def _group_first(_: float, group: float) -> float:
    return group
