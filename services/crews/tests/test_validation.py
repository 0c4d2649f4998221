import copy
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kasal_contracts.crew import CrewDocument, Severity
from kasal_crews.documents import CrewIn
from kasal_crews.validation import Finding, Standing, Surroundings, check, examine
from kasal_runtime.bodies import merged

from .conftest import Json

AROUND = Surroundings(
    models={
        "demo/scripted": Standing(),
        "openai/gpt-5-mini": Standing(caution="there is no key OPENAI_API_KEY"),
        "old": Standing(refusal="is disabled; enable it"),
    },
    tools={"calculator": Standing(), "http_request": Standing(refusal="is not allowed in this group")},
    default_model="demo/scripted",
)


def found(raw: Any, severity: Severity = Severity.ERROR) -> dict[str, str]:
    problems = [finding.problem() for finding in examine(raw, AROUND)]
    return {problem.path: problem.message for problem in problems if problem.severity is severity}


def test_a_good_crew_has_no_problems(crew: Json) -> None:
    assert examine(crew, AROUND) == []


@pytest.mark.parametrize(
    ("patch", "path", "words"),
    [
        ({"tasks": [{"agent": "researchr"}]}, "tasks[0].agent", "did you mean 'researcher'?"),
        ({"tasks": [{"agent": None}]}, "tasks[0].agent", "choose one of: 'researcher', 'writer'"),
        ({"agents": [{"tools": ["calculater"]}]}, "agents[0].tools[0]", "did you mean 'calculator'?"),
        ({"tasks": [{"tools": ["http_request"]}]}, "tasks[0].tools[0]", "not allowed"),
        ({"agents": [{"model": "gpt"}]}, "agents[0].model", "no model 'gpt'"),
        ({"agents": [{"model": "old"}]}, "agents[0].model", "is disabled"),
        ({"configuration": {"manager_model": "x"}}, "configuration.manager_model", "no model 'x'"),
        ({"agents": [{"key": "writer"}]}, "agents[1].key", "already used by agents[0]"),
        ({"tasks": [{"key": "writer"}]}, "tasks[0].key", "already used by agents[1]"),
        ({"tasks": [{"context": ["brif"]}]}, "tasks[0].context[0]", "did you mean 'brief'?"),
        ({"tasks": [{"context": ["research"]}]}, "tasks[0].context[0]", "its own output"),
        ({"tasks": [{"context": ["brief"]}]}, "tasks[0].context[0]", "comes later"),
        ({"tasks": [{"context": ["brief"]}]}, "tasks[0].context", "wait for each other"),
        ({"tasks": [{}, {"condition": "outputs."}]}, "tasks[1].condition", "not a CEL expression"),
        ({"tasks": [{}, {"condition": "a" * 2001}]}, "tasks[1].condition", "longer than"),
        ({"tasks": [{"human_input": True}]}, "tasks[0].human_input", "not supported yet"),
        ({"tasks": [{"guardrail": {"kind": "regex", "pattern": "("}}]}, "tasks[0].guardrail.pattern", "not a regular"),
        (
            {"tasks": [{"guardrail": {"kind": "regex", "pattern": r"(?=x)\1"}}]},
            "tasks[0].guardrail.pattern",
            "syntax of RE2",
        ),
        ({"tasks": [{"guardrail": {"kind": "length", "min": 5, "max": 2}}]}, "tasks[0].guardrail.max", "cannot both"),
        (
            {"tasks": [{"guardrail": {"kind": "schema", "schema": {"type": 1}}}]},
            "tasks[0].guardrail.schema",
            "JSON Sch",
        ),
        ({"tasks": [{"output_schema": {"type": "objct"}}]}, "tasks[0].output_schema", "not a JSON Schema"),
        ({"tasks": [{"output_schema": {"$ref": "http://x/y"}}]}, "tasks[0].output_schema", "its own parts"),
        ({"tasks": [{"output_schema": {"title": "x" * 20_001}}]}, "tasks[0].output_schema", "longer than"),
        ({"process": "parallel"}, "process", "'sequential' or 'hierarchical'"),
        ({"inputs": {"two words": {}}}, "inputs['two words']['[key]']", "pattern"),
        ({"agents": None}, "tasks[0].agent", "no agent"),
        ({"agents": None}, "agents", "there are tasks but no agents"),
        ({"tasks": None}, "tasks", "there are agents but no tasks"),
    ],
)
def test_each_mistake_is_told_where_it_is(crew: Json, patch: Json, path: str, words: str) -> None:
    for name, value in patch.items():
        if isinstance(value, list):
            for item, change in zip(crew[name], value, strict=False):
                item.update(change)
        else:
            crew = merged(crew, {name: value})
    assert words in found(crew).get(path, ""), found(crew)


@pytest.mark.parametrize(
    ("patch", "path", "words"),
    [
        ({"inputs": {"topic": None}}, "agents[0].goal", "{topic} is not a declared input"),
        ({"inputs": {"topic": None, "topics": {}}}, "agents[0].goal", "did you mean 'topics'?"),
        ({"process": "hierarchical"}, "configuration.manager_model", "default model will manage"),
        ({"configuration": {"manager_model": "openai/gpt-5-mini"}}, "configuration.manager_model", "OPENAI_API_KEY"),
        ({"agents": None, "tasks": None}, "tasks", "a draft"),
    ],
)
def test_doubts_are_warnings(crew: Json, patch: Json, path: str, words: str) -> None:
    crew = merged(crew, patch)
    assert words in found(crew, Severity.WARNING)[path]
    assert found(crew) == {}


def test_a_draft_cannot_run() -> None:
    draft = CrewDocument(name="Later")
    assert [finding.is_error for finding in check(draft, AROUND)] == [False]
    assert any(finding.is_error for finding in check(draft, AROUND, for_run=True))


def test_a_manager_needs_no_agents_in_tasks(crew: Json) -> None:
    crew["process"] = "hierarchical"
    crew["tasks"][0]["agent"] = None
    assert found(crew) == {}


def test_tasks_may_all_be_asynchronous_and_conditional(crew: Json) -> None:
    for task in crew["tasks"]:
        task |= {"async_execution": True, "condition": "inputs.topic != ''"}
    assert found(crew) == {}
    assert "only look at `inputs`" in found(crew, Severity.WARNING)["tasks[0].condition"]


def test_a_cycle_is_named(crew: Json) -> None:
    crew["tasks"][0]["context"] = ["brief"]
    assert "brief" in found(crew)["tasks[0].context"]
    assert "research" in found(crew)["tasks[0].context"]


def test_a_hostile_crew_is_told_about_in_time() -> None:
    tasks = [
        {
            "key": f"t{number}",
            "description": "{a}" * 5000,
            "expected_output": "x",
            "agent": f"nobody{number}",
            "context": [f"t{199 - number}"] * 100,
            "tools": ["x" * 200] * 50,
        }
        for number in range(200)
    ]
    agents = [
        {"key": f"a{n}", "role": "r", "goal": "g", "model": "y" * 200, "tools": ["z" * 200] * 50} for n in range(100)
    ]
    started = time.process_time()
    findings = examine({"name": "Big", "agents": agents, "tasks": tasks}, AROUND)
    assert len([finding for finding in findings if finding.is_error]) == 100
    assert time.process_time() - started < 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = sorted({*CrewDocument.model_fields, "key", "agent", "context", "condition", "guardrail", "kind", "model", "x"})
crew_like = st.recursive(
    json_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=20,
)


@given(crew_like)
@settings(max_examples=150, deadline=None)
def test_validation_has_an_answer_for_any_json(raw: Any) -> None:
    findings = examine(raw, AROUND)
    assert all(isinstance(finding, Finding) and finding.message for finding in findings)
    assert all(isinstance(finding.problem().path, str) for finding in findings)


GOOD: Json = {
    "name": "n",
    "agents": [{"key": "a", "role": "r", "goal": "g"}],
    "tasks": [{"key": "t", "description": "d", "expected_output": "e", "agent": "a"}],
}


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_validation_has_an_answer_for_any_damage_to_a_crew(data: st.DataObject) -> None:
    crew = copy.deepcopy(GOOD)
    place = data.draw(st.sampled_from([crew, crew["agents"][0], crew["tasks"][0]]))
    place[data.draw(st.sampled_from([*FIELDS, *CrewDocument.model_fields, "output_schema"]))] = data.draw(json_values)
    assert isinstance(examine(crew, AROUND), list)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=20).filter(
    str.strip
)
documents = st.builds(
    dict,
    name=texts,
    description=texts,
    agents=st.just(GOOD["agents"]),
    tasks=st.lists(texts, min_size=1, max_size=4).map(
        lambda words: [{**GOOD["tasks"][0], "key": f"t{n}", "description": word} for n, word in enumerate(words)]
    ),
    inputs=st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True), st.builds(dict, default=texts)),
    layout=st.builds(
        dict, nodes=st.dictionaries(texts, st.fixed_dictionaries({"x": st.integers(-9, 9), "y": st.just(0)}))
    ),
)


@given(documents)
@settings(max_examples=100, deadline=None)
def test_a_crew_that_was_read_and_written_again_is_the_same(document: Json) -> None:
    first = CrewIn.model_validate(document).definition()
    assert CrewIn.model_validate({**first, "id": "x", "version": 3, "updated_at": "now"}).definition() == first


@given(json_values, json_values)
@settings(max_examples=100, deadline=None)
def test_a_merge_patch_of_nothing_changes_nothing_and_a_null_removes(target: Any, value: Any) -> None:
    target = target if isinstance(target, dict) else {"kept": target}
    assert list(merged(target, {}).values()) == list(target.values())
    assert "gone" not in merged({**target, "gone": value}, {"gone": None})
