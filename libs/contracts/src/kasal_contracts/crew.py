"""The crew document: one self-contained description of agents, tasks and how they work together."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from .wire import Frozen, JsonObject, Strict

Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Text = Annotated[str, StringConstraints(max_length=100_000)]
FilledText = Annotated[str, StringConstraints(min_length=1, max_length=100_000, strip_whitespace=True)]


class Process(StrEnum):
    SEQUENTIAL = "sequential"
    HIERARCHICAL = "hierarchical"


class AgentSpec(Strict):
    key: Key
    role: FilledText
    goal: FilledText
    backstory: Text = ""
    model: Name | None = None
    tools: list[Name] = Field(default=[], max_length=50)
    allow_delegation: bool = False
    max_iter: int = Field(default=20, ge=1, le=100)
    max_rpm: int | None = Field(default=None, ge=1, le=10_000)
    memory: bool = True
    reasoning: bool = False


class LlmGuardrail(Strict):
    kind: Literal["llm"]
    instruction: FilledText


class SchemaGuardrail(Strict):
    kind: Literal["schema"]
    schema_: JsonObject = Field(alias="schema")


class RegexGuardrail(Strict):
    kind: Literal["regex"]
    pattern: Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class LengthGuardrail(Strict):
    kind: Literal["length"]
    min: int = Field(default=0, ge=0)
    max: int | None = Field(default=None, ge=1)


Guardrail = Annotated[LlmGuardrail | SchemaGuardrail | RegexGuardrail | LengthGuardrail, Field(discriminator="kind")]


class TaskSpec(Strict):
    key: Key
    description: FilledText
    expected_output: FilledText
    agent: Key | None = None
    context: list[Key] = Field(default=[], max_length=100)
    tools: list[Name] = Field(default=[], max_length=50)
    async_execution: bool = False
    human_input: bool = False
    output_schema: JsonObject | None = None
    guardrail: Guardrail | None = None
    condition: Text | None = None


class CrewConfiguration(Strict):
    memory: bool = False
    planning: bool = False
    manager_model: Name | None = None
    max_rpm: int | None = Field(default=None, ge=1, le=10_000)


class InputSpec(Strict):
    default: str | int | float | bool | None = None
    description: Text = ""


class Position(Strict):
    x: float
    y: float


class Layout(Strict):
    nodes: dict[str, Position] = Field(default={}, max_length=500)


class CrewDocument(Strict):
    """The definition that is versioned. Whether its parts fit together is `POST /crews/validate`'s to say."""

    name: Name
    description: Text = ""
    process: Process = Process.SEQUENTIAL
    agents: list[AgentSpec] = Field(default=[], max_length=100)
    tasks: list[TaskSpec] = Field(default=[], max_length=200)
    configuration: CrewConfiguration = CrewConfiguration()
    inputs: dict[Key, InputSpec] = Field(default={}, max_length=100)
    layout: Layout = Layout()


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


class CrewProblem(Frozen):
    """`path` points into the document, as in `tasks[1].agent`."""

    path: str
    message: str
    severity: Severity = Severity.ERROR
