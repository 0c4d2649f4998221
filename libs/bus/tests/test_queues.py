"""What every bus promises about queues, on each of them."""

import asyncio
from datetime import timedelta

import pytest
from kasal_bus import MAX_MESSAGE_BYTES, Batch, Bus, MessageTooLargeError, Queue, RetryLater, consumer
from kasal_contracts.messages import ExecutionJob

from .conftest import Names
from .recording import Recorder, Slots, Stuck, job, jobs


async def test_what_was_sent_is_handled(bus: Bus, queue: Queue) -> None:
    handler = Recorder()
    async with bus.consume(queue, handler):
        await bus.send(queue, job())
        assert await handler.until(1) == [job()]


async def test_what_was_sent_before_anybody_consumed_is_kept_in_order(bus: Bus, queue: Queue) -> None:
    for message in jobs(10):
        await bus.send(queue, message)
    handler = Recorder()
    async with bus.consume(queue, handler):
        assert await handler.until(10) == jobs(10)


async def test_messages_that_are_there_at_once_come_in_batches_up_to_the_limit(bus: Bus, queue: Queue) -> None:
    for message in jobs(30):
        await bus.send(queue, message)
    handler = Recorder()
    async with bus.consume(queue, handler, batch=10):
        assert await handler.until(30) == jobs(30)
    assert len(handler.calls) < 30
    assert max(len(call) for call in handler.calls) <= 10


async def test_a_handler_is_called_once_at_a_time(bus: Bus, queue: Queue) -> None:
    stuck, handled = Stuck(), Recorder()
    stuck.release.set()

    async def both(messages: Batch) -> None:
        await stuck(messages)
        await asyncio.to_thread(lambda: None)
        await handled(messages)

    async with bus.consume(queue, both):
        await asyncio.gather(*(bus.send(queue, message) for message in jobs(10)))
        await handled.until(10)
    assert stuck.most_running == 1


async def test_a_message_is_acknowledged_once_its_handler_returned(bus: Bus, queue: Queue) -> None:
    first, second = Recorder(), Recorder()
    async with bus.consume(queue, first):
        await bus.send(queue, job(1))
        await first.until(1)
    async with bus.consume(queue, second):
        await bus.send(queue, job(2))
        assert await second.until(1) == [job(2)]


async def test_a_message_whose_handler_failed_comes_again(bus: Bus, queue: Queue) -> None:
    handler = Recorder(lambda _: ValueError("not today") if len(handler.calls) == 1 else None)
    async with bus.consume(queue, handler):
        await bus.send(queue, job())
        assert await handler.until(2) == [job(), job()]


async def test_a_poisonous_message_is_tried_up_to_the_limit_and_then_parked(bus: Bus, queue: Queue) -> None:
    handler, parked = Recorder(lambda _: ValueError("poison")), Recorder()
    await bus.send(queue, job())
    async with bus.consume(queue, handler), bus.consume(queue.dead, parked):
        assert await parked.until(1) == [job()]
    assert len(handler.calls) == queue.delivery_limit


async def test_the_consumer_survives_a_poisonous_message(bus: Bus, queue: Queue) -> None:
    handler = Recorder(lambda messages: ValueError("poison") if messages == [job(1)] else None)
    async with bus.consume(queue, handler):
        await bus.send(queue, job(1))
        await bus.send(queue, job(2))
        await handler.until(queue.delivery_limit + 1)
    assert handler.messages[-1] == job(2)


async def test_a_poisonous_message_takes_none_of_its_batch_with_it(bus: Bus, ordered: Queue) -> None:
    handled, parked = Recorder(), Recorder()

    async def handler(messages: Batch) -> None:
        if job(3) in messages:
            raise ValueError("poison")
        await handled(messages)

    for message in jobs(6):
        await bus.send(ordered, message)
    async with bus.consume(ordered, handler, batch=6), bus.consume(ordered.dead, parked):
        assert await handled.until(5) == [job(1), job(2), job(4), job(5), job(6)]
        assert await parked.until(1) == [job(3)]


async def test_a_failed_batch_comes_again_in_order(bus: Bus, ordered: Queue) -> None:
    handler = Recorder(lambda _: ValueError("once") if len(handler.calls) == 1 else None)
    for message in jobs(20):
        await bus.send(ordered, message)
    async with bus.consume(ordered, handler, batch=5):
        await handler.until(20 + 1)
        failed = len(handler.calls[0])
        assert (await handler.until(20 + failed))[failed:] == jobs(20)


async def test_a_dead_queue_keeps_what_its_reader_cannot_handle(bus: Bus, names: Names) -> None:
    queue = names.queue(delivery_limit=1)
    failing, reader = Recorder(lambda _: ValueError("poison")), Recorder()
    dead_failing = Recorder(lambda _: ValueError("still poison"))
    await bus.send(queue, job())
    async with bus.consume(queue, failing), bus.consume(queue.dead, dead_failing):
        await dead_failing.until(3)
    async with bus.consume(queue.dead, reader):
        assert await reader.until(1) == [job()]


async def test_a_handler_that_asks_for_a_later_call_keeps_its_messages_and_uses_up_no_tries(
    bus: Bus, names: Names
) -> None:
    queue = names.queue(delivery_limit=1)
    later = RetryLater(timedelta(milliseconds=5))
    handler, parked = Recorder(lambda _: later if len(handler.calls) < 5 else None), Recorder()
    async with bus.consume(queue, handler):
        await bus.send(queue, job(1))
        assert await handler.until(5) == [job(1)] * 5
        await bus.send(queue, job(2))
        assert (await handler.until(6))[5:] == [job(2)]
    async with bus.consume(queue.dead, parked):
        assert parked.calls == []


async def test_a_consumer_that_closes_while_it_waits_gives_its_messages_back(bus: Bus, queue: Queue) -> None:
    waiting, handler = Recorder(lambda _: RetryLater(timedelta(hours=1))), Recorder()
    async with bus.consume(queue, waiting):
        await bus.send(queue, job())
        await waiting.until(1)
    async with bus.consume(queue, handler):
        assert await handler.until(1) == [job()]


async def test_leaving_waits_for_the_handler_in_flight(bus: Bus, queue: Queue) -> None:
    stuck, handler = Stuck(), Recorder()
    async with bus.consume(queue, stuck):
        await bus.send(queue, job(1))
        await stuck.started.wait()
        asyncio.get_running_loop().call_later(0.05, stuck.release.set)
    assert stuck.finished == 1
    async with bus.consume(queue, handler):
        await bus.send(queue, job(2))
        assert await handler.until(1) == [job(2)]


async def test_leaving_gives_up_on_a_handler_that_does_not_end(
    bus: Bus, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "CLOSE_LIMIT", timedelta(milliseconds=50))
    stuck, handler = Stuck(), Recorder()
    async with bus.consume(queue, stuck):
        await bus.send(queue, job())
        await stuck.started.wait()
    assert stuck.finished == stuck.running == 0
    async with bus.consume(queue, handler):
        assert await handler.until(1) == [job()]


async def test_leaving_returns_what_was_not_handled(bus: Bus, queue: Queue) -> None:
    for message in jobs(5):
        await bus.send(queue, message)
    stuck, handler = Stuck(), Recorder()
    async with bus.consume(queue, stuck):
        await stuck.started.wait()
        stuck.release.set()
    async with bus.consume(queue, handler):
        rest = jobs(5)[stuck.finished :]
        assert await handler.until(len(rest)) == rest


async def test_two_consumers_share_a_queue(bus: Bus, queue: Queue) -> None:
    one, two = Stuck(), Stuck()
    async with bus.consume(queue, one), bus.consume(queue, two):
        await bus.send(queue, job(1))
        await bus.send(queue, job(2))
        async with asyncio.timeout(5):
            await one.started.wait()
            await two.started.wait()
        assert one.running == two.running == 1
        one.release.set()
        two.release.set()


async def test_one_consumer_at_a_time_receives_from_a_queue_with_a_single_active_one(bus: Bus, ordered: Queue) -> None:
    first, second = Recorder(), Recorder()
    async with bus.consume(ordered, first):
        await bus.send(ordered, job(1))
        await first.until(1)
        async with bus.consume(ordered, second):
            for message in jobs(5)[1:]:
                await bus.send(ordered, message)
            assert await first.until(5) == jobs(5)
            assert second.calls == []


async def test_the_next_consumer_takes_over_when_the_active_one_leaves(bus: Bus, ordered: Queue) -> None:
    first, second = Recorder(), Recorder()
    async with bus.consume(ordered, first):
        await bus.send(ordered, job(1))
        await first.until(1)
        takeover = bus.consume(ordered, second)
        await takeover.__aenter__()
    try:
        await bus.send(ordered, job(2))
        assert await second.until(1) == [job(2)]
    finally:
        await takeover.__aexit__(None, None, None)


async def test_a_consumer_whose_gate_is_shut_leaves_the_next_message_to_others(bus: Bus, queue: Queue) -> None:
    for message in jobs(3):
        await bus.send(queue, message)
    slots, busy, free = Slots(1), Recorder(), Recorder()

    async def take_a_slot(messages: Batch) -> None:
        slots.take()
        await busy(messages)

    async with bus.consume(queue, take_a_slot, gate=slots):
        await busy.until(1)
        async with bus.consume(queue, free):
            assert await free.until(2) == [job(2), job(3)]
    assert busy.messages == [job(1)]


async def test_a_consumer_takes_more_when_its_gate_opens_again(bus: Bus, queue: Queue) -> None:
    for message in jobs(3):
        await bus.send(queue, message)
    slots, handler = Slots(1), Recorder()

    async def take_a_slot(messages: Batch) -> None:
        slots.take()
        await handler(messages)

    async with bus.consume(queue, take_a_slot, gate=slots):
        for number in range(1, 4):
            assert await handler.until(number) == jobs(number)
            slots.free()


async def test_a_message_over_the_limit_is_refused(bus: Bus, queue: Queue) -> None:
    huge = ExecutionJob(execution_id="x" * MAX_MESSAGE_BYTES, attempt=1, group_id="group-1")
    handler = Recorder()
    with pytest.raises(MessageTooLargeError, match=r"execution\.job\.v1 of \d+ bytes is over the limit"):
        await bus.send(queue, huge)
    async with bus.consume(queue, handler):
        await bus.send(queue, job())
        assert await handler.until(1) == [job()]


async def test_a_message_just_under_the_limit_arrives(bus: Bus, queue: Queue) -> None:
    large = ExecutionJob(execution_id="x" * (MAX_MESSAGE_BYTES - 200), attempt=1, group_id="group-1")
    handler = Recorder()
    async with bus.consume(queue, handler):
        await bus.send(queue, large)
        assert await handler.until(1) == [large]


async def test_a_bus_that_works_passes_its_check(bus: Bus) -> None:
    async with asyncio.timeout(1):
        await bus.check()
