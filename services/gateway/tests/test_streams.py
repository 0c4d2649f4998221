"""Server-sent events: every event once and in order, whatever is cut, lost or slow."""

import asyncio
import socket
from contextlib import AsyncExitStack

import httpx
from kasal_bus import Bus, open_rabbit
from kasal_bus.topology import LIVE, group_key
from kasal_contracts.executions import Status
from kasal_contracts.messages import StateChanged
from kasal_contracts.wire import Timestamp
from kasal_testing.proxy import Proxy
from pydantic import TypeAdapter

from .conftest import Gateways
from .stand_ins import Auth, Executor
from .watching import watching

NOON = TypeAdapter(Timestamp).validate_python("2026-01-31T12:00:00Z")


async def test_three_cuts_and_resumes_from_another_replica_lose_and_repeat_nothing(
    any_bus: Bus, gateways: Gateways, executor: Executor
) -> None:
    assert executor.bus is any_bus
    seen: list[int] = []
    async with gateways() as one, gateways() as other:
        await executor.happens("execution.queued", "execution.started")
        for number, replica in enumerate((one, other, one, other)):
            async with watching(replica, executor.id, last=seen[-1] if seen else None) as watcher:
                await watcher.take(2)
                await executor.happens("task.started")
                await watcher.take(1)
                if number == 3:
                    await executor.happens("task.completed", "execution.succeeded")
                    await watcher.rest()
                seen += watcher.ids
            # Nobody watches now; what happens meanwhile is in the log alone.
            if number < 3:
                await executor.happens("tool.started", "tool.completed")
    assert seen == list(range(1, len(executor.log) + 1))


async def test_frames_carry_id_type_and_the_whole_event(client: httpx.AsyncClient, executor: Executor) -> None:
    await executor.happens("execution.queued", "execution.succeeded", text="two\nlines")
    answer = await client.get(f"/api/v1/execution/{executor.id}/stream")
    expected = "".join(
        f"id: {event.id}\nevent: {event.type}\ndata: {event.model_dump_json()}\n\n" for event in executor.log
    )
    assert answer.text == expected
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")


async def test_a_long_log_is_replayed_page_by_page(client: httpx.AsyncClient, executor: Executor) -> None:
    await executor.happens(*["log"] * 450, "execution.succeeded", heard=False)
    async with watching(client, executor.id) as watcher:
        await watcher.rest()
    assert watcher.ids == list(range(1, 452))
    assert executor.reads == [0, 200, 400]


async def test_after_the_final_event_the_answer_is_204(client: httpx.AsyncClient, executor: Executor) -> None:
    await executor.happens("execution.queued", "execution.failed")
    for last in (2, 3, 99, 10**17):
        path = f"/api/v1/execution/{executor.id}/stream"
        assert (await client.get(path, headers={"Last-Event-ID": str(last)})).status_code == 204
        assert (await client.get(path, params={"after": last})).status_code == 204
    assert (await client.get(path, params={"after": 1})).status_code == 200


async def test_the_header_goes_before_the_query_and_nonsense_is_422(
    client: httpx.AsyncClient, executor: Executor
) -> None:
    await executor.happens("execution.queued", "execution.failed")
    path = f"/api/v1/execution/{executor.id}/stream"
    assert (await client.get(path, params={"after": 0}, headers={"Last-Event-ID": "2"})).status_code == 204
    for nonsense in ("-1", "x", "1.5", "9" * 30):
        answer = await client.get(path, params={"after": nonsense})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["loc"] == ["query", "after"]


async def test_an_execution_of_another_group_is_404_before_the_stream_begins(
    client: httpx.AsyncClient, executor: Executor
) -> None:
    await executor.happens("execution.queued")
    path = f"/api/v1/execution/{executor.id}/stream"
    foreign = await client.get(path, headers={"X-Group-ID": "other"})
    assert foreign.status_code == 404
    assert foreign.headers["content-type"] == "application/problem+json"
    assert (await client.get("/api/v1/execution/unknown/stream")).status_code == 404


async def test_chunks_are_live_and_carry_no_id(client: httpx.AsyncClient, executor: Executor) -> None:
    await executor.happens("execution.queued")
    async with watching(client, executor.id) as watcher:
        await watcher.take(1)
        await executor.tell(executor.event("llm.chunk", text="Hel"), executor.event("llm.chunk", text="lo"))
        chunks = await watcher.take(2)
        await executor.happens("execution.succeeded")
        final = await watcher.rest()
    assert [chunk.json()["data"]["text"] for chunk in chunks] == ["Hel", "lo"]
    assert {chunk.json()["id"] for chunk in chunks} == {None}
    assert [event.id for event in final] == ["2"]


async def test_an_event_that_the_broker_lost_is_read_from_the_log_with_the_next(
    client: httpx.AsyncClient, executor: Executor
) -> None:
    await executor.happens("execution.queued")
    async with watching(client, executor.id) as watcher:
        await watcher.take(1)
        await executor.happens("task.started", "task.completed", heard=False)
        await executor.happens("execution.succeeded")
        await watcher.rest()
    assert watcher.ids == [1, 2, 3, 4]


async def test_after_the_broker_was_away_the_log_is_read_without_waiting_for_the_next_event(
    gateways: Gateways, executor: Executor, amqp_url: str, prefix: str
) -> None:
    proxy = Proxy(amqp_url)
    await proxy.start()
    await executor.happens("execution.queued")
    async with (
        open_rabbit(proxy.url, prefix=prefix) as cut_bus,
        gateways(on=cut_bus) as client,
        watching(client, executor.id) as watcher,
    ):
        await watcher.take(1)
        await proxy.cut()
        await executor.happens("task.started", "execution.succeeded")
        await proxy.start()
        await watcher.rest()
    await proxy.cut()
    assert watcher.ids == [1, 2, 3]


async def test_what_the_broker_tells_twice_is_sent_once(client: httpx.AsyncClient, executor: Executor) -> None:
    await executor.happens("execution.queued")
    async with watching(client, executor.id) as watcher:
        await watcher.take(1)
        await executor.happens("task.started")
        await executor.tell(*executor.log)
        await executor.happens("execution.succeeded")
        await watcher.rest()
    assert watcher.ids == [1, 2, 3]


async def test_silence_brings_a_comment_and_a_look_into_the_log(gateways: Gateways, executor: Executor) -> None:
    await executor.happens("execution.queued")
    async with gateways(stream_heartbeat=0.1) as client:
        path = f"/api/v1/execution/{executor.id}/stream"
        async with client.stream("GET", path) as answer, asyncio.timeout(5):
            text = ""
            async for piece in answer.aiter_text():
                text += piece
                if ": still here\n\n" in text and len(executor.log) == 1:
                    await executor.happens("execution.succeeded", heard=False)
    assert text.endswith(f"data: {executor.log[-1].model_dump_json()}\n\n")


async def test_the_log_may_be_away_for_a_while_in_the_middle_of_a_stream(
    gateways: Gateways, executor: Executor
) -> None:
    await executor.happens("execution.queued")
    async with gateways(stream_heartbeat=0.1) as client, watching(client, executor.id) as watcher:
        await watcher.take(1)
        executor.broken = True
        await executor.happens("execution.succeeded", heard=False)
        reads = len(executor.reads)
        async with asyncio.timeout(5):
            while len(executor.reads) < reads + 2:
                await executor.tell()
                await client.get("/healthz")
        executor.broken = False
        await watcher.rest()
    assert watcher.ids == [1, 2]


async def test_a_slow_client_holds_up_nobody_and_loses_nothing(gateways: Gateways, executor: Executor) -> None:
    count, text = 150, "x" * 100_000
    async with gateways(stream_buffer=2) as client:
        await executor.happens("execution.queued")
        slow = await asyncio.to_thread(slow_connection, client, executor.id)
        async with watching(client, executor.id) as quick:
            await quick.take(1)
            for _ in range(count):
                await executor.happens("log", text=text)
                await quick.take(1)
            await executor.happens("execution.succeeded")
            await quick.rest()
        reads = len(executor.reads)
        received = await asyncio.to_thread(read_all, slow)
        assert quick.ids == list(range(1, count + 3))
        ids = [int(line[4:]) for line in received.split(b"\n") if line.startswith(b"id: ")]
        assert ids == quick.ids
        assert len(executor.reads) > reads


def slow_connection(client: httpx.AsyncClient, execution_id: str) -> socket.socket:
    """Asks for the stream and takes no more than the system's smallest buffer holds."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(10)
    connection.connect((client.base_url.host, client.base_url.port))
    head = f"GET /api/v1/execution/{execution_id}/stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    connection.sendall(f"{head}Authorization: {client.headers['Authorization']}\r\n\r\n".encode())
    assert connection.recv(1) == b"H"
    return connection


def read_all(connection: socket.socket) -> bytes:
    pieces = []
    while piece := connection.recv(1 << 20):
        pieces.append(piece)
    connection.close()
    return b"".join(pieces)


async def test_a_stream_ends_within_5_s_of_its_tokens_revocation(
    client: httpx.AsyncClient, executor: Executor, auth: Auth
) -> None:
    await executor.happens("execution.queued")
    headers = {"Authorization": f"Bearer {auth.token(jti='doomed')}"}
    async with (
        client.stream("GET", f"/api/v1/execution/{executor.id}/stream", headers=headers) as one,
        client.stream("GET", "/api/v1/execution/stream", headers=headers) as group,
    ):
        assert (one.status_code, group.status_code) == (200, 200)
        auth.revoke("doomed")
        async with asyncio.timeout(5):
            await one.aread()
            await group.aread()
    assert (await client.get(f"/api/v1/execution/{executor.id}/stream", headers=headers)).status_code == 401


async def test_a_stream_ends_when_its_token_expires(client: httpx.AsyncClient, executor: Executor, auth: Auth) -> None:
    await executor.happens("execution.queued")
    headers = {"Authorization": f"Bearer {auth.token(lasts_s=1)}"}
    async with asyncio.timeout(5):
        answer = await client.get(f"/api/v1/execution/{executor.id}/stream", headers=headers)
    assert answer.text.startswith("id: 1\n")


async def test_a_gateway_that_stops_ends_its_streams_at_once(gateways: Gateways, executor: Executor) -> None:
    await executor.happens("execution.queued")
    async with httpx.AsyncClient(timeout=10, trust_env=False) as other, AsyncExitStack() as running:
        gateway = await running.enter_async_context(gateways())
        other.headers, other.base_url = gateway.headers, gateway.base_url
        async with watching(other, executor.id) as watcher:
            await watcher.take(1)
            async with asyncio.timeout(3):
                await running.aclose()
                assert await watcher.rest() == []


async def test_the_group_feed_tells_state_changes_of_the_active_group_alone(
    client: httpx.AsyncClient, executor: Executor
) -> None:
    async with client.stream("GET", "/api/v1/execution/stream") as answer, asyncio.timeout(5):
        lines = answer.aiter_lines()
        assert await anext(lines) == ": still here"
        for group in ("other", "home"):
            change = StateChanged(execution_id=group, group_id=group, status=Status.RUNNING, at=NOON)
            await executor.bus.publish(LIVE, group_key(group), change)
        told = [await anext(lines) for _ in range(3)]
    data = 'data: {"execution_id":"home","group_id":"home","status":"running","at":"2026-01-31T12:00:00Z"}'
    assert told == ["", "event: state.changed", data]
