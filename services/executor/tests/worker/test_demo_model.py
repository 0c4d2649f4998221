"""The scripted provider: deterministic, marked, and good enough to play every part of a crew."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from kasal_contracts.models import Provider
from kasal_executor.worker.demo_model import find_expression
from kasal_executor.worker.demo_schemas import smallest_instance

from .callers import Child, child_of, streamed
from .orders import model

CALCULATOR = {"type": "function", "function": {"name": "calculator", "description": "Evaluates."}}
DELEGATE = {
    "type": "function",
    "function": {
        "name": "delegate_work_to_coworker",
        "description": "Delegate a specific task to one of the following coworkers: Researcher, Writer\nThe input …",
    },
}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


async def reply(child: Child, *messages: dict[str, Any], **body: Any) -> dict[str, Any]:
    answer = await child.ask(messages=list(messages), **body)
    assert answer.status_code == 200, answer.text
    message: dict[str, Any] = answer.json()["choices"][0]["message"]
    return message


async def test_an_answer_is_the_same_each_time_and_says_that_it_is_a_demo(folder: Path) -> None:
    async with child_of(folder, model(Provider.DEMO)) as child:
        first = await reply(child, user("Current Task: Name a city.\n\nThe criteria…"))
        second = await reply(child, user("Current Task: Name a city.\n\nThe criteria…"))
        stream = await child.ask(messages=[user("Name a city.")], stream=True)

    assert first == second
    assert first["content"].startswith("[demo] ")
    assert first["content"].endswith("Name a city.")
    assert streamed(stream.text).startswith("[demo] ")
    assert '"prompt_tokens"' in stream.text
    assert stream.text.endswith("data: [DONE]\n\n")


async def test_arithmetic_goes_to_the_calculator_and_its_result_into_the_answer(folder: Path) -> None:
    async with child_of(folder, model(Provider.DEMO)) as child:
        task = user("What is 17 times 23?")
        call = await reply(child, task, tools=[CALCULATOR])
        result = {"role": "tool", "tool_call_id": "call_demo", "content": "391"}
        final = await reply(child, task, call, result, tools=[CALCULATOR])
        nothing = await reply(child, user("Name a city."), tools=[CALCULATOR])

    [asked] = call["tool_calls"]
    assert (asked["function"]["name"], json.loads(asked["function"]["arguments"])) == (
        "calculator",
        {"expression": "17 * 23"},
    )
    assert final["content"] == "[demo] The result is: 391"
    assert nothing["content"].startswith("[demo] ")


async def test_a_manager_delegates_to_the_first_coworker(folder: Path) -> None:
    async with child_of(folder, model(Provider.DEMO)) as child:
        call = await reply(child, user("Write about Paris."), tools=[DELEGATE])

    arguments = json.loads(call["tool_calls"][0]["function"]["arguments"])
    assert (arguments["coworker"], arguments["task"]) == ("Researcher", "Write about Paris.")


async def test_options_delay_fail_and_script_answers(folder: Path) -> None:
    script = [{"tool": "calculator", "arguments": {"expression": "1"}}, "The end."]
    scripted = model(Provider.DEMO, alias="scripted", extra={"script": script})
    failing = model(Provider.DEMO, alias="failing", extra={"fail": 500, "delay_s": 0.01})
    broken = model(Provider.DEMO, alias="broken", extra={"delay_s": 1e9})
    async with child_of(folder, scripted, failing, broken) as child:
        call = await reply(child, user("Go"), alias="scripted")
        final = await reply(child, user("Go"), call, alias="scripted")
        failed = await child.ask(alias="failing")
        refused = await child.ask(alias="broken")

    assert call["tool_calls"][0]["function"]["name"] == "calculator"
    assert final["content"] == "[demo] The end."
    assert failed.status_code == 500
    assert "as it was told to" in failed.json()["error"]["message"]
    assert "delay_s" in refused.json()["error"]["message"]


SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 18}}},
    {"type": "array", "minItems": 2, "items": {"enum": ["red", "green"]}},
    {"$ref": "#/$defs/Person", "$defs": {"Person": {"type": "object", "required": ["id"], "properties": {"id": {}}}}},
    {"anyOf": [{"type": "null"}, {"type": "string", "minLength": 40}]},
    {"allOf": [{"type": "object", "required": ["x"]}, {"properties": {"x": {"type": "number"}}}]},
    {"type": ["boolean", "null"]},
    {"type": "string", "format": "date"},
]


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_a_structured_answer_satisfies_its_schema(folder: Path, schema: dict[str, Any]) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    async with child_of(folder, model(Provider.DEMO)) as child:
        said = await reply(child, user("Answer"), response_format=form)

    jsonschema.validate(json.loads(said["content"]), schema)


def test_a_schema_without_an_end_has_one_here() -> None:
    endless = {"$ref": "#/$defs/N", "$defs": {"N": {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}}}}
    assert smallest_instance(endless, "[demo]").startswith('{"n": {"n": ')


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("What is 17 * 23?", "17 * 23"),
        ("Compute (3 + 4) * 2 ^ 8, please.", "(3 + 4) * 2 ** 8"),
        ("How much is 10 divided by 4 plus 1?", "10 / 4 + 1"),
        ("2 x 3", "2 * 3"),
        ("Add them (as in 3 + 4).", "3 + 4"),
        ("Write ten facts about 2026.", None),
        ("", None),
    ],
)
def test_arithmetic_is_found_in_words(text: str, expression: str | None) -> None:
    assert find_expression(text) == expression
