"""The WebSocket twin of the event stream."""

import asyncio
import json
from collections.abc import Mapping

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from .stand_ins import Auth, Executor


def socket_of(
    client: httpx.AsyncClient, execution_id: str, headers: Mapping[str, str] | None = None, query: str = ""
) -> connect:
    base = str(client.base_url).replace("http://", "ws://").rstrip("/")
    sent = {"Authorization": client.headers["Authorization"]} if headers is None else headers
    return connect(f"{base}/api/v1/execution/{execution_id}/ws{query}", additional_headers=sent, proxy=None)


async def frame(socket: ClientConnection) -> dict[str, object]:
    async with asyncio.timeout(5):
        read: dict[str, object] = json.loads(await socket.recv())
    return read


async def status_of_refusal(connecting: connect) -> int:
    with pytest.raises(InvalidStatus) as refused:
        await connecting
    assert json.loads(refused.value.response.body or b"")["status"] == refused.value.response.status_code
    return refused.value.response.status_code


async def test_the_socket_sends_the_log_then_live_events_and_closes_with_the_last(
    client: httpx.AsyncClient, executor: Executor
) -> None:
    await executor.happens("execution.queued", "execution.started")
    async with socket_of(client, executor.id, query="?after=1") as socket:
        assert (await frame(socket))["type"] == "execution.started"
        await executor.happens("task.started", "execution.succeeded")
        assert [(await frame(socket))["id"] for _ in range(2)] == [3, 4]
        with pytest.raises(ConnectionClosed) as closed:
            await frame(socket)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


async def test_cancel_reaches_the_executor_and_anything_else_gets_an_error_frame(
    client: httpx.AsyncClient, executor: Executor
) -> None:
    await executor.happens("execution.queued")
    async with socket_of(client, executor.id) as socket:
        assert (await frame(socket))["id"] == 1
        for nonsense in ('{"action": "explode"}', "no json", "", b"\x00\xff"):
            await socket.send(nonsense)
            error = (await frame(socket))["error"]
            assert isinstance(error, dict)
            assert error["status"] == 422
        assert not executor.cancelled.is_set()
        await socket.send('{"action": "cancel"}')
        async with asyncio.timeout(5):
            await executor.cancelled.wait()


async def test_a_socket_needs_a_token_or_a_ticket(client: httpx.AsyncClient, executor: Executor, auth: Auth) -> None:
    await executor.happens("execution.queued", "execution.succeeded")
    assert await status_of_refusal(socket_of(client, executor.id, headers={})) == 401
    auth.tickets["t1"] = "home"
    async with socket_of(client, executor.id, headers={}, query="?ticket=t1") as socket:
        assert (await frame(socket))["id"] == 1
    assert await status_of_refusal(socket_of(client, executor.id, headers={}, query="?ticket=t1")) == 401


async def test_a_page_of_another_origin_may_not_connect(client: httpx.AsyncClient, executor: Executor) -> None:
    await executor.happens("execution.queued")
    token = {"Authorization": client.headers["Authorization"]}
    foreign = socket_of(client, executor.id, headers={**token, "Origin": "https://evil.example"})
    assert await status_of_refusal(foreign) == 403
    own = str(client.base_url).rstrip("/")
    async with socket_of(client, executor.id, headers={**token, "Origin": own}) as socket:
        assert (await frame(socket))["id"] == 1


async def test_another_groups_execution_is_refused_with_404_and_so_is_any_other_path(
    client: httpx.AsyncClient, executor: Executor, auth: Auth
) -> None:
    foreign = {"Authorization": f"Bearer {auth.token(group='other')}"}
    assert await status_of_refusal(socket_of(client, executor.id, headers=foreign)) == 404
    assert await status_of_refusal(socket_of(client, f"{executor.id}/other")) == 404


async def test_a_socket_closes_within_5_s_of_its_tokens_revocation(
    client: httpx.AsyncClient, executor: Executor, auth: Auth
) -> None:
    await executor.happens("execution.queued")
    token = {"Authorization": f"Bearer {auth.token(jti='doomed')}"}
    async with socket_of(client, executor.id, headers=token) as socket:
        assert (await frame(socket))["id"] == 1
        auth.revoke("doomed")
        error = (await frame(socket))["error"]
        with pytest.raises(ConnectionClosed) as closed:
            await frame(socket)
    assert isinstance(error, dict)
    assert closed.value.rcvd is not None
    assert (error["status"], closed.value.rcvd.code) == (401, 4401)
