"""The way of events from a child to the recorder's queue."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from kasal_bus import Batch, Bus, BusUnavailableError, Queue
from kasal_bus.topology import LIVE, event_queue
from kasal_contracts.events import ChildEvent, EventType
from kasal_contracts.executions import ChildOutcome, Result, Status, TaskResult
from kasal_contracts.ids import new_id
from kasal_contracts.messages import AttemptEvents, AttemptOutcome, LiveEvents, Message
from kasal_executor.worker.event_stream import EventStream
from kasal_executor.worker.sizes import fitted_result

LIMIT_S = 10


class Recorded:
    """What the recorder would get."""

    def __init__(self) -> None:
        self.messages: list[AttemptEvents] = []
        self.ended = asyncio.Event()

    async def note(self, batch: Batch) -> None:
        for message in batch:
            assert isinstance(message, AttemptEvents)
            self.messages.append(message)
            if message.outcome is not None:
                self.ended.set()

    @property
    def seqs(self) -> list[int]:
        return [event.seq for message in self.messages for event in message.events]


@asynccontextmanager
async def recording(bus: Bus, execution_id: str) -> AsyncIterator[Recorded]:
    recorded = Recorded()
    async with bus.consume(event_queue(execution_id), recorded.note):
        yield recorded
        async with asyncio.timeout(LIMIT_S):
            await recorded.ended.wait()


def event(type_: str = EventType.LOG, **data: str) -> ChildEvent:
    return ChildEvent(ts=datetime.now(UTC), type=type_, data=dict(data))


def end(stream: EventStream) -> AttemptOutcome:
    return AttemptOutcome(status=Status.SUCCEEDED, last_seq=stream.last_seq, child=ChildOutcome(result=Result()))


async def test_events_arrive_numbered_without_gaps_and_the_outcome_last(bus: Bus) -> None:
    execution_id = new_id()
    async with recording(bus, execution_id) as recorded:
        stream = EventStream(bus, execution_id, 3)
        async with stream.sending():
            for number in range(500):
                await stream.put(event(message=str(number)))
            assert await stream.end(end(stream))

    assert recorded.seqs == list(range(1, 501))
    assert [message.attempt for message in recorded.messages] == [3] * len(recorded.messages)
    assert len(recorded.messages) < 300
    last = recorded.messages[-1].outcome
    assert last is not None
    assert last.last_seq == 500


async def test_an_event_that_is_too_large_is_cut_and_says_so(bus: Bus) -> None:
    execution_id = new_id()
    async with recording(bus, execution_id) as recorded:
        stream = EventStream(bus, execution_id, 1)
        async with stream.sending():
            await stream.put(event(message="ä" * 2_000_000, level="info"))
            await stream.put(event(message="small"))
            await stream.end(end(stream))

    large, small = [each for message in recorded.messages for each in message.events]
    assert large.data["truncated"] is True
    assert "2000000 characters in all" in str(large.data["message"])
    assert large.data["level"] == "info"
    assert small.data == {"message": "small"}


async def test_chunks_of_an_answer_go_to_those_who_watch_and_nowhere_else(bus: Bus) -> None:
    execution_id = new_id()
    async with recording(bus, execution_id) as recorded, bus.listen(LIVE) as feed:
        await feed.bind(execution_id)
        stream = EventStream(bus, execution_id, 1)
        async with stream.sending():
            await stream.put(event(EventType.LLM_CHUNK, text="Par"))
            await stream.put(event(EventType.LLM_COMPLETED, text="Paris"))
            heard = await feed.next(timedelta(seconds=LIMIT_S))
            await stream.end(end(stream))

    assert heard is not None
    assert isinstance(heard[1], LiveEvents)
    assert [(chunk.id, chunk.data) for chunk in heard[1].events] == [(None, {"text": "Par"})]
    assert [each.type for message in recorded.messages for each in message.events] == [EventType.LLM_COMPLETED]


class Flaky:
    """A bus whose broker is away until `back` is set."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.back = asyncio.Event()
        self.refused = asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._bus, name)

    async def send(self, queue: Queue, message: Message) -> None:
        if not self.back.is_set():
            self.refused.set()
            raise BusUnavailableError("the broker is away")
        await self._bus.send(queue, message)


async def test_an_outage_of_the_broker_delays_events_but_loses_and_reorders_none(bus: Bus) -> None:
    execution_id = new_id()
    flaky = Flaky(bus)
    async with recording(bus, execution_id) as recorded:
        stream = EventStream(flaky, execution_id, 1)  # type: ignore[arg-type]
        async with stream.sending():
            for number in range(100):
                await stream.put(event(message=str(number)))
            async with asyncio.timeout(LIMIT_S):
                await flaky.refused.wait()
            flaky.back.set()
            await stream.end(end(stream))

    assert recorded.seqs == list(range(1, 101))


async def test_a_child_waits_while_too_much_is_unsent(bus: Bus) -> None:
    execution_id = new_id()
    flaky = Flaky(bus)
    async with recording(bus, execution_id) as recorded:
        stream = EventStream(flaky, execution_id, 1)  # type: ignore[arg-type]
        async with stream.sending():
            putting = asyncio.create_task(_put_many(stream, 100))
            async with asyncio.timeout(LIMIT_S):
                await flaky.refused.wait()
            assert not putting.done()
            kept = stream.last_seq
            flaky.back.set()
            await putting
            await stream.end(end(stream))

    assert kept < 60
    assert recorded.seqs == list(range(1, 101))


async def _put_many(stream: EventStream, count: int) -> None:
    for _ in range(count):
        await stream.put(event(message="x" * 100_000))


def test_a_result_that_is_too_large_keeps_the_start_of_every_text() -> None:
    tasks = [TaskResult(key=f"t{n}", status="completed", output=f"{n} " + "long " * 50_000) for n in range(4)]

    small = fitted_result(Result(text=tasks[-1].output, tasks=tasks))

    assert len(small.model_dump_json()) < 200_000
    assert [str(task.output)[:6] for task in small.tasks] == ["0 long", "1 long", "2 long", "3 long"]
    assert "250002 characters in all" in str(small.text)
    assert fitted_result(Result(text="short", tasks=tasks[:0])) == Result(text="short")
