"""Repeating what may be repeated, before the first byte."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web
from kasal_egress import EgressLimits, Timeouts, UrlPolicy, open_egress
from kasal_egress.errors import EgressInterruptedError, EgressUnreachableError

Serve = Callable[..., Awaitable[int]]

QUICK = EgressLimits(backoff=timedelta(milliseconds=5), retry_after_cap=timedelta(milliseconds=300))


class Answers:
    """Answers with one status after the other; 0 cuts the connection."""

    def __init__(self, *statuses: int, **headers: str) -> None:
        self.statuses = list(statuses)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.times: list[float] = []

    async def __call__(self, request: web.Request) -> web.Response:
        self.times.append(time.monotonic())
        status = self.statuses.pop(0)
        if status == 0 and request.transport:
            request.transport.abort()
        return web.Response(status=status or 500, headers=self.headers, text=f"answer {len(self.times)}")


@pytest.mark.parametrize("status", [429, 502, 503, 504, 529, 0])
async def test_a_repeatable_request_outlives_a_passing_failure(serve: Serve, local: UrlPolicy, status: int) -> None:
    server = Answers(status, status, 200)
    url = f"http://127.0.0.1:{await serve(server)}/"
    async with (
        open_egress(local, limits=QUICK) as egress,
        egress.request("POST", url, body=b"x", repeatable=True) as answer,
    ):
        assert (answer.status, await answer.read()) == (200, b"answer 3")


async def test_the_last_answer_is_given_when_all_tries_are_used(serve: Serve, local: UrlPolicy) -> None:
    server = Answers(503, 503, 503, 200)
    url = f"http://127.0.0.1:{await serve(server)}/"
    async with open_egress(local, limits=QUICK) as egress, egress.request("GET", url, repeatable=True) as answer:
        assert (answer.status, await answer.read()) == (503, b"answer 3")
    assert server.statuses == [200]


@pytest.mark.parametrize("status", [200, 400, 401, 404, 500])
async def test_a_final_answer_is_not_asked_for_twice(serve: Serve, local: UrlPolicy, status: int) -> None:
    server = Answers(status, 200)
    url = f"http://127.0.0.1:{await serve(server)}/"
    async with open_egress(local, limits=QUICK) as egress, egress.request("GET", url, repeatable=True) as answer:
        assert answer.status == status
    assert len(server.times) == 1


async def test_a_request_that_may_not_be_repeated_is_sent_once(serve: Serve, local: UrlPolicy) -> None:
    busy, cut = Answers(503, 200), Answers(0, 200)
    async with open_egress(local, limits=QUICK) as egress:
        async with egress.request("POST", f"http://127.0.0.1:{await serve(busy)}/") as answer:
            assert answer.status == 503
        with pytest.raises(EgressInterruptedError):
            async with egress.request("POST", f"http://127.0.0.1:{await serve(cut)}/"):
                pass
    assert (len(busy.times), len(cut.times)) == (1, 1)


@pytest.mark.parametrize("retry_after", ["3600", format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)])
async def test_retry_after_replaces_the_back_off_up_to_its_cap(
    serve: Serve, local: UrlPolicy, retry_after: str
) -> None:
    server = Answers(429, 200, Retry_After=retry_after)
    url = f"http://127.0.0.1:{await serve(server)}/"
    async with open_egress(local, limits=QUICK) as egress, egress.request("GET", url, repeatable=True) as answer:
        assert answer.status == 200
    assert 0.29 <= server.times[1] - server.times[0] < 2


async def test_a_retry_after_of_zero_repeats_at_once(serve: Serve, local: UrlPolicy) -> None:
    server = Answers(429, 200, Retry_After="0")
    url = f"http://127.0.0.1:{await serve(server)}/"
    slow = EgressLimits(backoff=timedelta(seconds=20))
    async with open_egress(local, limits=slow) as egress, egress.request("GET", url, repeatable=True) as answer:
        assert answer.status == 200


async def test_a_wait_beyond_the_total_time_is_not_begun(serve: Serve, local: UrlPolicy) -> None:
    server = Answers(429, 200, Retry_After="25")
    url = f"http://127.0.0.1:{await serve(server)}/"
    limited = Timeouts(total=timedelta(seconds=5))
    async with (
        asyncio.timeout(4),
        open_egress(local) as egress,
        egress.request("GET", url, repeatable=True, timeouts=limited) as answer,
    ):
        assert answer.status == 429
    assert len(server.times) == 1


async def test_an_answer_that_has_begun_is_not_repeated(serve: Serve, local: UrlPolicy) -> None:
    visits = []

    async def breaks_off(request: web.Request) -> web.StreamResponse:
        visits.append(request.path)
        stream = web.StreamResponse(headers={"Content-Length": "100"})
        await stream.prepare(request)
        await stream.write(b"half")
        assert request.transport
        request.transport.abort()
        return stream

    url = f"http://127.0.0.1:{await serve(breaks_off)}/"
    async with open_egress(local, limits=QUICK) as egress:
        with pytest.raises(EgressInterruptedError):
            async with egress.request("GET", url, repeatable=True) as answer:
                await answer.read()
    assert visits == ["/"]


async def test_a_place_without_a_server_is_tried_again_and_then_unreachable(local: UrlPolicy, unused_port: int) -> None:
    async with open_egress(local, limits=QUICK) as egress:
        with pytest.raises(EgressUnreachableError):
            async with egress.request("GET", f"http://127.0.0.1:{unused_port}/", repeatable=True):
                pass
