"""The config adapter: from a snapshot to CrewAI's objects."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from crewai import Agent, Crew, Process, Task
from crewai.agent.planning_config import PlanningConfig
from crewai.utilities.string_utils import sanitize_tool_name
from kasal_contracts.crew import AgentSpec, TaskSpec
from kasal_contracts.crew import Process as CrewProcess
from kasal_contracts.executions import ErrorCode, Snapshot

from .engine.crews import ExecutionAgent, ExecutionCrew, gated_task, manager_agent
from .guardrails import CrewGuardrail
from .inputs import Inputs
from .llms import Models
from .memory import RemoteMemory
from .names import Names
from .stop import stopped
from .tools import PluginTool

MANAGER = "manager"
# The egress broker retries model calls, and an attempt is retried as a whole; agents never are.
NO_RETRIES = 0


@dataclass(frozen=True)
class Parts:
    """What the builder asks its execution for."""

    models: Models
    inputs: Inputs
    tools: Mapping[str, PluginTool]
    memory: Callable[[AgentSpec], RemoteMemory | None]
    guardrails: Callable[[TaskSpec, Any], list[CrewGuardrail]]
    runs: Callable[[TaskSpec], bool]


class CrewBuilder:
    """Builds one crew and notes in `names` what CrewAI will call its parts."""

    def __init__(self, snapshot: Snapshot, parts: Parts, names: Names) -> None:
        self._document = snapshot.crew
        self._parts = parts
        self._names = names
        self._specs = {agent.key: agent for agent in snapshot.crew.agents}

    def build(self) -> Crew:
        """Raise `ExecutionStopped` for what this platform or CrewAI cannot run."""
        agents = {key: self._agent(spec) for key, spec in self._specs.items()}
        tasks = self._tasks(agents)
        hierarchical = self._document.process is CrewProcess.HIERARCHICAL
        planning = self._document.configuration.planning
        return ExecutionCrew(
            name=self._document.name,
            agents=list(agents.values()),
            tasks=tasks,
            process=Process.hierarchical if hierarchical else Process.sequential,
            manager_agent=self._manager() if hierarchical else None,
            planning=planning,
            planning_llm=self._manager_llm() if planning else None,
        )

    def _manager_llm(self) -> Any:
        return self._parts.models[self._document.configuration.manager_model]

    def _manager(self) -> Agent:
        manager = manager_agent(self._manager_llm(), max_retry_limit=NO_RETRIES)
        self._names.agents[str(manager.id)] = MANAGER
        return manager

    def _agent(self, spec: AgentSpec) -> Agent:
        fill = self._parts.inputs.fill
        role = fill(spec.role)
        made = ExecutionAgent(
            role=role,
            goal=fill(spec.goal),
            backstory=fill(spec.backstory),
            llm=self._parts.models[spec.model],
            tools=self._tools(spec.tools),
            allow_delegation=spec.allow_delegation,
            max_iter=spec.max_iter,
            max_retry_limit=NO_RETRIES,
            memory=self._parts.memory(spec),
            planning_config=PlanningConfig(reasoning_effort="low", max_attempts=1) if spec.reasoning else None,
        )
        self._names.agents[str(made.id)] = spec.key
        self._names.roles[" ".join(role.split()).casefold()] = spec.key
        return made

    def _tools(self, names: list[str]) -> list[PluginTool]:
        for name in names:
            if name not in self._parts.tools:
                raise stopped(ErrorCode.TOOL_ERROR, f"The tool “{name}” is not among the tools of this execution.")
            self._names.tools[sanitize_tool_name(name)] = name
        return [self._parts.tools[name] for name in names]

    def _tasks(self, agents: Mapping[str, Agent]) -> list[Task]:
        built: dict[str, Task] = {}
        for spec in self._document.tasks:
            built[spec.key] = self._task(spec, agents, built)
            self._names.tasks[str(built[spec.key].id)] = spec.key
        return list(built.values())

    def _task(self, spec: TaskSpec, agents: Mapping[str, Agent], earlier: Mapping[str, Task]) -> Task:
        if spec.human_input:
            raise stopped(ErrorCode.INTERNAL, f"Task “{spec.key}” asks for a person, which is not possible here yet.")
        missing = [key for key in spec.context if key not in earlier]
        if missing:
            raise stopped(
                ErrorCode.INTERNAL, f"The context of task “{spec.key}” names “{missing[0]}”, which is not before it."
            )
        # One manager does all tasks of the hierarchical process, one after another.
        is_async = spec.async_execution and self._document.process is CrewProcess.SEQUENTIAL
        doer = self._agent_for(spec, agents, own=is_async)
        fields: dict[str, Any] = {
            "name": spec.key,
            "description": self._parts.inputs.fill(spec.description),
            "expected_output": self._expected(spec),
            "agent": doer,
            "async_execution": is_async,
            "tools": self._tools(spec.tools),
            "guardrails": self._parts.guardrails(spec, doer) or None,
        }
        if spec.context:
            fields["context"] = [earlier[key] for key in spec.context]
        waits = is_async and any(earlier[key].async_execution for key in spec.context)
        if spec.condition or waits:
            return gated_task(lambda: self._parts.runs(spec), **fields)
        return Task(**fields)

    def _agent_for(self, spec: TaskSpec, agents: Mapping[str, Agent], *, own: bool) -> Agent | None:
        """An agent does one task at a time, so an asynchronous task has its agent to itself (`own`)."""
        if spec.agent is None:
            return None
        return self._agent(self._specs[spec.agent]) if own else agents[spec.agent]

    def _expected(self, spec: TaskSpec) -> str:
        expected = self._parts.inputs.fill(spec.expected_output)
        if spec.output_schema is None:
            return expected
        schema = json.dumps(spec.output_schema, ensure_ascii=False)
        return f"{expected}\n\nAnswer with JSON alone, without fences, that satisfies this JSON schema:\n{schema}"
