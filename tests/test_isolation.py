"""The child is a process of its own: it dies, blocks and is stopped without harm to anybody else."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from kasal_client import Kasal
from kasal_contracts.executions import Limits, Status
from kasal_contracts.ids import new_id
from kasal_contracts.models import Provider
from kasal_testing.scripted_llm import Garbage, Hang, Refuse, ScriptedLlm, Text
from kasal_testing.stacks import Stack

from .conftest import logged_in
from .crews import crew


@pytest.fixture
async def llm() -> AsyncIterator[ScriptedLlm]:
    async with ScriptedLlm(Hang()) as server:
        yield server


def new_model(kasal: Kasal, llm: ScriptedLlm) -> str:
    name = f"scripted/{new_id()}"
    kasal.models.create(name, Provider.OPENAI_COMPATIBLE, "scripted", base_url=llm.url)
    return name


def child_of(execution_id: str) -> int:
    """The process that runs an execution bears the end of its id as its name."""
    for path in Path("/proc").glob("[0-9]*/comm"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if path.read_text().strip() == f"run-{execution_id[-11:]}":
                return int(path.parent.name)
    raise AssertionError(f"no process runs {execution_id}")


async def test_cancel_stops_a_crew_that_is_blocked_in_a_model_call(
    kasal: Kasal, stack: Stack, llm: ScriptedLlm
) -> None:
    model = new_model(kasal, llm)
    execution = kasal.executions.submit(crew("one", model=model))
    await llm.asked()
    asked_at = datetime.now(UTC)
    done = await anyio.to_thread.run_sync(lambda: stack.kasal("cancel", execution.id))
    ended = kasal.executions.get(execution.id)
    assert (done.returncode, ended.status) == (0, Status.CANCELLED), done.stderr
    assert ended.ended_at is not None
    assert ended.ended_at - asked_at < timedelta(seconds=5)


async def test_a_time_limit_ends_a_crew_that_is_blocked(kasal: Kasal, llm: ScriptedLlm) -> None:
    execution = kasal.executions.submit(crew("one", model=new_model(kasal, llm)), limits=Limits(timeout_s=1, grace_s=1))
    ended = await anyio.to_thread.run_sync(kasal.executions.wait, execution.id)
    assert (ended.status, ended.error and ended.error.code) == (Status.TIMED_OUT, "timeout")


async def test_a_killed_child_ends_its_attempt_and_the_worker_goes_on(kasal: Kasal, llm: ScriptedLlm) -> None:
    execution = kasal.executions.submit(crew("one", model=new_model(kasal, llm)))
    await llm.asked()
    os.kill(child_of(execution.id), signal.SIGKILL)
    ended = await anyio.to_thread.run_sync(kasal.executions.wait, execution.id)
    assert (ended.status, ended.error and ended.error.code) == (Status.FAILED, "child_crashed")
    after = kasal.executions.submit(crew("one"))
    assert (await anyio.to_thread.run_sync(kasal.executions.wait, after.id)).status is Status.SUCCEEDED


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Refuse(401), "key"),
        (Refuse(404), "model"),
        (Garbage(), "answer"),
    ],
    ids=["a refused key", "an unknown model", "garbage"],
)
async def test_a_model_that_fails_ends_the_execution_with_words_for_people(
    kasal: Kasal, answer: Refuse | Garbage, words: str
) -> None:
    async with ScriptedLlm(answer) as llm:
        model = new_model(kasal, llm)
        execution = kasal.executions.submit(crew("one", model=model))
        ended = await anyio.to_thread.run_sync(kasal.executions.wait, execution.id)
    assert ended.status is Status.FAILED
    assert ended.error is not None
    assert ended.error.code == "model_error"
    assert words in ended.error.message
    assert model in ended.error.message
    assert "Traceback" not in ended.error.message


async def test_what_was_done_before_a_failure_is_kept(kasal: Kasal) -> None:
    async with ScriptedLlm(Text("The first is done."), Refuse(401)) as llm:
        execution = kasal.executions.submit(crew("first", "second", model=new_model(kasal, llm)))
        ended = await anyio.to_thread.run_sync(kasal.executions.wait, execution.id)
    assert ended.result is not None
    assert [(task.key, task.status) for task in ended.result.tasks] == [("first", "completed"), ("second", "failed")]
    assert ended.result.tasks[0].output == "The first is done."


async def test_a_token_budget_ends_the_execution_and_keeps_what_was_done(kasal: Kasal) -> None:
    async with ScriptedLlm(
        Text("Done.", usage={"prompt_tokens": 60, "completion_tokens": 40, "total_tokens": 100})
    ) as llm:
        order = crew("first", "second", "third", model=new_model(kasal, llm))
        execution = kasal.executions.submit(order, limits=Limits(max_tokens=150))
        ended = await anyio.to_thread.run_sync(kasal.executions.wait, execution.id)
    assert (ended.status, ended.error and ended.error.code) == (Status.FAILED, "token_budget")
    assert len(llm.requests) == 2
    assert ended.result is not None
    assert ended.result.tasks[0].status == "completed"


def test_a_groups_maxima_cap_what_an_execution_asks_for(dev: Stack) -> None:
    with logged_in(dev.url) as kasal:
        kasal.configure({"limits": {"timeout_s": 50, "max_tokens": 10_000}})
        try:
            capped = kasal.executions.submit(crew("one"), limits=Limits(timeout_s=100)).limits
        finally:
            kasal.configure({"limits": {"timeout_s": None, "max_tokens": None}})
    assert (capped.timeout_s, capped.max_tokens) == (50, 10_000)
