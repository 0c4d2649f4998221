"""Executions as the control plane would have written them."""

from typing import Any

from kasal_contracts.crew import AgentSpec, CrewDocument, TaskSpec
from kasal_contracts.executions import Limits, ResolvedTool, Snapshot, Status
from kasal_contracts.ids import new_id
from kasal_contracts.messages import ExecutionJob
from kasal_contracts.models import Provider, ResolvedModel
from kasal_db import Database
from kasal_executor.tables import Execution
from kasal_executor.worker.claims import Claim
from sqlalchemy import select

GROUP = "group-1"
USER = "user-1"


def model(provider: Provider = Provider.OPENAI_COMPATIBLE, alias: str = "test/model", **fields: Any) -> ResolvedModel:
    return ResolvedModel(**{"alias": alias, "provider": provider, "model": "the-model", **fields})


def snapshot(*models: ResolvedModel, tools: tuple[str, ...] = (), tasks: int = 1, **fields: Any) -> Snapshot:
    agent = AgentSpec(key="writer", role="Writer", goal="Write", model=models[0].alias, tools=list(tools))
    written = [
        TaskSpec(key=f"task{n}", description=f"Write text {n}", expected_output="Text", agent="writer")
        for n in range(1, tasks + 1)
    ]
    return Snapshot(
        **{
            "crew": CrewDocument(name="Crew", agents=[agent], tasks=written),
            "models": list(models),
            "default_model": models[0].alias,
            "tools": [ResolvedTool(name=name, plugin=name, effect="pure") for name in tools],
            **fields,
        }
    )


def claimed(made: Snapshot, **limits: Any) -> Claim:
    """A claim that no database knows."""
    return Claim(
        execution_id=new_id(),
        attempt=1,
        group_id=GROUP,
        user_id=USER,
        snapshot=made,
        inputs={},
        limits=Limits(**limits),
        trace_id="0" * 32,
    )


async def order(database: Database, made: Snapshot, *, status: Status = Status.QUEUED, **limits: Any) -> ExecutionJob:
    """A row that waits to be claimed, and the job that offers it."""
    row = Execution(
        group_id=GROUP,
        created_by=USER,
        name="Crew",
        status=status,
        limits=Limits(**limits).model_dump(mode="json"),
        snapshot=made.model_dump(mode="json"),
        trace_id="0" * 32,
    )
    async with database.system() as session:
        session.add(row)
    return ExecutionJob(execution_id=row.id, attempt=1, group_id=GROUP)


async def row_of(database: Database, execution_id: str) -> Execution:
    async with database.system(read_only=True) as session:
        return (await session.scalars(select(Execution).where(Execution.id == execution_id))).one()
