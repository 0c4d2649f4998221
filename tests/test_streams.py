"""An execution is watched without loss or repeat, however often and wherever the client comes back."""

import json
from collections.abc import AsyncIterator

import anyio
import httpx
import pytest
from kasal_client import Kasal
from kasal_contracts.ids import new_id
from kasal_contracts.models import Provider
from kasal_testing.scripted_llm import ScriptedLlm, Text
from kasal_testing.stacks import Stack
from websockets.asyncio.client import connect

from .conftest import ADMIN, PASSWORD, logged_in
from .crews import crew

SLOW = Text("a word at a time until it ends", pause_s=0.05)


@pytest.fixture
async def slow_model(up: Stack) -> AsyncIterator[str]:
    name = f"slow/{new_id()}"
    async with ScriptedLlm(SLOW) as llm:
        with logged_in(up.url) as kasal:
            kasal.models.create(name, Provider.OPENAI_COMPATIBLE, "slow", base_url=llm.url)
        yield name


def token(url: str) -> str:
    with Kasal(url) as kasal:
        return kasal.login(ADMIN, PASSWORD).access_token


async def frames(url: str, execution_id: str, access: str, last: int, most: int) -> AsyncIterator[dict[str, object]]:
    """Up to `most` stored events from one connection, which is then cut."""
    headers = {"Authorization": f"Bearer {access}", "Last-Event-ID": str(last)}
    path = f"{url}/api/v1/execution/{execution_id}/stream"
    async with (
        httpx.AsyncClient(trust_env=False) as http,
        http.stream("GET", path, headers=headers, timeout=30) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        async for line in answer.aiter_lines():
            if not line.startswith("data: "):
                continue
            event = json.loads(line.removeprefix("data: "))
            if event["id"] is None:
                continue
            yield event
            most -= 1
            if most == 0:
                return


async def test_a_client_cut_three_times_resumes_from_another_gateway_with_every_event_once(
    up: Stack, replica: str, slow_model: str
) -> None:
    access = token(up.url)
    with logged_in(up.url) as kasal:
        execution = kasal.executions.submit(crew("one", "two", "three", model=slow_model))
        seen: list[dict[str, object]] = []
        with anyio.fail_after(60):
            for url, most in ((up.url, 4), (replica, 5), (up.url, 6), (replica, 1000)):
                last = int(str(seen[-1]["id"])) if seen else 0
                seen += [event async for event in frames(url, execution.id, access, last, most)]
        logged = [event.id for event in kasal.executions.events(execution.id)]
    assert seen[-1]["type"] == "execution.succeeded"
    assert [event["id"] for event in seen] == logged == list(range(1, len(logged) + 1))


async def test_after_the_end_there_is_nothing_to_resume(up: Stack, replica: str) -> None:
    with logged_in(up.url) as kasal:
        execution = kasal.executions.submit(crew("one"))
        ended = await anyio.to_thread.run_sync(lambda: list(kasal.executions.stream(execution.id))[-1])
    path = f"{replica}/api/v1/execution/{execution.id}/stream"
    headers = {"Authorization": f"Bearer {token(up.url)}", "Last-Event-ID": str(ended.id)}
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(path, headers=headers)).status_code == 204


async def test_the_web_socket_says_the_same_as_the_log(up: Stack, slow_model: str) -> None:
    access = token(up.url)
    with logged_in(up.url) as kasal:
        execution = kasal.executions.submit(crew("one", model=slow_model))
        path = f"{up.url.replace('http', 'ws')}/api/v1/execution/{execution.id}/ws"
        with anyio.fail_after(30):
            async with connect(path, additional_headers={"Authorization": f"Bearer {access}"}) as socket:
                heard = [json.loads(frame) async for frame in socket]
        logged = [event.id for event in kasal.executions.events(execution.id)]
    assert [event["id"] for event in heard if event["id"] is not None] == logged
    assert any(event["type"] == "llm.chunk" for event in heard)
