"""Rules about who works when: emptiness, context, asynchronous and conditional tasks, the manager.

CrewAI refuses the same things (`crewai.crew.Crew`, its validators), but only when an execution has begun.
"""

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import takewhile

from kasal_contracts.crew import CrewDocument, Process

from kasal_crews.bodies import near

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


def trailing_async(document: CrewDocument) -> Iterator[Finding]:
    trailing = list(takewhile(lambda task: task.async_execution, reversed(document.tasks)))
    if len(trailing) > 1:
        yield Finding(
            ("tasks", len(document.tasks) - 1, "async_execution"),
            f"the last {len(trailing)} tasks are asynchronous and one may be; end with a task that joins their results",
        )


def async_contexts(document: CrewDocument) -> Iterator[Finding]:
    """An asynchronous task starts before its asynchronous neighbours end, so it cannot use their outputs."""
    neighbours: set[str] = set()
    for index, task in enumerate(document.tasks):
        if not task.async_execution:
            neighbours.clear()
            continue
        for place, key in enumerate(task.context):
            if key in neighbours:
                yield Finding(
                    ("tasks", index, "context", place),
                    f"{shown(key)} runs at the same time as this task; put a synchronous task between them",
                )
        neighbours.add(task.key)


def conditional_positions(document: CrewDocument) -> Iterator[Finding]:
    for index, task in enumerate(document.tasks):
        if task.condition is None:
            continue
        loc = ("tasks", index, "condition")
        if index == 0:
            yield Finding(loc, "the first task has no earlier output that a condition could look at; remove it")
        if task.async_execution:
            yield Finding(loc, "an asynchronous task cannot have a condition; make it one or the other")


def missing_manager(document: CrewDocument) -> Iterator[Finding]:
    if document.process is Process.HIERARCHICAL and document.configuration.manager_model is None:
        yield warning(
            ("configuration", "manager_model"),
            "no model is named for the manager of the hierarchical process; the group's default model will manage",
        )
