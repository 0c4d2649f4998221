"""What a tool plug-in is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict


class Category(StrEnum):
    DATA = "data"
    ANALYSIS = "analysis"
    COMMUNICATION = "communication"
    FILE = "file"


Effect = Literal["pure", "idempotent", "effectful"]
"""`pure`: depends on its arguments alone. `idempotent`: may be repeated without harm. `effectful`: must not be repeated
when it is unknown whether it happened."""


class ToolError(Exception):
    """A tool could not do what it was asked. The message goes to the agent, which may try something else."""


class NoConfig(BaseModel):
    """The configuration of a tool that has none."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class HttpResponse:
    """`body` is at most as long as the egress policy allows; `truncated` says that there was more."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool = False

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", errors="replace")


class HttpCall(Protocol):
    """A request through the egress broker, which checks the URL, adds the tool's credentials and retries."""

    def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = 30,
    ) -> HttpResponse:
        """Raise `ToolError` when there is no answer: refused by policy, unreachable or too slow."""


ConfigT = TypeVar("ConfigT", bound=BaseModel)
ArgumentsT = TypeVar("ArgumentsT", bound=BaseModel)


@dataclass(frozen=True)
class ToolContext(Generic[ConfigT]):
    """All that a running tool gets from its surroundings."""

    config: ConfigT
    http: HttpCall


class ToolPlugin(ABC, Generic[ConfigT, ArgumentsT]):
    """One tool. Instances hold no state between calls and may be called from several threads at once.

    `Arguments` is what the model fills in: describe its fields, the model reads them. `requires` names the keys of the
    group that the egress broker uses for this tool.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    category: ClassVar[Category]
    description: ClassVar[str]
    effect: ClassVar[Effect]
    requires: ClassVar[Sequence[str]] = ()
    listed: ClassVar[bool] = True  # crews can name only what is listed; tests have tools that are not
    Config: ClassVar[type[BaseModel]] = NoConfig
    Arguments: ClassVar[type[BaseModel]]

    @classmethod
    def effect_of(cls, config: ConfigT) -> Effect:  # noqa: ARG003
        """The effect under this configuration; `effect` is the strongest it can be."""
        return cls.effect

    @abstractmethod
    def run(self, arguments: ArgumentsT, context: ToolContext[ConfigT]) -> str:
        """Do the work and answer in words for the model. Raise `ToolError` when that is not possible."""


AnyTool = ToolPlugin[Any, Any]
