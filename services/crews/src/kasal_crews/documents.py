"""The crew document as the API takes and gives it."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from kasal_contracts.crew import AgentSpec, CrewConfiguration, CrewDocument, TaskSpec
from kasal_contracts.wire import JsonObject, Resource
from kasal_runtime.bodies import READ_ONLY, Writable
from pydantic import BaseModel, Field

from .tables import Crew

Channel = Literal["rest", "openai", "mcp"]


class CrewIn(Writable, CrewDocument):
    """A crew to save. `published` is not part of the definition: changing it makes no version."""

    read_only: ClassVar[frozenset[str]] = READ_ONLY | {"version"}
    parts: ClassVar[Mapping[str, type[BaseModel]]] = {
        "agents": AgentSpec,
        "tasks": TaskSpec,
        "configuration": CrewConfiguration,
    }

    published: list[Channel] = Field(default=[], max_length=3)

    def definition(self) -> JsonObject:
        """The document as it is kept."""
        content: JsonObject = self.model_dump(mode="json", exclude={"published"})
        return content


class CrewOut(CrewDocument, Resource):
    version: int = Field(description="The number of the newest version of the definition.")
    published: list[Channel]


def written_form(crew: Crew) -> JsonObject:
    """What `CrewIn` would make of `crew`, as JSON."""
    return {name: getattr(crew, name) for name in CrewIn.model_fields}


def crew_out(crew: Crew) -> CrewOut:
    return CrewOut.model_validate({name: getattr(crew, name) for name in CrewOut.model_fields})
