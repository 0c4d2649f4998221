"""What travels on to the services, and what never does."""

import asyncio
from collections.abc import AsyncGenerator

import httpx

from .conftest import Gateways
from .stand_ins import Auth, Crews

INTERNAL = (
    "/internal/exchange",
    "//internal/exchange",
    "/api/v1/../internal/exchange",
    "/api/v1/../../internal/exchange",
    "/api/v1/crews/../../../internal/exchange",
    "/api/v1/%2e%2e/%2e%2e/internal/exchange",
    "/api/v1/crews/%2e%2e/%2e%2e/%2e%2e/internal/exchange",
    "/api/v1/crews/..%2f..%2f..%2finternal/exchange",
    "/api/v1//internal/exchange",
    "/api/v1/auth/%2e%2e%2f%2e%2e%2f%2e%2e%2finternal/exchange",
    "/api/v1/internal/exchange",
    "/%69nternal/exchange",
    "/api/v1/execution/%2e%2e/stream",
    "/.well-known/revocations.json",
    "http://auth/internal/exchange",
)


async def test_a_request_arrives_as_it_was_sent(client: httpx.AsyncClient) -> None:
    answer = await client.put("/api/v1/crews/a%20b?q=1%2B1&q=x+y", json={"name": "ä"}, headers={"If-Match": '"7"'})
    got = answer.json()
    assert (got["method"], got["path"], got["query"]) == ("PUT", "/api/v1/crews/a%20b", "q=1%2B1&q=x+y")
    assert got["body"] == '{"name":"ä"}'
    assert (got["headers"]["if-match"], got["headers"]["content-type"]) == ('"7"', "application/json")
    assert "chunked" not in got["headers"].get("transfer-encoding", "")


async def test_an_answer_arrives_as_it_was_given(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/crews", json={})
    assert answer.status_code == 201
    assert (answer.headers["etag"], answer.headers["location"]) == ('"7"', "/api/v1/crews/7")
    assert "keep-alive" not in answer.headers


async def test_what_only_we_may_say_is_stripped_from_a_request(client: httpx.AsyncClient) -> None:
    said = {
        "X-Forwarded-Access-Token": "planted",
        "X-Forwarded-Email": "root@planted",
        "X-Forwarded-For": "192.0.2.7, planted",
        "X-Kasal-Bootstrap": "planted",
        "Forwarded": "for=planted",
        "X-Hop": "planted",
        "Connection": "x-hop",
    }
    got = (await client.get("/api/v1/crews", headers=said)).json()["headers"]
    assert "planted" not in str(got)
    assert got["x-forwarded-for"] == "127.0.0.1"


async def test_request_id_and_trace_travel_along(client: httpx.AsyncClient) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await client.get("/api/v1/crews", headers={"X-Request-ID": "mine", "traceparent": parent})
    got = answer.json()["headers"]
    assert (got["x-request-id"], got["traceparent"]) == ("mine", parent)
    assert answer.headers["x-request-id"] == "mine"


async def test_each_path_goes_to_the_service_that_owns_it(client: httpx.AsyncClient) -> None:
    for path in ("auth/me", "users", "groups/1/members", "api-keys", "audit"):
        assert (await client.get(f"/api/v1/{path}")).json()["headers"]["host"] == "auth"
    for path in ("crews/1", "agents", "tasks", "plans", "templates", "models", "tools/x", "mcp-servers", "config"):
        assert (await client.get(f"/api/v1/{path}")).json()["headers"]["host"] == "crews"


async def test_an_unknown_path_is_a_404_problem(client: httpx.AsyncClient) -> None:
    for path in ("/api/v1/unknown", "/api/v2/crews", "/nothing", "/docs/secret.js"):
        answer = await client.post(path)
        assert answer.status_code == 404
        assert answer.json()["instance"] == path


async def test_nothing_internal_is_reachable(client: httpx.AsyncClient, auth: Auth) -> None:
    statuses = {target: await raw_status(client, f"POST {target} HTTP/1.1") for target in INTERNAL}
    assert statuses == dict.fromkeys(INTERNAL, 404)
    assert auth.exchanged == []


async def test_a_doubly_encoded_path_stays_what_it_is(client: httpx.AsyncClient) -> None:
    got = (await client.get("/api/v1/crews/%252e%252e%252finternal")).json()
    assert got["path"] == "/api/v1/crews/%252e%252e%252finternal"


async def raw_status(client: httpx.AsyncClient, request_line: str) -> int:
    """The status of a request that no HTTP library tidied up."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    head = f"Host: x\r\nAuthorization: {client.headers['Authorization']}\r\nContent-Length: 0\r\nConnection: close\r\n"
    writer.write(f"{request_line}\r\n{head}\r\n".encode())
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1])


async def test_an_upload_streams(client: httpx.AsyncClient, crews: Crews) -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        yield b"first "
        async with asyncio.timeout(5):
            await crews.first_piece.wait()
        yield b"second"

    answer = await client.post("/api/v1/crews/upload", content=pieces())
    assert answer.json() == {"received": "first second"}


async def test_a_download_streams(client: httpx.AsyncClient, crews: Crews) -> None:
    received = []
    async with client.stream("GET", "/api/v1/crews/download") as answer:
        async for piece in answer.aiter_raw():
            received.append(piece)
            crews.go_on.set()
    assert received == [b"first ", b"second"]


async def test_a_body_over_the_limit_is_413_with_and_without_a_length(gateways: Gateways) -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        for _ in range(20):
            yield b"x" * 1000

    async with gateways(body_limit=10_000) as client:
        declared = await client.post("/api/v1/crews/upload", content=b"x" * 10_001)
        assert declared.status_code == 413
        streamed = await client.post("/api/v1/crews/upload", content=pieces())
        assert streamed.status_code == 413
        assert streamed.headers["content-type"] == "application/problem+json"
        fitting = await client.post("/api/v1/crews/upload", content=b"x" * 10_000)
        assert fitting.status_code == 200


async def test_a_service_that_is_away_is_named_by_a_503(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/memory/records")
    assert answer.status_code == 503
    assert answer.json()["detail"] == "the memory service does not answer"


async def test_a_service_that_stays_silent_is_named_by_a_503(gateways: Gateways, crews: Crews) -> None:
    async with gateways(request_timeout=0.2) as client:
        answer = await client.get("/api/v1/crews/silent")
        crews.go_on.set()
    assert answer.status_code == 503
    assert answer.json()["detail"] == "the crews service does not answer"


async def test_a_client_that_stops_in_the_middle_of_its_body_gets_408(gateways: Gateways) -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        yield b"first"
        await asyncio.Event().wait()

    async with gateways(request_timeout=0.2) as client:
        length = {"Content-Length": "10"}
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        head = f"POST /api/v1/crews/upload HTTP/1.1\r\nHost: x\r\nAuthorization: {client.headers['Authorization']}\r\n"
        writer.write(f"{head}Content-Length: {length['Content-Length']}\r\n\r\nfirst".encode())
        async with asyncio.timeout(5):
            status_line = await reader.readline()
        writer.close()
    assert status_line.split()[1] == b"408"
