"""Watching an execution: each event once and in order, however often the connection breaks."""

import socket

import pytest
from kasal_client import Kasal, KasalApiError, KasalUnreachableError

from .conftest import Server, event, frame, hangs_up, replies, streams

STREAM = "GET /api/v1/execution/x1/stream"
PROBLEM = {"title": "Not found", "status": 404, "detail": "there is no execution 'x1' here", "request_id": "r1"}


def test_a_stream_that_breaks_is_taken_up_after_the_last_event(kasal: Kasal, server: Server) -> None:
    first, second = event("execution.queued", 1), event("task.started", 2)
    chunk, last = event("llm.chunk", None, "Hel"), event("execution.succeeded", 3)
    server.will(
        STREAM,
        streams(frame(first), b": still here\n\n"),
        hangs_up,
        replies({"title": "Temporarily unavailable", "status": 503}, 503),
        streams(frame(first), frame(second), frame(chunk)),
        streams(frame(second), frame(last), b"id: 4\nevent: never\ndata: {}\n\n"),
    )
    assert list(kasal.executions.stream("x1")) == [first, second, chunk, last]
    assert [request.headers["last-event-id"] for request in server.requests] == ["0", "1", "1", "1", "2"]


def test_a_stream_after_the_final_event_is_empty(kasal: Kasal, server: Server) -> None:
    server.will(STREAM, replies("", 204))
    assert list(kasal.executions.stream("x1", after=3)) == []
    assert server.requests[0].headers["last-event-id"] == "3"


def test_line_separators_inside_of_a_text_do_not_break_a_frame(kasal: Kasal, server: Server) -> None:
    told = event("log", 1, "one\u2028two\x85three")
    server.will(STREAM, streams(frame(told), frame(event("execution.failed", 2))))
    assert next(kasal.executions.stream("x1")) == told


def test_a_refusal_that_will_not_pass_is_raised_at_once(kasal: Kasal, server: Server) -> None:
    server.will(STREAM, replies(PROBLEM, 404))
    with pytest.raises(KasalApiError) as refused:
        next(kasal.executions.stream("x1"))
    assert (refused.value.status, refused.value.problem.request_id) == (404, "r1")
    assert len(server.requests) == 1


def test_a_server_that_stays_away_is_given_up() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with Kasal(f"http://127.0.0.1:{taken.getsockname()[1]}") as kasal, pytest.raises(KasalUnreachableError):
            next(kasal.executions.stream("x1", patience_s=0.3))


def test_the_log_is_read_page_by_page(kasal: Kasal, server: Server) -> None:
    log = [event("log", number).model_dump(mode="json") for number in range(1, 251)]
    server.will("GET /api/v1/execution/x1/events", replies({"items": log[:200]}), replies({"items": log[200:]}))
    assert [each.id for each in kasal.executions.events("x1")] == list(range(1, 251))
    assert [request.path.partition("?")[2] for request in server.requests] == [
        "after=0&limit=200",
        "after=200&limit=200",
    ]
