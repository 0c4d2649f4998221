"""How an execution ends when it cannot succeed."""

import asyncio
import signal
from datetime import timedelta
from typing import Any

import pytest
from kasal_contracts.events import ChildEvent
from kasal_executor.worker.child_process import ChildProcess
from kasal_executor.worker.zygote import Zygote

from .egress import Calls, Hangs, Refuses, Reply, Says, ScriptedEgress, text_of
from .runs import Ended, crew, job, read_all, run, task, writer

pytestmark = pytest.mark.asyncio(loop_scope="session")

GRACE = timedelta(seconds=5)


async def stopped(child: ChildProcess, grace: timedelta) -> Ended:
    reading = asyncio.create_task(read_all(child))
    await child.terminate(grace)
    return await reading


@pytest.mark.parametrize("code", ["model_error", "auth_expired", "token_budget"])
async def test_what_the_broker_says_is_the_execution_s_error(zygote: Zygote, egress: ScriptedEgress, code: str) -> None:
    egress.script = lambda _: Refuses(429, code, "The model “X” is busy. Try again later.")
    ended = await run(zygote, job(crew(task("write"), task("next")), egress.path))
    assert (ended.error_code, ended.error_message) == (code, "The model “X” is busy. Try again later.")
    assert len(egress.requests) == 1
    assert ended.types()[-2:] == ["agent.completed", "task.failed"]
    assert ended.types().count("llm.failed") == 1
    assert ended.outcome is not None
    assert ended.outcome.result is not None
    assert [each.status for each in ended.outcome.result.tasks] == ["failed", "pending"]


async def test_a_model_failure_inside_a_delegation_ends_the_execution(zygote: Zygote, egress: ScriptedEgress) -> None:
    egress.script = lambda messages: (
        Refuses(500, "model_error", "Broken.")
        if "You are Editor" in text_of(messages)
        else Calls("ask_question_to_coworker", {"question": "?", "context": "-", "coworker": "Editor"})
    )
    document = crew(task("write"), agents=(writer(allow_delegation=True), writer("editor")))
    ended = await run(zygote, job(document, egress.path))
    assert (ended.error_code, ended.error_message) == ("model_error", "Broken.")
    assert len(egress.requests) == 2


async def test_an_empty_answer_is_a_model_error(zygote: Zygote, egress: ScriptedEgress) -> None:
    egress.script = lambda _: Says("")
    ended = await run(zygote, job(crew(task("write")), egress.path))
    assert ended.error_code == "model_error"
    assert "empty answer" in ended.error_message


async def test_a_broker_that_is_gone_is_told_in_words(zygote: Zygote, egress: ScriptedEgress) -> None:
    ended = await run(zygote, job(crew(task("write")), egress.path.with_name("nothing.sock")))
    assert ended.error_code == "model_error"
    assert "connection" in ended.error_message


async def test_cancel_frees_a_crew_that_is_blocked_in_a_model_call(zygote: Zygote, egress: ScriptedEgress) -> None:
    egress.script = lambda messages: Hangs("Once upon") if "Do second" in text_of(messages) else Says("One.")
    async with await zygote.spawn(job(crew(task("first"), task("second")), egress.path)) as child:
        reading = asyncio.create_task(read_all(child))
        async with asyncio.timeout(10):
            while len(egress.requests) < 2:
                await egress.asked.wait()
                egress.asked.clear()
        before = asyncio.get_running_loop().time()
        await child.cancel()
        ended = await reading
    assert asyncio.get_running_loop().time() - before < 2
    assert ended.error_code == "cancelled"
    assert ended.outcome is not None
    assert ended.outcome.result is not None
    assert [(each.status, each.output) for each in ended.outcome.result.tasks] == [
        ("completed", "One."),
        ("failed", None),
    ]
    assert ended.exit.is_clean


async def test_what_does_not_hear_is_killed_after_the_grace(zygote: Zygote, egress: ScriptedEgress) -> None:
    egress.script = lambda _: Calls("test_sleep", {"seconds": 3600})
    wanted = job(crew(task("nap", tools=["test_sleep"])), egress.path, tools=("test_sleep",))
    async with await zygote.spawn(wanted) as child:
        while (message := await child.next()) is not None:
            if isinstance(message, ChildEvent) and message.type == "tool.started":
                break
        ended = await stopped(child, timedelta(seconds=0.3))
    assert ended.outcome is None
    assert ended.exit.signal is signal.SIGKILL


async def test_a_child_that_crashes_is_seen_and_the_zygote_goes_on(zygote: Zygote, egress: ScriptedEgress) -> None:
    egress.script = lambda _: Calls("test_crash", {"signal": int(signal.SIGSEGV)})
    wanted = job(crew(task("crash", tools=["test_crash"])), egress.path, tools=("test_crash",))
    ended = await run(zygote, wanted)
    assert ended.outcome is None
    assert ended.exit.signal is signal.SIGSEGV
    assert ended.types()[-1] == "tool.started"
    egress.script = lambda _: Says("Fine.")
    assert (await run(zygote, job(crew(task("write")), egress.path))).result.text == "Fine."


async def test_a_killed_child_leaves_nothing_behind(zygote: Zygote, egress: ScriptedEgress) -> None:
    egress.script = lambda _: Hangs()
    async with await zygote.spawn(job(crew(task("write")), egress.path)) as child:
        directory = child._directory
        await egress.asked.wait()
        await child.terminate(timedelta(0))
        assert (await child.wait()).signal is signal.SIGKILL
    assert not directory.exists()


async def test_a_conversation_that_never_fits_ends(zygote: Zygote, egress: ScriptedEgress) -> None:
    words = "This model's maximum context length is 10 tokens."
    egress.script = lambda _: Refuses(400, "model_error", words)
    for tools in ((), ("calculator",)):
        ended = await run(zygote, job(crew(task("write", tools=list(tools))), egress.path, tools=tools))
        assert (ended.error_code, ended.error_message) == ("model_error", words)


async def test_a_model_without_tool_calls_is_told_of_tools_in_words(zygote: Zygote, egress: ScriptedEgress) -> None:
    def script(messages: list[dict[str, Any]]) -> Reply:
        if "tools" in egress.requests[-1]:
            return Refuses(400, "model_error", "This model does not support tools")
        if "Observation: 42" in text_of(messages):
            return Says("Thought: I know\nFinal Answer: It is 42.")
        return Says('Thought: compute\nAction: calculator\nAction Input: {"expression": "6*7"}')

    egress.script = script
    document = crew(task("sum"), agents=(writer(tools=["calculator"]),))
    ended = await run(zygote, job(document, egress.path, tools=("calculator",)))
    assert ended.result.text == "It is 42."
    assert ended.of("tool.completed")[0].data["output"] == "42"


async def test_a_conversation_that_is_too_long_is_shortened(zygote: Zygote, egress: ScriptedEgress) -> None:
    def script(messages: list[dict[str, Any]]) -> Reply:
        if len(egress.requests) == 1:
            return Refuses(400, "model_error", "This model's maximum context length is 10 tokens.")
        return Says("<summary>In short.</summary>" if len(egress.requests) == 2 else "Written.")

    egress.script = script
    wanted = job(crew(task("write", tools=["calculator"])), egress.path, tools=("calculator",))
    ended = await run(zygote, wanted)
    assert ended.result.text == "Written."
    assert "In short." in egress.prompts()[2]


async def test_tasks_that_ran_beside_a_failed_one_have_failed_too(zygote: Zygote, egress: ScriptedEgress) -> None:
    egress.script = lambda messages: (
        Refuses(500, "model_error", "Broken.") if "Do second" in text_of(messages) else Hangs("Once")
    )
    parts = [task("first", async_execution=True), task("second", async_execution=True), task("last")]
    ended = await run(zygote, job(crew(*parts), egress.path))
    assert ended.error_message == "Broken."
    assert ended.outcome is not None
    assert ended.outcome.result is not None
    assert [each.status for each in ended.outcome.result.tasks] == ["failed", "failed", "pending"]
