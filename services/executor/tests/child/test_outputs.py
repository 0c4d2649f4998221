"""Schemas and guardrails on what tasks put out."""

import itertools
import json

import pytest
from kasal_contracts.crew import LengthGuardrail, LlmGuardrail, RegexGuardrail, SchemaGuardrail
from kasal_contracts.models import Provider
from kasal_executor.worker.zygote import Zygote

from .egress import Says, Script, ScriptedEgress, text_of
from .runs import MODEL, crew, job, run, task

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def in_turn(*texts: str) -> Script:
    turns = itertools.chain(texts, itertools.repeat(texts[-1]))
    return lambda _: Says(next(turns))


async def test_a_schema_makes_the_result_json(zygote: Zygote, egress: ScriptedEgress) -> None:
    egress.script = in_turn("Sure!", 'Here:\n```json\n{"n": "many"}\n```', '```json\n{"n": 3}\n```')
    ended = await run(zygote, job(crew(task("count", output_schema=SCHEMA)), egress.path))
    assert ended.result.json_ == {"n": 3}
    assert ended.result.text == '{"n": 3}'
    assert ended.types().count("guardrail.failed") == 2
    assert '"required": ["n"]' in egress.prompts()[0]


async def test_a_provider_that_can_enforce_a_schema_is_asked_to(zygote: Zygote, egress: ScriptedEgress) -> None:
    egress.script = in_turn('{"n": 3}')
    openai = MODEL.model_copy(update={"provider": Provider.OPENAI})
    document = crew(task("count", output_schema=SCHEMA), task("talk"))
    await run(zygote, job(document, egress.path, models=(openai,)))
    asked = [request.get("response_format", {}).get("json_schema", {}).get("schema") for request in egress.requests]
    assert asked == [SCHEMA, None]


async def test_output_that_never_satisfies_its_schema_ends_as_invalid(zygote: Zygote, egress: ScriptedEgress) -> None:
    egress.script = in_turn("never json")
    ended = await run(zygote, job(crew(task("count", output_schema=SCHEMA)), egress.path))
    assert ended.error_code == "invalid_output"
    assert "“count”" in ended.error_message
    assert len(egress.requests) == 4


@pytest.mark.parametrize(
    ("guardrail", "bad", "good"),
    [
        (RegexGuardrail(kind="regex", pattern=r"^\d+$"), "seven", "7"),
        (LengthGuardrail(kind="length", min=5), "hi", "hello"),
        (LengthGuardrail(kind="length", max=5), "good morning", "hello"),
        (SchemaGuardrail(kind="schema", schema_=SCHEMA), "{}", json.dumps({"n": 1})),
    ],
)
async def test_a_guardrail_has_the_task_done_again(
    zygote: Zygote, egress: ScriptedEgress, guardrail: object, bad: str, good: str
) -> None:
    egress.script = in_turn(bad, good)
    ended = await run(zygote, job(crew(task("write", guardrail=guardrail)), egress.path))
    assert ended.result.text == good
    assert [event.type for event in ended.of("guardrail.failed", "guardrail.passed")] == [
        "guardrail.failed",
        "guardrail.passed",
    ]


async def test_a_model_judges_the_output(zygote: Zygote, egress: ScriptedEgress) -> None:
    verdicts = itertools.chain(['{"valid": false, "feedback": "too loud"}', '{"valid": true}'])
    egress.script = lambda messages: Says(next(verdicts) if "Be quiet" in text_of(messages)[:400] else "Text")
    guardrail = LlmGuardrail(kind="llm", instruction="Be quiet")
    ended = await run(zygote, job(crew(task("write", guardrail=guardrail)), egress.path))
    assert ended.result.text == "Text"
    assert ended.of("guardrail.failed")[0].data["reason"] == "too loud"
    assert "too loud" in egress.prompts()[2]
    assert ended.types().count("llm.completed") == 4


async def test_a_schema_that_points_elsewhere_is_not_fetched(zygote: Zygote, egress: ScriptedEgress) -> None:
    egress.script = in_turn("{}")
    document = crew(task("count", output_schema={"$ref": "http://127.0.0.1:1/schema"}))
    ended = await run(zygote, job(document, egress.path))
    assert ended.error_code == "invalid_output"
    assert "http://127.0.0.1:1/schema" in ended.error_message
