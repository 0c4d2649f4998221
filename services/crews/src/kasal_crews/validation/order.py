"""Rules about what there is to do and in which order: emptiness, context, conditions, the manager."""

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

from kasal_contracts.crew import CrewDocument, Process
from kasal_runtime.bodies import near

from .findings import Finding, shown, warning

EMPTY = "a crew needs at least one agent and one task before it can run"


def halves(document: CrewDocument) -> Iterator[Finding]:
    """A crew without anything is a draft; one with only agents or only tasks is a mistake."""
    if document.agents and not document.tasks:
        yield Finding(("tasks",), "there are agents but no tasks; add a task that says what to do")
    if document.tasks and not document.agents:
        yield Finding(("agents",), "there are tasks but no agents; add an agent that does them")


def emptiness(document: CrewDocument) -> Iterator[Finding]:
    """For executions: a draft cannot run."""
    if not document.agents and not document.tasks:
        yield Finding(("tasks",), EMPTY)


def drafts(document: CrewDocument) -> Iterator[Finding]:
    if not document.agents and not document.tasks:
        yield warning(("tasks",), f"this is a draft: {EMPTY}")


def contexts(document: CrewDocument) -> Iterator[Finding]:
    positions = {task.key: index for index, task in reversed(list(enumerate(document.tasks)))}
    for index, task in enumerate(document.tasks):
        for place, key in enumerate(task.context):
            loc = ("tasks", index, "context", place)
            if key not in positions:
                yield Finding(loc, f"there is no task {shown(key)} in this crew{near(key, positions)}")
            elif positions[key] == index:
                yield Finding(loc, "a task cannot use its own output; remove it from its context")
            elif positions[key] > index:
                yield Finding(loc, f"{shown(key)} comes later; move it before this task or remove it from the context")


def cycles(document: CrewDocument) -> Iterator[Finding]:
    graph = TopologicalSorter({task.key: [key for key in task.context if key != task.key] for task in document.tasks})
    try:
        graph.prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        keys = [task.key for task in document.tasks]
        index = min(keys.index(key) for key in cycle if key in keys)
        yield Finding(
            ("tasks", index, "context"),
            f"the tasks wait for each other: {' → '.join(cycle[:10])}; remove one of these contexts",
        )


def first_condition(document: CrewDocument) -> Iterator[Finding]:
    if document.tasks and document.tasks[0].condition is not None:
        message = "before the first task there is no output; its condition can only look at `inputs`"
        yield warning(("tasks", 0, "condition"), message)


def missing_manager(document: CrewDocument) -> Iterator[Finding]:
    if document.process is Process.HIERARCHICAL and document.configuration.manager_model is None:
        yield warning(
            ("configuration", "manager_model"),
            "no model is named for the manager of the hierarchical process; the group's default model will manage",
        )
