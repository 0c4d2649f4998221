"""Redirects: followed without credentials only, and judged hop by hop."""

from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from kasal_egress import EgressLimits, UrlPolicy, open_egress
from kasal_egress.errors import EgressRefusedError
from kasal_egress.resolver import Resolve

Serve = Callable[..., Awaitable[int]]
Names = Callable[..., Resolve]

Answer = Callable[[web.Request], Awaitable[web.Response]]


def leads_to(location: str, status: int = 302) -> Answer:
    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": location})

    return redirect


async def arrived(request: web.Request) -> web.Response:
    return web.json_response({name.lower(): value for name, value in request.headers.items()})


async def test_a_redirect_is_the_answer_unless_following_is_asked_for(serve: Serve, local: UrlPolicy) -> None:
    port = await serve(leads_to("http://169.254.169.254/latest/"))
    async with open_egress(local) as egress, egress.request("GET", f"http://127.0.0.1:{port}/") as answer:
        assert answer.status == 302
        assert answer.headers["location"] == "http://169.254.169.254/latest/"


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://metadata.google.internal/",
        "//10.0.0.1/",
        "http://inside.example/",
        "http://2852039166/",
        "file:///etc/passwd",
        "http://user:pw@example.com/",
        "http://[",
    ],
)
async def test_a_redirect_to_a_forbidden_place_is_refused(
    serve: Serve, local: UrlPolicy, location: str, names: Names
) -> None:
    port = await serve(leads_to(location))
    async with open_egress(local, resolve=names({"inside.example": [["10.0.0.1"]]})) as egress:
        with pytest.raises(EgressRefusedError):
            async with egress.request("GET", f"http://127.0.0.1:{port}/", follow_redirects=True):
                pass


async def test_a_followed_redirect_gives_the_last_answer_and_leaves_private_headers_behind(
    serve: Serve, local: UrlPolicy
) -> None:
    other = await serve(arrived)
    port = await serve(leads_to(f"http://127.0.0.1:{other}/"))
    headers = {"X-Session": "planted", "Accept": "text/plain"}
    async with (
        open_egress(local) as egress,
        egress.request("GET", f"http://127.0.0.1:{port}/", headers=headers, follow_redirects=True) as answer,
    ):
        text = (await answer.read()).decode()
    assert answer.status == 200
    assert "text/plain" in text
    assert "planted" not in text


@pytest.mark.parametrize(
    ("headers", "credentials"),
    [
        ({}, {"X-Databricks-Token": "planted"}),
        ({"authorization": "Bearer planted"}, {}),
        ({"X-API-Key": "planted"}, {}),
    ],
)
async def test_credentials_never_travel_along_a_redirect(
    serve: Serve, local: UrlPolicy, headers: dict[str, str], credentials: dict[str, str]
) -> None:
    visits = []

    async def visited(request: web.Request) -> web.Response:
        visits.append(request.headers)
        return web.Response()

    other = await serve(visited)
    port = await serve(leads_to(f"http://127.0.0.1:{other}/", 307))
    async with (
        open_egress(local) as egress,
        egress.request(
            "GET", f"http://127.0.0.1:{port}/", headers=headers, credential_headers=credentials, follow_redirects=True
        ) as answer,
    ):
        assert answer.status == 307
    assert visits == []


async def test_a_post_is_not_redirected(serve: Serve, local: UrlPolicy) -> None:
    port = await serve(leads_to("/elsewhere", 307))
    async with (
        open_egress(local) as egress,
        egress.request("POST", f"http://127.0.0.1:{port}/", body=b"paid", follow_redirects=True) as answer,
    ):
        assert answer.status == 307


async def test_redirects_in_a_circle_end(serve: Serve, local: UrlPolicy) -> None:
    visits = []

    async def circle(request: web.Request) -> web.Response:
        visits.append(request.path)
        return web.Response(status=302, headers={"Location": "/again"})

    port = await serve(circle)
    async with open_egress(local, limits=EgressLimits(redirects=3)) as egress:
        with pytest.raises(EgressRefusedError, match="too often"):
            async with egress.request("GET", f"http://127.0.0.1:{port}/", follow_redirects=True):
                pass
    assert visits == ["/", "/again", "/again", "/again"]
