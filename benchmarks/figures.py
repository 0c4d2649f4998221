"""What a benchmark found out."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Figure:
    """One number. `at_most` or `at_least` is its budget; `beside` says what it is compared to."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    beside: str = ""

    @property
    def budget(self) -> str:
        if self.at_most is not None:
            return f"≤ {self.at_most:g}"
        return "" if self.at_least is None else f"≥ {self.at_least:g}"

    @property
    def is_kept(self) -> bool | None:
        """`None` without a budget."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return None if self.at_least is None else self.value >= self.at_least


@dataclass(frozen=True)
class Step:
    """A part of the way from the order to the first model request, in milliseconds."""

    name: str
    took_ms: float
    budget_ms: float


@dataclass
class Findings:
    figures: list[Figure] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], part: float) -> float:
    """The nearest-rank percentile; `part` is between 0 and 1."""
    ordered = sorted(values)
    return ordered[max(math.ceil(part * len(ordered)) - 1, 0)]
