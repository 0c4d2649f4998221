"""A worker at work: real messages, a real database, real children that run CrewAI."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from time import monotonic

import pytest
import pytest_asyncio
from kasal_bus import Bus, open_memory, open_rabbit
from kasal_bus.topology import EXECUTIONS, LIVE, NUDGE_KEY, SIGNALS
from kasal_contracts.executions import Status
from kasal_contracts.messages import LiveEvents, Nudge
from kasal_contracts.models import Provider
from kasal_db import db_now
from kasal_executor.worker.holdings import StopReason
from kasal_testing.queues import own_queues
from kasal_testing.scripted_llm import Garbage, Hang, ScriptedLlm, Seen, Text, ToolCall

from .benches import Bench, open_bench
from .callers import KEY
from .orders import model, order, row_of, snapshot

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOON = timedelta(seconds=10)
DEMO = model(Provider.DEMO, alias="demo/scripted")


@pytest.fixture(scope="module")
def new_bus(kind: str, request: pytest.FixtureRequest) -> Iterator[AbstractAsyncContextManager[Bus]]:
    if kind == "embedded":
        yield open_memory()
        return
    url = request.getfixturevalue("amqp_url")
    with own_queues(url) as prefix:
        yield open_rabbit(url, prefix=prefix)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(
    migrated_url: str, new_bus: AbstractAsyncContextManager[Bus], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Bench]:
    """One for all tests of a kind: it takes seconds to warm up."""
    async with (
        new_bus as bus,
        open_bench(tmp_path_factory.mktemp("w"), migrated_url, bus) as opened,
    ):
        yield opened


async def test_an_execution_runs_from_its_job_to_its_outcome(bench: Bench) -> None:
    async with bench.bus.listen(SIGNALS) as signals:
        await signals.bind(NUDGE_KEY)
        told, outcome = await bench.run(snapshot(DEMO, tasks=2))
        nudge = await signals.next(SOON)

    assert outcome.status == Status.SUCCEEDED
    assert outcome.child.result is not None
    assert [task.status for task in outcome.child.result.tasks] == ["completed", "completed"]
    assert str(outcome.child.result.text).startswith("[demo] ")
    seqs = [event.seq for message in told.messages for event in message.events]
    assert seqs == list(range(1, outcome.last_seq + 1))
    assert told.types.count("task.completed") == 2
    assert told.types.count("llm.completed") == 2
    assert outcome.resources.wall_s is not None
    assert outcome.resources.max_rss_mb is not None
    assert nudge is not None
    assert isinstance(nudge[1], Nudge)


async def test_chunks_are_shown_live_and_their_whole_is_recorded(bench: Bench) -> None:
    async with ScriptedLlm(Text("one two three four", pause_s=0.1)) as llm, bench.bus.listen(LIVE) as live:
        job = await order(bench.database, snapshot(model(base_url=llm.url)))
        await live.bind(job.execution_id)
        await bench.bus.send(EXECUTIONS, job)
        told, _ = await bench.end(job)
        shown = []
        while (heard := await live.next(timedelta(milliseconds=100))) is not None:
            assert isinstance(heard[1], LiveEvents)
            shown += heard[1].events

    chunks = [event for event in shown if event.type == "llm.chunk"]
    assert len(chunks) >= 2
    assert "".join(str(chunk.data["text"]) for chunk in chunks) == "one two three four"
    assert {chunk.id for chunk in chunks} == {None}
    assert "llm.chunk" not in told.types


async def test_a_cancel_ends_a_blocked_crew_within_its_grace_and_keeps_what_was_done(bench: Bench) -> None:
    def script(seen: Seen) -> Text | Hang:
        return Hang() if "Write text 2" in str(seen.body["messages"][-1]) else Text("First.")

    async with ScriptedLlm(script=script) as llm:
        job = await bench.start(snapshot(model(base_url=llm.url), tasks=2), grace_s=5)
        await llm.asked(2)
        asked_at = monotonic()
        await bench.cancel(job)
        _, outcome = await bench.end(job)
        took_s = monotonic() - asked_at
        async with asyncio.timeout(5):
            await llm.gone.wait()

    assert took_s < 5
    assert outcome.status == Status.CANCELLED
    assert outcome.child.error is not None
    assert outcome.child.error.code == "cancelled"
    assert outcome.child.result is not None
    assert outcome.child.result.tasks[0].output == "First."
    assert outcome.child.result.tasks[1].output is None


async def test_a_cancel_that_only_the_database_knows_is_found(bench: Bench) -> None:
    async with ScriptedLlm(Hang()) as llm:
        job = await bench.start(snapshot(model(base_url=llm.url)))
        await llm.asked()
        await bench.change(job, cancel_asked_at=db_now())
        _, outcome = await bench.end(job)

    assert outcome.status == Status.CANCELLED


async def test_an_execution_that_takes_too_long_is_stopped(bench: Bench) -> None:
    async with ScriptedLlm(Hang()) as llm:
        _, outcome = await bench.run(snapshot(model(base_url=llm.url)), timeout_s=1)

    assert outcome.status == Status.TIMED_OUT
    assert outcome.child.error is not None
    assert outcome.child.error.message == "The execution took longer than its limit of 1 s."


async def test_a_child_that_crashes_fails_its_attempt_and_nothing_else(bench: Bench) -> None:
    async with ScriptedLlm(ToolCall("test_crash", {"signal": 11})) as llm:
        crashing, healthy = await asyncio.gather(
            bench.run(snapshot(model(base_url=llm.url), tools=("test_crash",))),
            bench.run(snapshot(DEMO)),
        )

    _, crashed = crashing
    assert crashed.status == Status.FAILED
    assert crashed.child.error is not None
    assert crashed.child.error.code == "child_crashed"
    assert "SIGSEGV" in crashed.child.error.message
    assert healthy[1].status == Status.SUCCEEDED
    assert (await bench.run(snapshot(DEMO)))[1].status == Status.SUCCEEDED


async def test_a_child_that_takes_too_much_memory_is_stopped(bench: Bench) -> None:
    def script(seen: Seen) -> ToolCall:
        used = any(message["role"] == "tool" for message in seen.body["messages"])
        return ToolCall("test_sleep", {"seconds": 20}) if used else ToolCall("test_allocate", {"mib": 300})

    async with ScriptedLlm(script=script) as llm:
        made = snapshot(model(base_url=llm.url), tools=("test_allocate", "test_sleep"))
        _, outcome = await bench.run(made, memory_mb=64)

    assert outcome.child.error is not None
    assert outcome.child.error.code == "memory_limit"


async def test_a_model_that_answers_garbage_ends_the_execution_with_a_sentence(bench: Bench) -> None:
    async with ScriptedLlm(Garbage()) as llm:
        _, outcome = await bench.run(snapshot(model(alias="my model", base_url=llm.url)))

    assert outcome.status == Status.FAILED
    assert outcome.child.error is not None
    assert outcome.child.error.code == "model_error"
    assert "“my model” gave an answer that cannot be read" in outcome.child.error.message


async def test_no_more_is_claimed_than_there_are_slots(bench: Bench) -> None:
    async with ScriptedLlm(Hang()) as llm:
        made = snapshot(model(base_url=llm.url))
        jobs = [await bench.start(made) for _ in range(5)]
        await llm.asked(3)
        statuses = [await bench.status_of(job) for job in jobs]
        assert sorted(statuses) == [Status.QUEUED] * 2 + [Status.RUNNING] * 3
        for job in jobs:
            if await bench.status_of(job) == Status.RUNNING:
                await bench.cancel(job)
        await llm.asked(5)
        await asyncio.gather(*(bench.cancel(job) for job in jobs))
        ends = [outcome.status for _, outcome in await asyncio.gather(*map(bench.end, jobs))]

    assert ends == [Status.CANCELLED] * 5


async def test_an_attempt_that_was_lost_says_nothing_more(bench: Bench) -> None:
    async with ScriptedLlm(Hang()) as llm:
        job = await bench.start(snapshot(model(base_url=llm.url)))
        await llm.asked()
        [hold] = [each for each in bench.worker.holdings if each.claim.execution_id == job.execution_id]
        await bench.change(job, status=Status.QUEUED, attempt=2, worker_id=None)
        async with asyncio.timeout(10):
            await llm.gone.wait()
            await bench.worker.holdings.idle()

    assert hold.reason == StopReason.LEASE_LOST
    assert bench.told[job.execution_id].outcome is None
    assert await bench.status_of(job) == Status.QUEUED


async def test_a_providers_key_is_in_no_message_event_row_or_log_line(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    bench.desks.keys["OPENAI_API_KEY"] = KEY

    def script(seen: Seen) -> Text:
        return Text(f"Your headers were {sorted(seen.headers)}")

    async with ScriptedLlm(script=script) as llm:
        job = await bench.start(snapshot(model(Provider.OPENAI, base_url=llm.url)))
        told, outcome = await bench.end(job)
        assert llm.requests[0].headers["Authorization"] == f"Bearer {KEY}"

    row = await row_of(bench.database, job.execution_id)
    printed = "".join(capfd.readouterr())
    everything = [*(message.model_dump_json() for message in told.messages), str(vars(row)), printed]
    assert outcome.status == Status.SUCCEEDED
    assert not any(KEY in text for text in everything)


async def test_a_worker_that_drains_hands_back_what_does_not_end(bench: Bench) -> None:
    async with ScriptedLlm(Hang()) as llm:
        job = await bench.start(snapshot(model(base_url=llm.url)), grace_s=1)
        await llm.asked()
        await bench.worker.drain(0)
        row = await row_of(bench.database, job.execution_id)

    assert (row.status, row.attempt, row.worker_id) == (Status.QUEUED, 2, None)
    assert bench.told[job.execution_id].outcome is None
    assert bench.worker.holdings.running == 0
