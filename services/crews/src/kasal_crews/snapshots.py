"""`/internal/snapshots`: a crew with everything that one execution of it needs, for the executor."""

import hashlib
import json
from typing import Annotated, Self

from fastapi import APIRouter
from kasal_contracts.crew import CrewDocument
from kasal_contracts.executions import Snapshot
from kasal_contracts.identity import Caller
from kasal_contracts.wire import JsonObject, Strict
from kasal_runtime.ids import Id
from kasal_runtime.security import Operator
from pydantic import Field, JsonValue, model_validator
from sqlalchemy.ext.asyncio import AsyncSession

from .documents import written_form
from .models import resolved
from .requests import CallersReach, Reading
from .rows import find
from .surroundings import look_around
from .tables import Crew
from .tools import read_configs, resolved_tool
from .validation import admit, models_named, tools_named
from .versions import find_version

router = APIRouter(tags=["internal"])


class SnapshotOrder(Strict):
    """Either a saved crew, its newest version where none is named, or a whole document."""

    crew_id: Id | None = None
    version: Annotated[int, Field(ge=1, lt=10**9)] | None = None
    crew: JsonObject | None = None

    @model_validator(mode="after")
    def _names_one_crew(self) -> Self:
        if (self.crew_id is None) == (self.crew is None):
            raise ValueError("name a saved crew in crew_id or send one in crew: one of the two")
        if self.version is not None and self.crew_id is None:
            raise ValueError("a version belongs to a saved crew: name it in crew_id")
        return self


@router.post("/internal/snapshots", summary="Fix everything that an execution of a crew needs")
async def make_snapshot(order: SnapshotOrder, me: Operator, reach: CallersReach, session: Reading) -> Snapshot:
    definition, version = await _ordered(session, me, order)
    offer = await look_around(session, me, reach)
    prefix = ("body", "crew") if order.crew is not None else ("crew",)
    crew = admit(definition, offer.around, *prefix, for_run=True)
    default = offer.around.default_model
    models = sorted({name for _, name in models_named(crew, default)})
    tools = sorted({name for _, name in tools_named(crew)})
    configs = await read_configs(session, me) if tools else {}
    return Snapshot(
        crew_id=order.crew_id,
        version=version,
        crew=crew,
        models=[resolved(offer.models[name], reach) for name in models],
        default_model=default,
        tools=[resolved_tool(name, configs.get(name)) for name in tools],
        memory_identity=memory_identity(me, crew, default) if crew.configuration.memory else None,
        maxima=offer.settings.limits.value,
    )


async def _ordered(session: AsyncSession, me: Caller, order: SnapshotOrder) -> tuple[JsonValue, int | None]:
    """The definition and its version. Raises NotFoundError."""
    if order.crew_id is None:
        return order.crew, None
    crew = await find(session, me, Crew, order.crew_id, "crew")
    if order.version in {None, crew.version}:
        return written_form(crew), crew.version
    version = await find_version(session, me, crew, str(order.version))
    return version.definition, version.version


def memory_identity(me: Caller, crew: CrewDocument, default_model: str) -> str:
    """Under which name memory is kept: SHA-256 of canonical JSON (RFC 8785) of who the crew is, not of every word."""
    models = {agent.model or default_model for agent in crew.agents}
    roles, tasks = sorted(agent.role for agent in crew.agents), sorted(task.key for task in crew.tasks)
    canonical = json.dumps(
        [me.group_id, roles, tasks, crew.name, sorted(models)], separators=(",", ":"), ensure_ascii=False
    )
    return hashlib.sha256(canonical.encode()).hexdigest()
