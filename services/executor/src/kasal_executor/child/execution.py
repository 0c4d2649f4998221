"""One attempt, from its job to its outcome."""

from collections.abc import Callable
from typing import Any

import httpx
from kasal_contracts.crew import AgentSpec, TaskSpec
from kasal_contracts.events import EventType
from kasal_contracts.executions import ChildJob, ChildOutcome, ErrorCode, ExecutionError
from kasal_contracts.models import ResolvedModel
from pydantic import JsonValue, ValidationError

from kasal_executor.pipe import attempt_span_id

from .broker import Broker
from .conditions import holds, value
from .crew import CrewBuilder, Parts
from .engine.bus import observed
from .failures import broker_failure
from .guardrails import CrewGuardrail, TaskGuardrail, check_for, schema_check
from .inputs import Inputs
from .llms import Models, ModelSeat
from .memory import RemoteMemory, remote_memory
from .names import Names
from .pace import Pace
from .reporter import Reporter, Sender
from .results import Ledger
from .sink import CrewSink
from .spans import Span, current
from .stop import ExecutionStopped, Stop
from .tools import plugin_tool

POINTS_IN_TIME = frozenset({EventType.LOG})


class Execution:
    """Holds what the parts of a crew share while it runs."""

    def __init__(self, job: ChildJob, sender: Sender, stop: Stop, transport: httpx.BaseTransport | None = None) -> None:
        self._job = job
        self._document = job.snapshot.crew
        self._stop = stop
        self._reporter = Reporter(sender)
        self._broker = Broker(job.egress_socket, job.egress_token, transport)
        self._ledger = Ledger(self._document)
        self._names = Names()
        self._inputs = Inputs(self._document, job.inputs)
        self._models = Models(job.snapshot.models, job.snapshot.default_model, self._seat)
        self._pace = Pace(stop, self._rates())
        stop.on_set(self._broker.sever)

    def run(self) -> None:
        """Run the crew to its end, or raise what ended it."""
        current.set(Span("execution", id=attempt_span_id(self._job.execution_id, self._job.attempt)))
        models = {model.alias: model for model in self._job.snapshot.models}
        sink = CrewSink(self._reporter, self._ledger, self._stop, self._names, models)
        with observed(sink):
            CrewBuilder(self._job.snapshot, self._parts(), self._names).build().kickoff()

    def outcome(self, raised: Exception | None = None) -> ChildOutcome:
        """However it ended, what its tasks came to. No event comes after it."""
        error = None
        if raised is not None:
            error = self._why(raised)
            self._ledger.fail_started()
        self._reporter.close()
        return ChildOutcome(result=self._ledger.result(), error=error)

    def emit(self, type_: str, /, **data: JsonValue) -> None:
        """Report something that happens inside the current span."""
        span = current.get()
        self._reporter.emit(type_, span if type_ in POINTS_IN_TIME else span.child(span.kind), **data)

    def _parts(self) -> Parts:
        return Parts(
            models=self._models,
            inputs=self._inputs,
            tools={tool.name: plugin_tool(tool, self._broker) for tool in self._job.snapshot.tools},
            memory=self._memory,
            guardrails=self._guardrails,
            runs=self._runs,
        )

    def _rates(self) -> dict[str | None, int]:
        limits: dict[str | None, int] = {agent.key: agent.max_rpm for agent in self._document.agents if agent.max_rpm}
        if self._document.configuration.max_rpm:
            limits[None] = self._document.configuration.max_rpm
        return limits

    def _seat(self, model: ResolvedModel) -> ModelSeat:
        reasoning = {agent.key for agent in self._document.agents if agent.reasoning}
        schemas = {
            task.key: task.output_schema
            for task in self._document.tasks
            if task.output_schema is not None and task.agent not in reasoning
        }
        return ModelSeat(model, self._broker, self._stop, self._pace, self._names, schemas)

    def _memory(self, agent: AgentSpec) -> RemoteMemory | None:
        if not (self._document.configuration.memory and agent.memory):
            return None
        return remote_memory(agent.key, self._broker, self.emit)

    def _guardrails(self, task: TaskSpec, agent: Any) -> list[CrewGuardrail]:
        guardrails = []
        if task.output_schema is not None:
            guardrails.append(TaskGuardrail(task.key, "schema", schema_check(task.output_schema), self.emit))
        if task.guardrail is not None:
            check = check_for(task.guardrail, self._asking(agent), self._inputs.fill)
            guardrails.append(TaskGuardrail(task.key, task.guardrail.kind, check, self.emit))
        return [guardrail.examine for guardrail in guardrails]

    def _asking(self, agent: Any) -> Callable[[str], str]:
        llm = agent.llm if agent is not None else self._models[self._document.configuration.manager_model]
        return lambda question: str(llm.call([{"role": "user", "content": question}]))

    def _runs(self, task: TaskSpec) -> bool:
        if task.condition is None or self._condition_holds(task, task.condition):
            return True
        self._ledger.end(task.key, "skipped")
        self._reporter.emit(
            EventType.TASK_SKIPPED, current.get().child("task", task=task.key), condition=task.condition
        )
        return False

    def _condition_holds(self, task: TaskSpec, condition: str) -> bool:
        structured = {each.key for each in self._document.tasks if each.output_schema is not None}
        outputs = {key: value(text, is_json=key in structured) for key, text in self._ledger.outputs().items()}
        return holds(condition, task.key, outputs, self._inputs.values)

    def _why(self, raised: Exception) -> ExecutionError:
        if self._stop.error is not None:
            return self._stop.error
        if isinstance(raised, ExecutionStopped):
            return raised.error
        said = broker_failure(raised)
        if said is not None:
            return said
        if isinstance(raised, ValidationError):
            words = "; ".join(str(each["msg"]) for each in raised.errors())
            return ExecutionError(code=ErrorCode.INTERNAL, message=f"CrewAI cannot build this crew: {words}")
        self.emit(EventType.LOG, level="error", message=f"{type(raised).__name__}: {raised}", logger="crewai")
        words = "The crew ended with an internal error. The log of this execution says more."
        return ExecutionError(code=ErrorCode.INTERNAL, message=words)
