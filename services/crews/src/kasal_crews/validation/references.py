"""Rules about names: keys that are unique, and agents, tools and models that exist and may be used."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kasal_contracts.crew import CrewDocument, Process
from kasal_contracts.storable import Loc
from kasal_runtime.bodies import near

from .findings import Finding, listed, shown, warning


@dataclass(frozen=True)
class Standing:
    """Whether a model or a tool may be used: `refusal` says why not, `caution` what may go wrong."""

    refusal: str | None = None
    caution: str | None = None


@dataclass(frozen=True)
class Surroundings:
    """What the group offers to its crews, by name."""

    models: Mapping[str, Standing]
    tools: Mapping[str, Standing]
    default_model: str


def models_named(document: CrewDocument, default_model: str) -> Iterator[tuple[Loc, str]]:
    """Every model that the crew uses and the place that asks for it; `default_model` where none is named."""
    for index, agent in enumerate(document.agents):
        yield ("agents", index, "model"), agent.model or default_model
    configuration = document.configuration
    # The manager's model makes the plans, too.
    if configuration.manager_model or configuration.planning or document.process is Process.HIERARCHICAL:
        yield ("configuration", "manager_model"), configuration.manager_model or default_model


def tools_named(document: CrewDocument) -> Iterator[tuple[Loc, str]]:
    for index, agent in enumerate(document.agents):
        for position, tool in enumerate(agent.tools):
            yield ("agents", index, "tools", position), tool
    for index, task in enumerate(document.tasks):
        for position, tool in enumerate(task.tools):
            yield ("tasks", index, "tools", position), tool


def duplicate_keys(document: CrewDocument) -> Iterator[Finding]:
    holders: dict[str, str] = {}
    places = [("agents", index, agent.key) for index, agent in enumerate(document.agents)]
    places += [("tasks", index, task.key) for index, task in enumerate(document.tasks)]
    for kind, index, key in places:
        holder = holders.setdefault(key, f"{kind}[{index}]")
        if holder != f"{kind}[{index}]":
            message = f"the key {shown(key)} is already used by {holder}; every agent and task needs its own"
            yield Finding((kind, index, "key"), message)


def task_agents(document: CrewDocument) -> Iterator[Finding]:
    keys = [agent.key for agent in document.agents]
    for index, task in enumerate(document.tasks):
        loc = ("tasks", index, "agent")
        if task.agent is None and document.process is Process.SEQUENTIAL:
            choice = f"; choose one of: {listed(keys)}" if keys else ""
            yield Finding(loc, f"the sequential process needs an agent for each task{choice}")
        elif task.agent is not None and task.agent not in keys:
            advice = near(task.agent, keys) or (f"; there are: {listed(keys)}" if keys else "")
            yield Finding(loc, f"there is no agent {shown(task.agent)} in this crew{advice}")


def unusable_models(document: CrewDocument, around: Surroundings) -> Iterator[Finding]:
    for loc, name in models_named(document, around.default_model):
        standing = around.models.get(name)
        if standing is None:
            advice = near(name, around.models) or "; `GET /api/v1/models` lists what there is"
            yield Finding(loc, f"there is no model {shown(name)}{advice}")
        elif standing.refusal is not None:
            yield Finding(loc, f"the model {shown(name)} {standing.refusal}")


def doubtful_models(document: CrewDocument, around: Surroundings) -> Iterator[Finding]:
    for loc, name in models_named(document, around.default_model):
        standing = around.models.get(name)
        if standing is not None and standing.caution is not None:
            yield warning(loc, f"the model {shown(name)} is not available now: {standing.caution}")


def unusable_tools(document: CrewDocument, around: Surroundings) -> Iterator[Finding]:
    for loc, name in tools_named(document):
        standing = around.tools.get(name)
        if standing is None:
            advice = near(name, around.tools) or "; `GET /api/v1/tools` lists what is installed"
            yield Finding(loc, f"there is no tool {shown(name)}{advice}")
        elif standing.refusal is not None:
            yield Finding(loc, f"the tool {shown(name)} {standing.refusal}")
