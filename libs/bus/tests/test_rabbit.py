"""What only a broker can do: go away, come back, forget, and hold what nobody can read."""

import asyncio
import time
from contextlib import suppress
from datetime import timedelta

import aio_pika
import pytest
from kasal_bus import Bus, BusUnavailableError, Feed, Queue, open_rabbit
from kasal_bus.rabbit import bus as rabbit_bus
from kasal_bus.rabbit import feed as rabbit_feed
from kasal_bus.rabbit import intake
from kasal_bus.topology import LIVE
from kasal_contracts.messages import ExecutionJob
from kasal_testing.proxy import Proxy
from structlog.testing import capture_logs

from .conftest import Broker
from .recording import AT_ONCE, SOON, Recorder, job, jobs
from .test_topics import live


async def publish_until_heard(bus: Bus, feed: Feed, key: str) -> None:
    async with asyncio.timeout(SOON.total_seconds()):
        while await feed.next(AT_ONCE) != (key, live(key)):
            await bus.publish(LIVE, key, live(key))


async def until_generation_grows(feed: Feed, beyond: int) -> None:
    async with asyncio.timeout(SOON.total_seconds()):
        while feed.generation <= beyond:
            await feed.next(SOON)


async def send_until_confirmed(bus: Bus, queue: Queue, message: ExecutionJob) -> None:
    async with asyncio.timeout(15):
        while True:
            with suppress(BusUnavailableError):
                return await bus.send(queue, message)


async def test_a_consumer_recovers_from_a_cut_connection(broker: Broker, proxy: Proxy, queue: Queue) -> None:
    async with open_rabbit(proxy.url, prefix=broker.prefix) as bus:
        handler = Recorder()
        async with bus.consume(queue, handler):
            await bus.send(queue, job(1))
            await handler.until(1)
            await proxy.cut()
            await proxy.start()
            await bus.send(queue, job(2))
            await handler.until_all([job(2)])
    assert handler.messages[-1] == job(2)


async def test_a_feed_is_bound_again_after_a_cut_and_says_that_it_missed_something(
    broker: Broker, proxy: Proxy
) -> None:
    async with open_rabbit(proxy.url, prefix=broker.prefix) as bus, bus.listen(LIVE) as feed:
        for key in ("one", "two", "three"):
            await feed.bind(key)
        await feed.unbind("three")
        before = feed.generation
        await proxy.cut()
        await proxy.start()
        await until_generation_grows(feed, before)
        await publish_until_heard(bus, feed, "one")
        await publish_until_heard(bus, feed, "two")
        await bus.publish(LIVE, "three", live("three"))
        assert await feed.next(AT_ONCE) in (None, ("two", live("two")))


async def test_whatever_was_confirmed_around_an_outage_arrives(broker: Broker, proxy: Proxy, queue: Queue) -> None:
    handler = Recorder()
    async with open_rabbit(proxy.url, prefix=broker.prefix) as bus, bus.consume(queue, handler, batch=10):
        await bus.send(queue, job(0))
        sends = [asyncio.create_task(bus.send(queue, message)) for message in jobs(200)]
        await handler.until(5)
        await proxy.cut()
        sends += [asyncio.create_task(bus.send(queue, message)) for message in jobs(400)[200:]]
        await proxy.start()
        results = await asyncio.gather(*sends, return_exceptions=True)
        confirmed = [message for message, result in zip(jobs(400), results, strict=True) if result is None]
        assert all(result is None or isinstance(result, BusUnavailableError) for result in results)
        assert confirmed
        await handler.until_all(confirmed)


async def test_without_a_broker_a_send_raises_after_its_limit(
    broker: Broker, proxy: Proxy, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbit_bus, "SEND_LIMIT", timedelta(milliseconds=200))
    async with open_rabbit(proxy.url, prefix=broker.prefix) as bus:
        await proxy.cut()
        with pytest.raises(BusUnavailableError):
            await bus.send(queue, job())


async def test_without_a_broker_a_live_message_is_dropped_at_once_and_counted(broker: Broker, proxy: Proxy) -> None:
    async with open_rabbit(proxy.url, prefix=broker.prefix) as bus:
        await proxy.cut()
        started = time.monotonic()
        for _ in range(100):
            await bus.publish(LIVE, "one", live("one"))
        assert time.monotonic() - started < 1
        assert isinstance(bus, rabbit_bus.RabbitBus)
        assert bus.dropped >= 99


async def test_without_a_broker_binding_raises_after_its_limit(
    broker: Broker, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbit_feed, "BIND_LIMIT", timedelta(milliseconds=200))
    await proxy.cut()
    async with open_rabbit(proxy.url, prefix=broker.prefix) as bus, bus.listen(LIVE) as feed:
        with pytest.raises(BusUnavailableError):
            await feed.bind("one")
        assert feed.generation == 0


async def test_a_bus_opens_without_a_broker_and_starts_when_it_comes(
    broker: Broker, proxy: Proxy, queue: Queue
) -> None:
    handler = Recorder()
    await proxy.cut()
    async with open_rabbit(proxy.url, prefix=broker.prefix) as bus, bus.consume(queue, handler):
        with pytest.raises(BusUnavailableError):
            await bus.check()
        await proxy.start()
        await bus.send(queue, job())
        assert await handler.until(1) == [job()]
        async with bus.listen(LIVE) as feed:
            await feed.bind("one")
            await publish_until_heard(bus, feed, "one")
        await bus.check()


async def test_a_queue_that_is_deleted_under_its_consumer_comes_back(rabbit: Bus, broker: Broker, queue: Queue) -> None:
    handler = Recorder()
    async with rabbit.consume(queue, handler):
        await rabbit.send(queue, job(1))
        await handler.until(1)
        async with broker.channel() as channel:
            await channel.queue_delete(f"{broker.prefix}{queue.name}")
        await send_until_confirmed(rabbit, queue, job(2))
        await handler.until_all([job(2)])
    assert handler.messages[-1] == job(2)


async def test_a_send_to_a_queue_that_is_gone_raises_until_it_is_made_anew(
    rabbit: Bus, broker: Broker, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbit_bus, "REDECLARE_PAUSE", timedelta(milliseconds=50))
    await rabbit.send(queue, job(1))
    async with broker.channel() as channel:
        await channel.queue_delete(f"{broker.prefix}{queue.name}")
    with pytest.raises(BusUnavailableError, match="NO_ROUTE"):
        await rabbit.send(queue, job(2))
    await send_until_confirmed(rabbit, queue, job(3))
    handler = Recorder()
    async with rabbit.consume(queue, handler):
        assert await handler.until(1) == [job(3)]


async def test_a_consumer_that_the_broker_forgot_is_made_anew(
    rabbit: Bus, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "WATCH_INTERVAL", timedelta(milliseconds=50))
    handler, forgotten = Recorder(), asyncio.Event()

    async def start_and_be_forgotten(started: intake.Intake, *, no_ack: bool) -> None:
        monkeypatch.setattr(intake.Intake, "start", real_start)
        await real_start(started, no_ack=no_ack)
        await started.stop()
        forgotten.set()

    real_start = intake.Intake.start
    monkeypatch.setattr(intake.Intake, "start", start_and_be_forgotten)
    with capture_logs() as logs:
        async with rabbit.consume(queue, handler):
            await forgotten.wait()
            await rabbit.send(queue, job())
            assert await handler.until(1) == [job()]
    assert "the broker has no consumer" in [entry.get("reason") for entry in logs]


async def test_a_broker_that_falls_silent_is_left_for_one_that_answers(
    broker: Broker, proxy: Proxy, queue: Queue
) -> None:
    handler = Recorder()
    url = f"{proxy.url}?heartbeat=1"
    async with open_rabbit(url, prefix=broker.prefix) as bus, bus.consume(queue, handler):
        await bus.send(queue, job(1))
        await handler.until(1)
        proxy.freeze()
        with pytest.raises(BusUnavailableError, match="no answer"):
            await bus.check()
        await send_until_confirmed(bus, queue, job(2))
        await handler.until_all([job(2)])
    assert handler.messages[-1] == job(2)


@pytest.mark.parametrize("body", [b"not json", b'{"type": "execution.job.v9"}', b'{"type": "execution.job.v1"}'])
async def test_a_message_that_nobody_can_read_is_parked_without_showing_its_content(
    rabbit: Bus, broker: Broker, queue: Queue, body: bytes
) -> None:
    handler = Recorder()
    unreadable = aio_pika.Message(body + b" planted-secret", message_id="m1")
    await rabbit.send(queue, job(1))
    async with broker.channel() as channel:
        await channel.default_exchange.publish(unreadable, f"{broker.prefix}{queue.name}")
    await rabbit.send(queue, job(2))
    with capture_logs() as logs:
        async with rabbit.consume(queue, handler, batch=3):
            assert await handler.until(2) == [job(1), job(2)]
    assert [entry["message_id"] for entry in logs if entry["event"] == "message_unreadable"] == ["m1"]
    assert "planted-secret" not in repr(logs)
    async with broker.channel() as channel:
        await parked(channel, f"{broker.prefix}{queue.dead.name}", unreadable.body)


async def parked(channel: aio_pika.abc.AbstractChannel, dead_queue: str, body: bytes) -> None:
    """The dead letter is confirmed in the background, so it may take a moment."""
    queue = await channel.get_queue(dead_queue)
    async with asyncio.timeout(SOON.total_seconds()), queue.iterator() as letters:
        letter = await anext(letters)
        assert letter.body == body
        await letter.ack()


async def test_what_a_reader_of_a_dead_queue_cannot_read_stays_without_being_in_its_way(
    rabbit: Bus, broker: Broker, queue: Queue
) -> None:
    name = f"{broker.prefix}{queue.dead.name}"
    await rabbit.send(queue, job(1))
    unreadable = aio_pika.Message(b"not json", message_id="m1")
    async with broker.channel() as channel:
        await channel.default_exchange.publish(unreadable, name)
    failing, reader = Recorder(lambda _: ValueError("poison")), Recorder()
    async with rabbit.consume(queue, failing), rabbit.consume(queue.dead, reader):
        assert await reader.until(1) == [job(1)]
    async with broker.channel() as channel:
        await parked(channel, name, unreadable.body)


async def test_messages_carry_their_type_and_an_id_and_are_stored(rabbit: Bus, broker: Broker, queue: Queue) -> None:
    await rabbit.send(queue, job())
    async with broker.channel() as channel:
        message = await (await channel.get_queue(f"{broker.prefix}{queue.name}")).get()
    assert (message.type, message.content_type) == ("execution.job.v1", "application/json")
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert message.message_id
    assert ExecutionJob.model_validate_json(message.body) == job()


@pytest.mark.parametrize("refuses", ["nobody", "the broker"])
async def test_no_log_shows_the_password_of_the_broker(
    refuses: str, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    place = "127.0.0.1:1" if refuses == "nobody" else broker.url.rpartition("@")[2]
    with capture_logs() as logs:
        async with open_rabbit(f"amqp://kasal:planted-secret@{place}") as bus:
            with pytest.raises(BusUnavailableError) as raised:
                await bus.check()
    assert "broker_unreachable" in [entry["event"] for entry in logs]
    assert "planted-secret" not in repr(logs) + caplog.text + repr(raised.value)
