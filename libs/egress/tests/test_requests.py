"""The client against a real server on loopback."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from aiohttp import web
from kasal_egress import EgressLimits, Endpoint, Timeouts, UrlPolicy, open_egress, parse_allow
from kasal_egress.errors import (
    EgressInterruptedError,
    EgressRefusedError,
    EgressTimeoutError,
    EgressTooLargeError,
    EgressUnreachableError,
    Phase,
)
from kasal_egress.resolver import Resolve

Serve = Callable[..., Awaitable[int]]
Names = Callable[..., Resolve]


async def echo(request: web.Request) -> web.Response:
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return web.json_response({"headers": dict(request.headers), "body": await request.text(), "peer": peer})


async def test_a_request_and_its_answer_travel_whole(serve: Serve, local: UrlPolicy) -> None:
    port = await serve(echo)
    async with (
        open_egress(local) as egress,
        egress.request(
            "post", f"http://127.0.0.1:{port}/v1", headers={"X-A": "1"}, credential_headers={"x-a": "2"}, body=b"hello"
        ) as answer,
    ):
        text = (await answer.read()).decode()
    assert answer.status == 200
    assert '"X-A": "2"' in text or '"x-a": "2"' in text
    assert '"body": "hello"' in text


async def test_headers_of_the_connection_cannot_be_set_by_a_caller(serve: Serve, local: UrlPolicy) -> None:
    port = await serve(echo)
    smuggled = {"Host": "other", "Content-Length": "1", "Transfer-Encoding": "chunked", "Connection": "upgrade"}
    async with (
        open_egress(local) as egress,
        egress.request("POST", f"http://127.0.0.1:{port}/", headers=smuggled, body=b"hello") as answer,
    ):
        text = (await answer.read()).decode()
    assert f'"Host": "127.0.0.1:{port}"' in text
    assert '"Content-Length": "5"' in text
    assert "upgrade" not in text


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b"])
async def test_a_header_with_a_line_break_is_refused(local: UrlPolicy, value: str) -> None:
    async with open_egress(local) as egress:
        with pytest.raises(EgressRefusedError, match="line break"):
            async with egress.request("GET", "http://127.0.0.1:1/", headers={"X-A": value}):
                pass


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "GET / HTTP/1.1\r\n"])
async def test_an_unusual_method_is_refused(local: UrlPolicy, method: str) -> None:
    async with open_egress(local) as egress:
        with pytest.raises(EgressRefusedError, match="method"):
            async with egress.request(method, "http://127.0.0.1:1/"):
                pass


async def test_loopback_is_refused_by_default_as_address_and_behind_a_name(serve: Serve, names: Names) -> None:
    port = await serve(echo)
    async with open_egress(UrlPolicy(), resolve=names({"inside.example": [["127.0.0.1"]]})) as egress:
        for host in ("127.0.0.1", "[::ffff:127.0.0.1]", "inside.example"):
            with pytest.raises(EgressRefusedError):
                async with egress.request("GET", f"http://{host}:{port}/"):
                    pass


async def test_a_name_that_changes_its_address_is_connected_to_only_where_it_was_checked(
    serve: Serve, names: Names
) -> None:
    port = await serve(echo)
    asked: list[str] = []
    rebinding = names({"models.example": [["127.0.0.1"], ["127.0.0.2"]]}, asked)
    policy = UrlPolicy(allow=parse_allow("127.0.0.1"))
    url = f"http://models.example:{port}/"
    async with open_egress(policy, resolve=rebinding, limits=EgressLimits(idle_connection=timedelta())) as egress:
        async with egress.request("GET", url) as answer:
            assert f'"Host": "models.example:{port}"' in (await answer.read()).decode()
        with pytest.raises(EgressRefusedError, match="loopback"):
            async with egress.request("GET", url):
                pass
    assert asked == ["models.example", "models.example"]


async def test_connections_are_reused_without_asking_for_the_name_again(
    serve: Serve, local: UrlPolicy, names: Names
) -> None:
    port = await serve(echo)
    asked: list[str] = []
    resolve = names({"models.example": [["127.0.0.1"]]}, asked)
    peers = set()
    async with open_egress(local, resolve=resolve) as egress:
        for _ in range(3):
            async with egress.request("GET", f"http://models.example:{port}/") as answer:
                peers.add((await answer.read()).decode().partition("peer")[2])
    assert len(peers) == 1
    assert asked == ["models.example"]


async def test_kasals_own_database_is_refused_under_every_name_even_where_allowed(serve: Serve, names: Names) -> None:
    port = await serve(echo)
    policy = UrlPolicy(
        allow=parse_allow("127.0.0.0/8"), allow_loopback_ports=True, deny_endpoints=frozenset({Endpoint("db", port)})
    )
    resolve = names({"db": [["127.0.0.1"]], "alias.example": [["127.0.0.1"]], "localhost": [["127.0.0.1"]]})
    async with open_egress(policy, resolve=resolve) as egress:
        for host in ("db", "alias.example", "localhost", "127.0.0.1", "127.0.0.9"):
            with pytest.raises(EgressRefusedError, match="Kasal itself"):
                async with egress.request("GET", f"http://{host}:{port}/"):
                    pass


@pytest.mark.parametrize("host", ["127.0.0.1", "models.example"])
async def test_nothing_is_called_while_a_denied_name_of_the_same_port_cannot_be_resolved(
    serve: Serve, names: Names, host: str
) -> None:
    port = await serve(echo)
    policy = UrlPolicy(allow_loopback_ports=True, deny_endpoints=frozenset({Endpoint("db", port)}))
    async with open_egress(policy, resolve=names({"models.example": [["127.0.0.1"]]})) as egress:
        with pytest.raises(EgressUnreachableError):
            async with egress.request("GET", f"http://{host}:{port}/"):
                pass


async def test_chunks_are_passed_on_as_they_arrive(serve: Serve, local: UrlPolicy) -> None:
    taken = asyncio.Event()

    async def waits_for_its_reader(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        await stream.write(b"first")
        await taken.wait()
        await stream.write(b"second")
        return stream

    port = await serve(waits_for_its_reader)
    chunks = []
    async with (
        asyncio.timeout(5),
        open_egress(local) as egress,
        egress.request("GET", f"http://127.0.0.1:{port}/") as answer,
    ):
        async for chunk in answer.iter_bytes():
            chunks.append(chunk)
            taken.set()
    assert chunks == [b"first", b"second"]


async def test_an_answer_that_is_left_early_is_closed_at_the_server(serve: Serve, local: UrlPolicy) -> None:
    gone = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        try:
            while True:
                await stream.write(b"x" * 65_536)
        finally:
            gone.set()

    port = await serve(endless)
    async with asyncio.timeout(5), open_egress(local) as egress:
        async with egress.request("GET", f"http://127.0.0.1:{port}/") as answer:
            await anext(answer.iter_bytes())
        await gone.wait()
    assert gone.is_set()


@pytest.mark.parametrize("announced", [True, False])
async def test_an_answer_over_the_size_cap_is_cut(serve: Serve, local: UrlPolicy, announced: bool) -> None:
    async def large(request: web.Request) -> web.StreamResponse:
        if announced:
            return web.Response(body=b"x" * 5_000)
        stream = web.StreamResponse()
        await stream.prepare(request)
        for _ in range(5):
            await stream.write(b"x" * 1_000)
        return stream

    port = await serve(large)
    async with open_egress(local) as egress:
        with pytest.raises(EgressTooLargeError, match="4999"):
            async with egress.request("GET", f"http://127.0.0.1:{port}/", max_bytes=4_999) as answer:
                await answer.read()
        async with egress.request("GET", f"http://127.0.0.1:{port}/", max_bytes=5_000) as answer:
            assert len(await answer.read()) == 5_000


async def test_the_size_cap_counts_decoded_bytes(serve: Serve, local: UrlPolicy) -> None:
    async def bomb(request: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(bytes(20_000_000)), headers={"Content-Encoding": "gzip"})

    port = await serve(bomb)
    async with open_egress(local) as egress:
        with pytest.raises(EgressTooLargeError):
            async with egress.request("GET", f"http://127.0.0.1:{port}/", max_bytes=1_000_000) as answer:
                await answer.read()
    assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize(
    ("timeouts", "phase"),
    [
        (Timeouts(idle=timedelta(milliseconds=80)), Phase.IDLE),
        (Timeouts(total=timedelta(milliseconds=80)), Phase.TOTAL),
    ],
)
@pytest.mark.parametrize("after_headers", [True, False])
async def test_silence_and_slowness_end_at_their_time_limits(
    serve: Serve, local: UrlPolicy, timeouts: Timeouts, phase: Phase, after_headers: bool
) -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        if after_headers:
            await stream.prepare(request)
        await asyncio.Event().wait()
        return stream

    port = await serve(silent)
    async with asyncio.timeout(5), open_egress(local) as egress:
        with pytest.raises(EgressTimeoutError) as caught:
            async with egress.request("GET", f"http://127.0.0.1:{port}/", timeouts=timeouts) as answer:
                await answer.read()
    assert caught.value.phase is phase


async def test_a_wait_for_a_free_connection_ends_at_the_connect_limit(serve: Serve, local: UrlPolicy) -> None:
    async def unfinished(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        await asyncio.Event().wait()
        return stream

    url = f"http://127.0.0.1:{await serve(unfinished)}/"
    timeouts = Timeouts(connect=timedelta(milliseconds=50))
    async with open_egress(local, limits=EgressLimits(connections=1)) as egress, egress.request("GET", url):
        with pytest.raises(EgressTimeoutError) as caught:
            async with egress.request("GET", url, timeouts=timeouts):
                pass
    assert caught.value.phase is Phase.CONNECT


async def test_a_place_without_a_server_is_unreachable(unused_port: int, local: UrlPolicy, names: Names) -> None:
    async with open_egress(local, resolve=names({})) as egress:
        for host in ("127.0.0.1", "nowhere.example"):
            with pytest.raises(EgressUnreachableError, match=host):
                async with egress.request("GET", f"http://{host}:{unused_port}/"):
                    pass


async def test_an_answer_that_breaks_off_is_told_from_a_whole_one(serve: Serve, local: UrlPolicy) -> None:
    async def breaks_off(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Length": "100"})
        await stream.prepare(request)
        await stream.write(b"half")
        assert request.transport
        request.transport.abort()
        return stream

    port = await serve(breaks_off)
    async with open_egress(local) as egress:
        with pytest.raises(EgressInterruptedError) as caught:
            async with egress.request("GET", f"http://127.0.0.1:{port}/?key=planted") as answer:
                await answer.read()
    assert "planted" not in str(caught.value)
    assert caught.value.__suppress_context__


async def test_cookies_are_not_kept(serve: Serve, local: UrlPolicy, names: Names) -> None:
    seen = []

    async def sets_a_cookie(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "session=1; Path=/"})

    port = await serve(sets_a_cookie)
    async with open_egress(local, resolve=names({"a.example": [["127.0.0.1"]]})) as egress:
        for _ in range(2):
            async with egress.request("GET", f"http://a.example:{port}/") as answer:
                await answer.read()
    assert seen == [None, None]


async def test_a_proxy_in_the_environment_is_ignored(
    serve: Serve, local: UrlPolicy, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    port = await serve(echo)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port}")
    async with open_egress(local) as egress, egress.request("GET", f"http://127.0.0.1:{port}/") as answer:
        assert answer.status == 200
