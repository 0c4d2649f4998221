"""All rules together."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice

from kasal_contracts.crew import CrewDocument
from kasal_contracts.errors import InvalidError
from pydantic import JsonValue, ValidationError

from kasal_crews.bodies import MAX_PROBLEMS
from kasal_crews.documents import CrewIn
from . import expressions, order, placeholders, references
from .findings import Finding
from .references import Surroundings

Rule = Callable[[CrewDocument], Iterator[Finding]]

ERRORS: Sequence[Rule] = (
    references.duplicate_keys,
    references.task_agents,
    order.halves,
    order.contexts,
    order.cycles,
    order.trailing_async,
    order.async_contexts,
    order.conditional_positions,
    expressions.output_schemas,
    expressions.guardrails,
    expressions.conditions,
    expressions.human_inputs,
)
WARNINGS: Sequence[Rule] = (order.drafts, order.missing_manager, placeholders.undeclared)


def check(document: CrewDocument, around: Surroundings, *, for_run: bool = False) -> list[Finding]:
    """What is wrong, errors first and at most 100 of each severity. A draft without any part is wrong only `for_run`."""
    errors = chain(
        order.emptiness(document) if for_run else (),
        *(rule(document) for rule in ERRORS),
        references.unusable_models(document, around),
        references.unusable_tools(document, around),
    )
    warnings = chain(
        *(rule(document) for rule in WARNINGS),
        references.doubtful_models(document, around),
    )
    return [*islice(errors, MAX_PROBLEMS), *islice(warnings, MAX_PROBLEMS)]


def examine(raw: JsonValue, around: Surroundings, *, for_run: bool = False) -> tuple[CrewIn | None, list[Finding]]:
    """`check` for anything at all: the crew is None where `raw` does not have a crew's form."""
    if not isinstance(raw, dict):
        return None, [Finding((), "a crew is a JSON object with name, agents and tasks")]
    try:
        crew = CrewIn.model_validate(raw)
    except ValidationError as error:
        return None, [Finding(item["loc"], item["msg"]) for item in error.errors(include_url=False)]
    return crew, check(crew, around, for_run=for_run)


def refuse_errors(findings: Iterable[Finding], *prefix: str) -> None:
    """Raises InvalidError that names every error; `prefix` goes before each `loc`."""
    errors = [finding for finding in findings if finding.is_error]
    if not errors:
        return
    first = errors[0].problem()
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    where = f"{first.path}: " if first.path else ""
    raise InvalidError(f"{where}{first.message}{more}", errors=[error.field_error(*prefix) for error in errors])
