"""Whose is whose between CrewAI and us."""

from dataclasses import dataclass, field


@dataclass
class Names:
    """Our keys by CrewAI's ids, filled while the crew is built. What is not in here is CrewAI's own business."""

    tasks: dict[str, str] = field(default_factory=dict)
    agents: dict[str, str] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
