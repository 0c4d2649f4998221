"""What crews do in a child, with a real zygote, real CrewAI and a scripted model."""

import json
from typing import Any

import pytest
from kasal_contracts.crew import CrewConfiguration, InputSpec, Process
from kasal_executor.worker.zygote import Zygote

from .egress import Calls, Reply, Says, ScriptedEgress, text_of, tool_results
from .runs import crew, job, run, task, writer

pytestmark = pytest.mark.asyncio(loop_scope="session")

EDITOR = writer("editor", role="Editor")


async def test_a_later_task_sees_the_output_of_the_one_before(zygote: Zygote, egress: ScriptedEgress) -> None:
    egress.script = lambda messages: Says("An article." if "Seven facts." in text_of(messages) else "Seven facts.")
    document = crew(task("research"), task("article", context=["research"]))
    ended = await run(zygote, job(document, egress.path))
    assert ended.result.text == "An article."
    assert [(each.key, each.agent, each.status, each.output) for each in ended.result.tasks] == [
        ("research", "writer", "completed", "Seven facts."),
        ("article", "writer", "completed", "An article."),
    ]


async def test_inputs_fill_placeholders_and_leave_other_braces_alone(zygote: Zygote, egress: ScriptedEgress) -> None:
    document = crew(
        task("write", 'About {topic} for {reader}, like {"a": {"b": 1}}, not {unknown}: {extra}'),
        agents=(writer(goal="Explain {topic}"),),
        inputs={"topic": InputSpec(default="AI"), "reader": InputSpec(default="all")},
    )
    given = {"topic": "{reader}s", "extra": {"k": [1]}}
    await run(zygote, job(document, egress.path, inputs=given))
    assert 'About {reader}s for all, like {"a": {"b": 1}}, not {unknown}: {"k": [1]}' in egress.prompts()[0]
    assert "Explain {reader}s" in egress.prompts()[0]


async def test_an_input_without_a_value_is_named(zygote: Zygote, egress: ScriptedEgress) -> None:
    document = crew(task("write", "About {topic}"), inputs={"topic": InputSpec()})
    ended = await run(zygote, job(document, egress.path))
    assert "“topic”" in ended.error_message
    assert egress.requests == []


async def test_a_manager_delegates_in_the_hierarchical_process(zygote: Zygote, egress: ScriptedEgress) -> None:
    def script(messages: list[dict[str, Any]]) -> Reply:
        if "Find a name" in text_of(messages) and "Crew Manager" not in text_of(messages):
            return Says("Ada")
        if tool_results(messages):
            return Says(f"The name is {tool_results(messages)[-1]}.")
        arguments = {"task": "Find a name", "context": "A poem", "coworker": "Editor"}
        return Calls("delegate_work_to_coworker", arguments)

    egress.script = script
    document = crew(
        task("poem", agent=None),
        agents=(writer(), EDITOR),
        process=Process.HIERARCHICAL,
        configuration=CrewConfiguration(manager_model="scripted/model"),
    )
    ended = await run(zygote, job(document, egress.path))
    assert ended.result.text == "The name is Ada."
    assert ended.result.tasks[0].agent == "manager"
    assert ended.of("agent.delegated")[0].data == {"to": "editor", "text": "Find a name"}
    assert [event.agent for event in ended.of("agent.started")] == ["manager", "editor"]


async def test_an_agent_delegates_to_a_coworker(zygote: Zygote, egress: ScriptedEgress) -> None:
    def script(messages: list[dict[str, Any]]) -> Reply:
        if "You are Editor" in text_of(messages):
            return Says("42")
        if tool_results(messages):
            return Says(f"It is {tool_results(messages)[-1]}.")
        return Calls("ask_question_to_coworker", {"question": "What?", "context": "-", "coworker": "Editor"})

    egress.script = script
    document = crew(task("answer"), agents=(writer(allow_delegation=True), EDITOR))
    ended = await run(zygote, job(document, egress.path))
    assert ended.result.text == "It is 42."
    delegated, coworker = ended.of("agent.delegated")[0], ended.of("agent.started")[1]
    assert (coworker.agent, coworker.task, coworker.parent_span_id) == ("editor", "answer", delegated.span_id)


async def test_async_tasks_of_one_agent_run_side_by_side(zygote: Zygote, egress: ScriptedEgress) -> None:
    egress.script = lambda messages: Says("Sum." if "Sum up" in text_of(messages) else "Part.")
    parts = [task(f"part{number}", async_execution=True) for number in range(3)]
    document = crew(*parts, task("sum", "Sum up", context=["part0", "part1", "part2"]))
    ended = await run(zygote, job(document, egress.path))
    assert [each.output for each in ended.result.tasks] == ["Part.", "Part.", "Part.", "Sum."]
    starts = [event.task for event in ended.of("task.started", "task.completed")][:3]
    assert sorted(map(str, starts)) == ["part0", "part1", "part2"]


async def test_async_tasks_may_end_a_crew_and_build_on_each_other(zygote: Zygote, egress: ScriptedEgress) -> None:
    document = crew(
        task("first", async_execution=True),
        task("second", async_execution=True, context=["first"]),
        task("third", async_execution=True),
    )
    ended = await run(zygote, job(document, egress.path))
    assert [each.status for each in ended.result.tasks] == ["completed"] * 3
    assert "All done." in next(prompt for prompt in egress.prompts() if "Do second" in prompt)


async def test_a_condition_skips_a_task(zygote: Zygote, egress: ScriptedEgress) -> None:
    egress.script = lambda _: Says("No facts.")
    document = crew(
        task("research"),
        task("article", condition="research.contains('Seven') || outputs.research.size() > 100"),
        task("note", condition="outputs.research == 'No facts.' && inputs.loud"),
    )
    ended = await run(zygote, job(document, egress.path, inputs={"loud": True}))
    assert [each.status for each in ended.result.tasks] == ["completed", "skipped", "completed"]
    assert [event.task for event in ended.of("task.skipped")] == ["article"]
    assert len(egress.requests) == 2


async def test_a_crew_whose_only_task_is_skipped_has_an_empty_result(zygote: Zygote, egress: ScriptedEgress) -> None:
    ended = await run(zygote, job(crew(task("never", condition="false")), egress.path))
    assert ended.result.text is None
    assert ended.result.tasks[0].status == "skipped"


async def test_a_condition_that_cannot_be_evaluated_fails_in_words(zygote: Zygote, egress: ScriptedEgress) -> None:
    document = crew(task("research"), task("article", condition="outputs.nothing == 'x'"))
    ended = await run(zygote, job(document, egress.path))
    assert ended.error_code == "invalid_output"
    assert "“article”" in ended.error_message


async def test_an_agent_uses_a_tool(zygote: Zygote, egress: ScriptedEgress) -> None:
    def script(messages: list[dict[str, Any]]) -> Reply:
        results = tool_results(messages)
        return Says(f"It is {results[-1]}.") if results else Calls("calculator", {"expression": "6 * 7"})

    egress.script = script
    document = crew(task("sum"), agents=(writer(tools=["calculator"]),))
    ended = await run(zygote, job(document, egress.path, tools=("calculator",)))
    assert ended.result.text == "It is 42."
    completed = ended.of("tool.completed")[0].data
    assert (completed["tool"], completed["arguments"], completed["output"]) == (
        "calculator",
        {"expression": "6 * 7"},
        "42",
    )
    assert "strict" not in egress.requests[0]["tools"][0]["function"]


async def test_a_failing_tool_is_told_to_the_agent_and_reported(zygote: Zygote, egress: ScriptedEgress) -> None:
    def script(messages: list[dict[str, Any]]) -> Reply:
        return Says("Never mind.") if tool_results(messages) else Calls("test_fail", {"message": "no luck"})

    egress.script = script
    ended = await run(zygote, job(crew(task("try", tools=["test_fail"])), egress.path, tools=("test_fail",)))
    assert ended.result.text == "Never mind."
    assert "no luck" in str(ended.of("tool.failed")[0].data["error"])


async def test_a_tool_reaches_the_network_through_the_broker_alone(zygote: Zygote, egress: ScriptedEgress) -> None:
    def script(messages: list[dict[str, Any]]) -> Reply:
        results = tool_results(messages)
        return Says(results[-1]) if results else Calls("http_request", {"url": "https://example.com/"})

    egress.script = script
    ended = await run(zygote, job(crew(task("get", tools=["http_request"])), egress.path, tools=("http_request",)))
    assert ended.result.text == "HTTP 200\n\nhello"
    assert (egress.fetched[0]["tool"], egress.fetched[0]["url"]) == ("http_request", "https://example.com/")


async def test_a_tool_that_is_not_installed_fails_in_words(zygote: Zygote, egress: ScriptedEgress) -> None:
    ended = await run(zygote, job(crew(task("try", tools=["no_such"])), egress.path, tools=("no_such",)))
    assert ended.error_code == "tool_error"
    assert "“no_such”" in ended.error_message


async def test_memory_is_recalled_before_a_task_and_saved_after_it(zygote: Zygote, egress: ScriptedEgress) -> None:
    egress.memories = ["The customer likes blue."]
    document = crew(
        task("draw"),
        task("frame", agent="editor"),
        agents=(writer(), writer("editor", memory=False)),
        configuration=CrewConfiguration(memory=True),
    )
    ended = await run(zygote, job(document, egress.path))
    assert "The customer likes blue." in egress.prompts()[0]
    assert "The customer likes blue." not in egress.prompts()[1]
    assert [each["agent"] for each in egress.remembered] == ["writer"]
    assert "All done." in egress.remembered[0]["texts"][0]
    assert [event.type for event in ended.of("memory.searched", "memory.saved")] == ["memory.searched", "memory.saved"]


async def test_planning_adds_the_plan_to_the_tasks(zygote: Zygote, egress: ScriptedEgress) -> None:
    plan = {"list_of_plans_per_task": [{"task_number": 1, "task": "write", "plan": "Begin with the end."}]}
    egress.script = lambda messages: Says(json.dumps(plan) if "Planner" in text_of(messages) else "Done.")
    ended = await run(zygote, job(crew(task("write"), configuration=CrewConfiguration(planning=True)), egress.path))
    assert ended.result.text == "Done."
    assert "Begin with the end." in egress.prompts()[-1]
    assert [event.task for event in ended.of("task.started")] == ["write"]


async def test_a_plan_that_makes_no_sense_fails_in_words(zygote: Zygote, egress: ScriptedEgress) -> None:
    egress.script = lambda _: Says("I would rather not.")
    document = crew(task("write"), configuration=CrewConfiguration(planning=True))
    ended = await run(zygote, job(document, egress.path))
    assert ended.error_code == "invalid_output"


async def test_an_agent_that_reasons_plans_before_it_works(zygote: Zygote, egress: ScriptedEgress) -> None:
    def script(messages: list[dict[str, Any]]) -> Reply:
        plan = {"plan": "1. Write.", "steps": [], "ready": True}
        return Says(json.dumps(plan) if len(egress.requests) == 1 else "Written.")

    egress.script = script
    ended = await run(zygote, job(crew(task("write"), agents=(writer(reasoning=True),)), egress.path))
    assert ended.result.text == "Written."
    assert len(egress.requests) > 1


async def test_human_input_is_refused_and_never_answered_by_itself(zygote: Zygote, egress: ScriptedEgress) -> None:
    ended = await run(zygote, job(crew(task("ask", human_input=True)), egress.path))
    assert "asks for a person" in ended.error_message
    assert egress.requests == []


async def test_each_agent_speaks_to_its_own_model(zygote: Zygote, egress: ScriptedEgress) -> None:
    from .runs import MODEL

    other = MODEL.model_copy(update={"alias": "other", "model": "second", "temperature": 0.3, "max_tokens": 99})
    document = crew(task("write"), agents=(writer(model="other"),))
    ended = await run(zygote, job(document, egress.path, models=(MODEL, other)))
    assert ended.of("llm.completed")[0].data["model"] == "other"
    request = egress.requests[0]
    assert (request["model"], request["temperature"], request["max_tokens"]) == ("second", 0.3, 99)
