"""Who comes in, and as whom."""

import httpx

from .conftest import Gateways
from .stand_ins import Auth


def without_token(client: httpx.AsyncClient) -> httpx.AsyncClient:
    del client.headers["Authorization"]
    return client


async def test_without_a_token_everything_under_the_api_is_401(client: httpx.AsyncClient) -> None:
    client = without_token(client)
    for path in ("crews", "nothing/at/all", "execution/1/stream", "%2e%2e/internal", "memory/records"):
        answer = await client.get(f"/api/v1/{path}")
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_what_is_open_needs_no_token(client: httpx.AsyncClient) -> None:
    client = without_token(client)
    for path in ("/api/v1/auth/login", "/api/v1/version", "/healthz", "/metrics", "/openapi.json", "/docs/start.js"):
        assert (await client.get(path)).status_code == 200


async def test_a_token_of_another_issuer_is_401(client: httpx.AsyncClient, auth: Auth) -> None:
    stranger = Auth()
    answer = await client.get("/api/v1/crews", headers={"Authorization": f"Bearer {stranger.token()}"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    expired = await client.get("/api/v1/crews", headers={"Authorization": f"Bearer {auth.token(lasts_s=-1)}"})
    assert expired.status_code == 401


async def test_the_group_of_the_header_is_exchanged_at_auth_once_while_remembered(
    client: httpx.AsyncClient, auth: Auth
) -> None:
    answers = [await client.get("/api/v1/crews", headers={"X-Group-ID": "other"}) for _ in range(3)]
    token = client.headers["Authorization"].removeprefix("Bearer ")
    assert auth.exchanged == [{"token": token, "group_id": "other"}]
    tokens = {answer.json()["headers"]["authorization"] for answer in answers}
    assert len(tokens) == 1
    assert tokens != {client.headers["Authorization"]}


async def test_an_exchanged_token_is_not_remembered_longer_than_set(gateways: Gateways, auth: Auth) -> None:
    async with gateways(exchange_cache=0) as client:
        for _ in range(2):
            await client.get("/api/v1/crews", headers={"X-Group-ID": "other"})
    assert len(auth.exchanged) == 2


async def test_the_group_of_the_token_needs_no_exchange(client: httpx.AsyncClient, auth: Auth) -> None:
    answer = await client.get("/api/v1/crews", headers={"X-Group-ID": "home"})
    assert answer.status_code == 200
    assert auth.exchanged == []


async def test_a_group_that_the_caller_is_not_in_is_404(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/crews", headers={"X-Group-ID": "strangers"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_api_token_is_exchanged_for_an_access_token(client: httpx.AsyncClient, auth: Auth) -> None:
    answer = await client.get("/api/v1/crews", headers={"Authorization": "Bearer ksl_secret"})
    assert auth.exchanged == [{"token": "ksl_secret"}]
    assert "ksl_secret" not in answer.text


async def test_a_ticket_opens_a_stream_once_and_nothing_else(client: httpx.AsyncClient, auth: Auth) -> None:
    auth.tickets["t1"] = "home"
    client = without_token(client)
    assert (await client.get("/api/v1/crews?ticket=t1")).status_code == 401
    async with client.stream("GET", "/api/v1/execution/stream?ticket=t1") as answer:
        assert answer.status_code == 200
    again = await client.get("/api/v1/execution/stream?ticket=t1")
    assert again.status_code == 401
