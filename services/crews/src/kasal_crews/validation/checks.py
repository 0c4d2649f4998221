"""All rules together."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice

from kasal_contracts.crew import CrewDocument
from kasal_contracts.errors import InvalidError
from kasal_runtime.bodies import MAX_PROBLEMS
from pydantic import JsonValue, ValidationError

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
    expressions.output_schemas,
    expressions.guardrails,
    expressions.conditions,
    expressions.human_inputs,
)
WARNINGS: Sequence[Rule] = (order.drafts, order.missing_manager, order.first_condition, placeholders.undeclared)


def check(document: CrewDocument, around: Surroundings, *, for_run: bool = False) -> list[Finding]:
    """What is wrong: errors first, at most 100 of each severity. A draft without parts is wrong only `for_run`."""
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


def examine(raw: JsonValue, around: Surroundings) -> list[Finding]:
    """`check` for anything at all: what does not have a crew's form is told where it differs."""
    form = _form(raw)
    return form if isinstance(form, list) else check(form, around)


def admit(raw: JsonValue, around: Surroundings, *prefix: str, for_run: bool = False) -> CrewIn:
    """The crew that `raw` is. Raises InvalidError that names every error; `prefix` goes before each `loc`."""
    form = _form(raw)
    if isinstance(form, list):
        raise _refusal(form, prefix)
    refuse_errors(check(form, around, for_run=for_run), *prefix)
    return form


def refuse_errors(findings: Iterable[Finding], *prefix: str) -> None:
    """Raises InvalidError where one of `findings` is an error."""
    errors = [finding for finding in findings if finding.is_error]
    if errors:
        raise _refusal(errors, prefix)


def _form(raw: JsonValue) -> CrewIn | list[Finding]:
    if not isinstance(raw, dict):
        return [Finding((), "a crew is a JSON object with name, agents and tasks")]
    try:
        return CrewIn.model_validate(raw)
    except ValidationError as error:
        return [Finding(item["loc"], item["msg"]) for item in error.errors(include_url=False)]


def _refusal(errors: Sequence[Finding], prefix: Sequence[str]) -> InvalidError:
    first = errors[0].problem()
    where = f"{first.path}: " if first.path else ""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return InvalidError(f"{where}{first.message}{more}", errors=[error.field_error(*prefix) for error in errors])
