"""`{placeholders}` in texts are the crew's inputs."""

import re
from collections.abc import Iterator

from kasal_contracts.crew import CrewDocument
from kasal_contracts.storable import Loc
from kasal_runtime.bodies import near

from .findings import Finding, warning

# What CrewAI replaces (`crewai.utilities.string_utils`); other braces stay as they are.
PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_\-]*)}")


def texts(document: CrewDocument) -> Iterator[tuple[Loc, str]]:
    """Every text in which placeholders are replaced."""
    for index, agent in enumerate(document.agents):
        for field, text in (("role", agent.role), ("goal", agent.goal), ("backstory", agent.backstory)):
            yield ("agents", index, field), text
    for index, task in enumerate(document.tasks):
        for field, text in (("description", task.description), ("expected_output", task.expected_output)):
            yield ("tasks", index, field), text


def undeclared(document: CrewDocument) -> Iterator[Finding]:
    told: set[str] = set()
    for loc, text in texts(document):
        for name in PLACEHOLDER.findall(text):
            if name not in document.inputs and name not in told:
                told.add(name)
                advice = (
                    near(name, document.inputs) or "; declare it under `inputs` to describe it and give it a default"
                )
                yield warning(loc, f"{{{name[:80]}}} is not a declared input{advice}")
