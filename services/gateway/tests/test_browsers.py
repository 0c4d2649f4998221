"""What protects browsers: headers on every answer, and no other origin unless it is allowed."""

import httpx

from .conftest import Gateways

PREFLIGHT = {
    "Origin": "https://ui.example",
    "Access-Control-Request-Method": "PUT",
    "Access-Control-Request-Headers": "authorization,if-match",
}


async def test_every_answer_carries_the_security_headers(client: httpx.AsyncClient) -> None:
    del client.headers["Authorization"]
    for path in ("/docs", "/api/v1/crews", "/nothing"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "strict-transport-security" not in headers


async def test_answers_of_the_api_stay_out_of_every_cache(client: httpx.AsyncClient) -> None:
    for path in ("/api/v1/crews", "/api/v1/auth/me", "/api/v1/nothing"):
        assert (await client.get(path)).headers.get_list("cache-control") == ["no-store"]
    assert "no-store" not in (await client.get("/docs/swagger-ui.css")).headers.get("cache-control", "")


async def test_behind_https_answers_say_so(gateways: Gateways) -> None:
    async with gateways(https=True) as client:
        assert "max-age=" in (await client.get("/healthz")).headers["strict-transport-security"]


async def test_no_other_origin_is_allowed_by_default(client: httpx.AsyncClient) -> None:
    preflight = await client.options("/api/v1/crews", headers=PREFLIGHT)
    answer = await client.get("/api/v1/crews", headers={"Origin": "https://ui.example"})
    assert "access-control-allow-origin" not in {*preflight.headers, *answer.headers}


async def test_a_listed_origin_may_call_and_read_even_a_refusal(gateways: Gateways) -> None:
    async with gateways(cors_origins="https://ui.example") as client:
        preflight = await client.options("/api/v1/crews", headers=PREFLIGHT)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://ui.example"
        refused = await client.get("/api/v1/crews", headers={"Origin": "https://ui.example", "Authorization": "x"})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://ui.example"
        other = await client.options("/api/v1/crews", headers=PREFLIGHT | {"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
