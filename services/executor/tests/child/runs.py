"""Running one job to its end and looking at what came of it."""

import asyncio
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kasal_contracts.crew import AgentSpec, CrewDocument, TaskSpec
from kasal_contracts.events import ChildEvent
from kasal_contracts.executions import ChildJob, ChildOutcome, ResolvedTool, Result, Snapshot
from kasal_contracts.models import Price, Provider, ResolvedModel
from kasal_executor.worker.child_process import ChildExit, ChildProcess
from kasal_executor.worker.zygote import Zygote

from .egress import TOKEN

NUMBERS = itertools.count(1)
MODEL = ResolvedModel(
    alias="scripted/model",
    provider=Provider.OPENAI_COMPATIBLE,
    model="scripted",
    price=Price(input_per_mtok=1, output_per_mtok=2),
)


def writer(key: str = "writer", **fields: Any) -> AgentSpec:
    return AgentSpec(**{"key": key, "role": key.title(), "goal": "Write well", "backstory": "Old hand", **fields})


def task(key: str, description: str = "", agent: str | None = "writer", **fields: Any) -> TaskSpec:
    return TaskSpec(
        **{"key": key, "description": description or f"Do {key}", "expected_output": "Text", "agent": agent, **fields}
    )


def crew(*tasks: TaskSpec, agents: tuple[AgentSpec, ...] = (), **fields: Any) -> CrewDocument:
    return CrewDocument(name="Crew", agents=list(agents or (writer(),)), tasks=list(tasks), **fields)


def job(
    document: CrewDocument,
    socket: Path,
    *,
    inputs: dict[str, Any] | None = None,
    tools: tuple[str, ...] = (),
    models: tuple[ResolvedModel, ...] = (MODEL,),
) -> ChildJob:
    return ChildJob(
        execution_id=f"execution-{next(NUMBERS)}",
        group_id="group",
        attempt=1,
        snapshot=Snapshot(
            crew=document,
            models=list(models),
            default_model=models[0].alias,
            tools=[ResolvedTool(name=name, plugin=name, effect="pure") for name in tools],
        ),
        inputs=inputs or {},
        trace_id="0" * 32,
        egress_socket=str(socket),
        egress_token=TOKEN,
    )


@dataclass(frozen=True)
class Ended:
    events: list[ChildEvent]
    outcome: ChildOutcome | None
    exit: ChildExit

    def of(self, *types: str) -> list[ChildEvent]:
        return [event for event in self.events if event.type in types]

    def types(self) -> list[str]:
        return [event.type for event in self.events if event.type not in ("llm.chunk", "log")]

    @property
    def result(self) -> Result:
        assert self.outcome is not None, self.exit
        assert self.outcome.error is None, self.outcome.error
        assert self.outcome.result is not None
        return self.outcome.result

    @property
    def error_code(self) -> str:
        assert self.outcome is not None, self.exit
        assert self.outcome.error is not None, self.outcome.result
        return self.outcome.error.code

    @property
    def error_message(self) -> str:
        assert self.outcome is not None
        assert self.outcome.error is not None
        return self.outcome.error.message


async def read_all(child: ChildProcess) -> Ended:
    events: list[ChildEvent] = []
    outcome = None
    async with asyncio.timeout(30):
        while (message := await child.next()) is not None:
            if isinstance(message, ChildEvent):
                events.append(message)
            else:
                outcome = message
        return Ended(events, outcome, await child.wait())


async def run(zygote: Zygote, wanted: ChildJob) -> Ended:
    async with await zygote.spawn(wanted) as child:
        return await read_all(child)
