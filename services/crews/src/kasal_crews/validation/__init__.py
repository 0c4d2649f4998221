"""Whether the parts of a crew fit together, and fit what its group offers. Pure: no I/O."""

from .checks import admit, check, examine, refuse_errors
from .findings import Finding
from .references import Standing, Surroundings, models_named, tools_named

__all__ = [
    "Finding",
    "Standing",
    "Surroundings",
    "admit",
    "check",
    "examine",
    "models_named",
    "refuse_errors",
    "tools_named",
]
