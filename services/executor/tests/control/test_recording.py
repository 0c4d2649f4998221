"""What workers report, and what becomes of it."""

import asyncio

import pytest
from kasal_bus.topology import event_queue
from kasal_contracts.executions import ErrorCode, Status
from kasal_contracts.messages import AttemptEvents
from kasal_executor.control.announcements import Announcer
from kasal_executor.control.recorder import Recorder
from kasal_executor.tables import EarlyEvents
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from .stage import Stage, ended, event, events, succeeded

URL = "/api/v1/execution"


async def log_of(stage: Stage, execution_id: str) -> list[tuple[int, str]]:
    page = await stage.get(f"{URL}/{execution_id}/events")
    return [(each["id"], each["type"]) for each in page["items"]]


async def test_events_and_the_end_reach_watchers_and_the_log(stage: Stage) -> None:
    execution_id = await stage.submitted_and_claimed()
    async with stage.watching(execution_id) as ear:
        await stage.report(execution_id, events("task.started", "task.completed"), outcome=succeeded(2, "42"))
        final = await ear.event("execution.succeeded")

    seen = await stage.get(f"{URL}/{execution_id}")
    assert (seen["status"], seen["result"]["text"], seen["error"]) == ("succeeded", "42", None)
    assert seen["resource_usage"] == {"wall_s": 1.5, "cpu_s": 0.5, "max_rss_mb": 30.0}
    assert seen["ended_at"] is not None
    assert await log_of(stage, execution_id) == [
        (1, "execution.queued"),
        (2, "task.started"),
        (3, "task.completed"),
        (4, "execution.succeeded"),
    ]
    assert [each.id for each in ear.events] == [2, 3, 4]
    assert final.id == 4


async def test_a_group_hears_how_its_executions_end(stage: Stage) -> None:
    execution_id = await stage.submitted_and_claimed()
    async with stage.watching(f"group.{stage.group}") as ear:
        await stage.report(execution_id, outcome=succeeded(0))
        change = await ear.message()

    assert (change.type, change.execution_id, change.status) == ("state.changed.v1", execution_id, "succeeded")


async def test_duplicates_and_disorder_leave_a_log_without_gap_or_repeat(stage: Stage) -> None:
    execution_id = await stage.submitted_and_claimed()
    types = ["task.started", "agent.started", "llm.started", "llm.completed", "agent.completed", "task.completed"]
    numbered = events(*types)
    async with stage.watching(execution_id) as ear:
        await stage.report(execution_id, numbered[4:], outcome=succeeded(6))
        await stage.report(execution_id, numbered[2:4])
        await stage.report(execution_id, numbered[2:5])
        await stage.report(execution_id, numbered[:3])
        await stage.report(execution_id, numbered[:2])
        await ear.event("execution.succeeded")

    expected = ["execution.queued", *types, "execution.succeeded"]
    assert await log_of(stage, execution_id) == list(enumerate(expected, start=1))
    async with stage.database.system(read_only=True) as session:
        assert await session.scalar(select(func.count()).select_from(EarlyEvents)) == 0


async def test_an_outcome_waits_for_the_events_before_it(stage: Stage) -> None:
    execution_id = await stage.submitted_and_claimed()
    async with stage.watching(execution_id) as ear:
        await stage.report(execution_id, outcome=succeeded(2))
        await stage.report(execution_id, [event(1, "task.started")])
        await ear.event("task.started")
        assert (await stage.row(execution_id)).status == Status.RUNNING
        await stage.report(execution_id, [event(2, "task.completed")])
        await ear.event("execution.succeeded")

    assert (await stage.row(execution_id)).status == Status.SUCCEEDED


async def test_what_a_stale_attempt_reports_is_dropped(stage: Stage) -> None:
    execution_id = await stage.submitted_and_claimed()
    async with stage.watching(execution_id) as ear:
        await stage.report(execution_id, events("tool.started"), attempt=2, outcome=ended(Status.FAILED, 1, "x"))
        await stage.report(execution_id, events("task.started"), outcome=succeeded(1))
        await ear.event("execution.succeeded")

    types = [type_ for _, type_ in await log_of(stage, execution_id)]
    assert types == ["execution.queued", "task.started", "execution.succeeded"]


async def test_nothing_is_recorded_of_an_execution_that_nobody_claimed(stage: Stage) -> None:
    execution_id = await stage.submit()
    await stage.report(execution_id, events("tool.started"), outcome=succeeded(1))
    await after_all_reports(stage, execution_id)

    assert (await stage.row(execution_id)).status == Status.QUEUED
    assert await log_of(stage, execution_id) == [(1, "execution.queued")]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.FAILED, ErrorCode.MODEL_ERROR),
        (Status.TIMED_OUT, ErrorCode.TIMEOUT),
        (Status.CANCELLED, ErrorCode.CANCELLED),
    ],
)
async def test_an_end_state_never_changes(stage: Stage, status: Status, code: ErrorCode) -> None:
    execution_id = await stage.submitted_and_claimed()
    async with stage.watching(execution_id) as ear:
        await stage.report(execution_id, outcome=ended(status, 0, code))
        await ear.event(f"execution.{status}")
    await stage.report(execution_id, events("task.started"), outcome=succeeded(1))
    await after_all_reports(stage, execution_id)

    seen = await stage.get(f"{URL}/{execution_id}")
    assert (seen["status"], seen["error"]["code"]) == (status, code)
    assert [type_ for _, type_ in await log_of(stage, execution_id)] == ["execution.queued", f"execution.{status}"]


async def test_usage_grows_with_every_paid_call(stage: Stage) -> None:
    execution_id = await stage.submitted_and_claimed()
    paid = {"model": "demo/scripted", "input_tokens": 100, "output_tokens": 10, "cost_usd": 0.25}
    async with stage.watching(execution_id) as ear:
        await stage.report(
            execution_id,
            [
                event(1, "llm.completed", **paid),
                event(2, "llm.completed", **paid, replayed=False),
                event(3, "llm.completed", **paid, replayed=True),
            ],
        )
        await ear.event("llm.completed", count=3)

    usage = (await stage.get(f"{URL}/{execution_id}"))["usage"]
    assert usage == {"llm_calls": 2, "input_tokens": 200, "output_tokens": 20, "cost_usd": 0.5}


async def test_log_events_become_log_lines(stage: Stage) -> None:
    execution_id = await stage.submitted_and_claimed()
    async with stage.watching(execution_id) as ear:
        await stage.report(
            execution_id,
            [
                event(1, "log", level="INFO", message="Looked at 50% of it", logger="tools"),
                event(2, "log", level="warning", message="The rest is missing"),
                event(3, "log", level="info", message="Nothing else"),
            ],
        )
        await ear.event("log", count=3)

    lines = await stage.get(f"{URL}/{execution_id}/logs")
    warnings = await stage.get(f"{URL}/{execution_id}/logs?level=warning")
    found = await stage.get(f"{URL}/{execution_id}/logs?q=50%25 OF")
    first = await stage.get(f"{URL}/{execution_id}/logs?limit=2")
    rest = await stage.get(f"{URL}/{execution_id}/logs?cursor={first['next_cursor']}")
    assert [line["level"] for line in lines["items"]] == ["info", "warning", "info"]
    assert lines["items"][0]["context"] == {"logger": "tools"}
    assert [line["message"] for line in warnings["items"]] == ["The rest is missing"]
    assert [line["message"] for line in found["items"]] == ["Looked at 50% of it"]
    assert first["items"] + rest["items"] == lines["items"]


async def test_started_and_ended_operations_become_spans(stage: Stage) -> None:
    execution_id = await stage.submitted_and_claimed()
    async with stage.watching(execution_id) as ear:
        started = event(1, "task.started", task="first", span="a" * 16)
        await stage.report(execution_id, [started.model_copy(update={"parent_span_id": "r" * 16})])
        await ear.event("task.started")
        call = event(2, "llm.started", span="b" * 16, model="m").model_copy(update={"parent_span_id": "a" * 16})
        done = event(3, "llm.completed", span="b" * 16, model="m", duration_ms=120, output_tokens=7)
        tool = event(4, "tool.started", span="c" * 16, tool="calculator")
        await stage.report(execution_id, [call, done, tool])
        await stage.report(execution_id, [event(5, "task.completed", task="first", span="a" * 16)])
        await stage.report(execution_id, outcome=succeeded(5))
        await ear.event("execution.succeeded")

    trace = await stage.get(f"{URL}/{execution_id}/trace")
    spans = {span["operation"]: span for span in trace["items"]}
    assert {span["trace_id"] for span in trace["items"]} == {trace["trace_id"]}
    assert {name: span["status"] for name, span in spans.items()} == {
        "execution": "ok",
        "task first": "ok",
        "llm m": "ok",
        "tool calculator": "error",
    }
    assert spans["task first"]["parent_span_id"] == spans["execution"]["span_id"]
    assert spans["llm m"]["parent_span_id"] == spans["task first"]["span_id"]
    assert (spans["llm m"]["duration_ms"], spans["llm m"]["metadata"]["output_tokens"]) == (120, 7)
    assert all(span["duration_ms"] is not None for span in trace["items"])


async def test_text_that_a_database_refuses_does_not_stop_the_log(stage: Stage) -> None:
    execution_id = await stage.submitted_and_claimed()
    async with stage.watching(execution_id) as ear:
        await stage.report(execution_id, [event(2, "never\x00mind")], outcome=succeeded(2, "c\x00d"))
        await stage.report(
            execution_id,
            [
                event(1, "log", message="a\x00b", **{"k\x00": ["\x00", {"n": 1e308 * 10}]}),
                event(2, "t" * 100, span="s" * 40, task="k" * 100),
            ],
        )
        await ear.event("execution.succeeded")

    seen = await stage.get(f"{URL}/{execution_id}")
    assert (seen["status"], seen["result"]["text"]) == ("succeeded", "c\ufffdd")
    assert (await stage.get(f"{URL}/{execution_id}/logs"))["items"][0]["message"] == "a\ufffdb"


async def test_what_was_done_before_a_failure_is_kept(stage: Stage) -> None:
    execution_id = await stage.submitted_and_claimed()
    async with stage.watching(execution_id) as ear:
        await stage.report(
            execution_id,
            [
                event(1, "task.started", task="first", agent="writer"),
                event(2, "task.completed", task="first", output="half of it"),
                event(3, "task.started", task="second"),
            ],
            outcome=ended(Status.FAILED, 3, ErrorCode.CHILD_CRASHED),
        )
        await ear.event("execution.failed")

    seen = await stage.get(f"{URL}/{execution_id}")
    assert [(task["key"], task["status"], task["output"]) for task in seen["result"]["tasks"]] == [
        ("first", "completed", "half of it"),
        ("second", "pending", None),
    ]


async def test_large_batches_reach_watchers_in_parts_that_fit(stage: Stage) -> None:
    execution_id = await stage.submitted_and_claimed()
    text = "x" * 60_000
    async with stage.watching(execution_id) as ear:
        for first in (1, 4, 7):
            await stage.report(
                execution_id, events("tool.completed", "tool.completed", "tool.completed", first=first, output=text)
            )
        await ear.event("tool.completed", count=9)

    assert [each.id for each in ear.events] == list(range(2, 11))


async def after_all_reports(stage: Stage, execution_id: str) -> None:
    """Wait until what was reported before of `execution_id`'s shard has been handled: another one ends after it."""
    while True:
        other = await stage.submitted_and_claimed()
        if event_queue(other) == event_queue(execution_id):
            break
    async with stage.watching(other) as ear:
        await stage.report(other, outcome=succeeded(0))
        await ear.event("execution.succeeded")


async def test_a_batch_that_cannot_be_stored_harms_no_other_shard(stage: Stage) -> None:
    spoilt, sound = [await stage.submitted_and_claimed() for _ in range(2)]
    recorder = Recorder(stage.database, Announcer(stage.bus, asyncio.Event()))
    too_far = AttemptEvents(execution_id=spoilt, attempt=1, events=[event(2**70, "task.started")])
    fine = AttemptEvents(execution_id=sound, attempt=1, events=[], outcome=succeeded(0))
    # The first is being written while the others come, so that they share a transaction.
    first, bad, good = await asyncio.gather(
        *(recorder.record([message]) for message in (fine, too_far, fine)), return_exceptions=True
    )

    assert (first, good) == (None, None)
    assert isinstance(bad, SQLAlchemyError | OverflowError)
    assert (await stage.row(sound)).status == Status.SUCCEEDED
    assert (await stage.row(spoilt)).status == Status.RUNNING
