"""Messages and names that are out there for good."""

from pathlib import Path
from typing import get_args

import pytest
from kasal_bus import Bus, Queue
from kasal_bus.codec import UnreadableMessageError, decode, encode
from kasal_bus.topology import EVENTS, TOPICS, WORK_QUEUES, event_queue, group_key
from kasal_contracts.messages import Message

from .recording import Recorder

SAMPLES = sorted((Path(__file__).parent / "samples").glob("*.json"))


def test_every_message_type_has_a_sample() -> None:
    types = {message.model_fields["type"].default for message in get_args(Message)}
    assert types <= {sample.stem for sample in SAMPLES}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_a_sample_of_every_released_message_decodes_for_ever(sample: Path) -> None:
    message = decode(sample.read_bytes())
    assert message.type == sample.stem
    assert decode(encode(message)) == message


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
async def test_a_message_comes_out_of_the_bus_as_it_went_in(bus: Bus, queue: Queue, sample: Path) -> None:
    message = decode(sample.read_bytes())
    handler = Recorder()
    async with bus.consume(queue, handler):
        await bus.send(queue, message)
        assert await handler.until(1) == [message]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"\xff", b'{"type": "execution.job.v9", "execution_id": "planted"}']
)
def test_what_is_not_a_known_message_is_unreadable_and_stays_unshown(body: bytes) -> None:
    with pytest.raises(UnreadableMessageError) as raised:
        decode(body)
    assert "planted" not in repr(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("execution_id", "shard"),
    [("0b6f7c1e-5d1c-4b7e-9b1a-111111111111", 2), ("0b6f7c1e-5d1c-4b7e-9b1a-222222222222", 3), ("a", 3), ("b", 1)],
)
def test_an_execution_keeps_its_event_shard_for_ever(execution_id: str, shard: int) -> None:
    assert event_queue(execution_id) is EVENTS[shard]


def test_every_event_shard_is_used() -> None:
    assert {event_queue(f"execution-{number}") for number in range(100)} == set(EVENTS)


def test_topics_and_keys_keep_their_names() -> None:
    assert [topic.name for topic in TOPICS] == ["kasal.live.v1", "kasal.signals.v1"]
    assert group_key("g1") == "group.g1"


def test_queues_are_named_with_a_version_and_their_dead_queue_after_them() -> None:
    assert [queue.name for queue in WORK_QUEUES] == ["kasal.executions.v1", *(f"kasal.events.v1.{i}" for i in range(4))]
    assert {queue.dead.name for queue in WORK_QUEUES} == {f"{queue.name}.dead" for queue in WORK_QUEUES}
