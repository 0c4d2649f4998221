"""What a rule finds wrong in a crew, in the two shapes that clients see."""

from dataclasses import dataclass

from kasal_contracts.crew import CrewProblem, Severity
from kasal_contracts.problems import FieldError
from kasal_contracts.storable import Loc

SHOWN = 80


@dataclass(frozen=True)
class Finding:
    """`loc` leads to the place in the document, as in `("tasks", 1, "agent")`."""

    loc: Loc
    message: str
    severity: Severity = Severity.ERROR

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.ERROR

    def problem(self) -> CrewProblem:
        return CrewProblem(path=path_text(self.loc), message=self.message, severity=self.severity)

    def field_error(self, *prefix: str) -> FieldError:
        return FieldError(loc=[*prefix, *self.loc], msg=self.message)


def warning(loc: Loc, message: str) -> Finding:
    return Finding(loc, message, Severity.WARNING)


def path_text(loc: Loc) -> str:
    """`("tasks", 1, "agent")` as `tasks[1].agent`."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.isidentifier():
            text += f".{part}" if text else part
        else:
            text += f"[{part!r}]"
    return text


def shown(word: str) -> str:
    """A word of the user's, quoted and short enough for a sentence."""
    return repr(word if len(word) <= SHOWN else f"{word[:SHOWN]}…")


def listed(words: list[str], limit: int = 8) -> str:
    """`'a', 'b'` and how many more there are."""
    more = f" and {len(words) - limit} more" if len(words) > limit else ""
    return ", ".join(shown(word) for word in words[:limit]) + more
