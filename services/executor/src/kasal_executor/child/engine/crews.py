"""A crew without what a single execution in a process of its own has no use for."""

from collections.abc import Callable
from typing import Any, Self

from crewai import Agent, Crew, Task
from crewai.crews.crew_output import CrewOutput
from crewai.tasks.conditional_task import ConditionalTask
from crewai.tasks.task_output import TaskOutput
from crewai.utilities.i18n import I18N_DEFAULT
from kasal_contracts.executions import ErrorCode
from pydantic import PrivateAttr, model_validator

from kasal_executor.child.stop import stopped

# What CrewAI passes off as an answer when there is none.
NO_OUTPUT = "Agent completed execution but produced no final output."
MANAGER = "hierarchical_manager_agent"


class ForgetfulStorage:
    """CrewAI would write every output to an SQLite file, for a replay that happens elsewhere here."""

    def reset(self) -> None:
        pass

    def update(self, task_index: int, log: dict[str, Any]) -> None:
        pass


class ExecutionCrew(Crew):  # type: ignore[misc]
    """Lifts limits of `Crew` that its own task loop does not need.

    Any task may be conditional or asynchronous, the first and the last ones too; outputs of skipped tasks are no
    context; a crew whose tasks were all skipped has an empty result.
    """

    _task_output_handler: Any = PrivateAttr(default_factory=ForgetfulStorage)

    @model_validator(mode="after")
    def validate_end_with_at_most_one_async_task(self) -> Self:
        return self

    @model_validator(mode="after")
    def validate_must_have_non_conditional_task(self) -> Self:
        return self

    @model_validator(mode="after")
    def validate_first_task(self) -> Self:
        return self

    @model_validator(mode="after")
    def validate_async_tasks_not_async(self) -> Self:
        return self

    @model_validator(mode="after")
    def validate_async_task_cannot_include_sequential_async_tasks_in_context(self) -> Self:
        return self

    def _handle_conditional_task(
        self,
        task: ConditionalTask,
        task_outputs: list[TaskOutput],
        futures: list[Any],
        task_index: int,  # noqa: ARG002
        was_replayed: bool,
    ) -> TaskOutput | None:
        if futures:
            task_outputs.extend(self._process_async_tasks(futures, was_replayed))
            futures.clear()
        return None if task.should_execute(None) else task.get_skipped_task_output()

    def _create_crew_output(self, task_outputs: list[TaskOutput]) -> CrewOutput:
        if any(output.raw for output in task_outputs):
            return super()._create_crew_output(task_outputs)
        self._drain_memory_writes()
        return CrewOutput(raw="", tasks_output=task_outputs)

    @staticmethod
    def _get_context(task: Task, task_outputs: list[TaskOutput]) -> str:
        return str(Crew._get_context(task, [output for output in task_outputs if output.raw]))

    def _store_execution_log(self, *args: Any, **kwargs: Any) -> None:
        pass

    def _add_delegation_tools(self, task: Task, tools: list[Any]) -> list[Any]:
        # A task may have its agent to itself; nobody is offered their own role as a coworker.
        coworkers = [each for each in self.agents if task.agent and each.role != task.agent.role]
        return self._inject_delegation_tools(tools or [], task.agent, coworkers) if coworkers else tools

    def _handle_crew_planning(self) -> None:
        try:
            super()._handle_crew_planning()
        except ValueError:
            raise stopped(
                ErrorCode.INVALID_OUTPUT,
                "The model that plans for this crew did not answer with a usable plan. "
                "Choose another manager model or switch planning off.",
            ) from None


class ExecutionAgent(Agent):  # type: ignore[misc]
    def create_agent_executor(self, tools: Any = None, task: Any = None) -> None:
        """Give the executor its crew afterwards; its constructor would hold the crew to the limits of `Crew`."""
        crew = getattr(self, "crew", None)
        self.crew: Any = None
        try:
            super().create_agent_executor(tools, task)
        finally:
            self.crew = crew
        self.agent_executor.crew = crew

    def _finalize_task_execution(self, task: Task, result: Any) -> Any:
        if result == NO_OUTPUT:
            raise stopped(ErrorCode.MODEL_ERROR, f"The agent “{self.role}” came to no answer.")
        return super()._finalize_task_execution(task, result)


def gated_task(gate: Callable[[], bool], **fields: Any) -> ConditionalTask:
    """A task that waits for the asynchronous ones before it, and then runs if `gate` says so."""
    return ConditionalTask(condition=lambda _: gate(), **fields)


def manager_agent(llm: Any, **fields: Any) -> Agent:
    """The manager that CrewAI would make for the hierarchical process, but with our limits in `fields`."""
    return ExecutionAgent(
        role=I18N_DEFAULT.retrieve(MANAGER, "role"),
        goal=I18N_DEFAULT.retrieve(MANAGER, "goal"),
        backstory=I18N_DEFAULT.retrieve(MANAGER, "backstory"),
        llm=llm,
        allow_delegation=True,
        **fields,
    )
