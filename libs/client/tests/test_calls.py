"""Calls: what goes out, what comes back, and who one is."""

import json

import pytest
from kasal_client import Kasal, KasalApiError, KasalUnreachableError, Session
from kasal_contracts.crew import CrewDocument

from .conftest import Server, hangs_up, replies

NOON = "2026-01-31T12:00:00Z"
META = {"group_id": "g1", "created_by": "u1", "created_at": NOON, "updated_at": NOON}
CREW = {"id": "c1", "name": "Research", "version": 3, "published": ["rest"], "new_field": 1, **META}
EXECUTION = {
    "id": "x1",
    "crew_id": None,
    "version": None,
    "name": "Research",
    "status": "queued",
    "priority": "normal",
    "attempt": 1,
    "inputs": {},
    "limits": {},
    "result": None,
    "error": None,
    "usage": {},
    "resource_usage": {},
    "queued_at": NOON,
    "queue_reason": None,
    "started_at": None,
    "ended_at": None,
    "parent_id": None,
    "labels": {},
    "trace_id": "0" * 32,
    **META,
}
UNAUTHENTICATED = {"title": "Authentication is needed", "status": 401}
PAIR = {"access_token": "second", "refresh_token": "r2", "expires_in": 900}


def test_a_login_is_used_for_the_calls_after_it(kasal: Kasal, server: Server) -> None:
    user = {"id": "u1", "email": "a@b.c", "display_name": "A", "is_system_admin": False, "group_id": "g1"}
    server.will("POST /api/v1/auth/login", replies({**PAIR, "user": user}))
    server.will("GET /api/v1/auth/me", replies(user))
    assert kasal.login("a@b.c", "secret").refresh_token == "r2"
    kasal.me()
    assert server.requests[1].headers["authorization"] == "Bearer second"


def test_a_token_that_ended_is_renewed_and_the_new_pair_told(server: Server) -> None:
    told: list[Session] = []
    server.will("GET /api/v1/crews/c1", replies(UNAUTHENTICATED, 401), replies(CREW))
    server.will("POST /api/v1/auth/refresh", replies(PAIR))
    with Kasal(server.url, token="first", refresh_token="r1", on_refresh=told.append) as kasal:
        assert kasal.crews.get("c1").name == "Research"
    sent = [request.headers.get("authorization") for request in server.requests]
    assert sent == ["Bearer first", None, "Bearer second"]
    assert [session.refresh_token for session in told] == ["r2"]


def test_a_refresh_that_is_refused_is_not_tried_again(server: Server) -> None:
    server.will("GET /api/v1/crews/c1", replies(UNAUTHENTICATED, 401))
    server.will("POST /api/v1/auth/refresh", replies(UNAUTHENTICATED, 401))
    with Kasal(server.url, token="first", refresh_token="r1") as kasal:
        for _ in range(2):
            with pytest.raises(KasalApiError, match="401"):
                kasal.crews.get("c1")
    assert [request.path for request in server.requests].count("/api/v1/auth/refresh") == 1


def test_the_group_goes_with_every_call(server: Server) -> None:
    server.will("GET /api/v1/crews/c1", replies(CREW))
    with Kasal(server.url, group_id="g2") as kasal:
        kasal.crews.get("c1")
    assert server.requests[0].headers["x-group-id"] == "g2"


def test_a_session_that_others_share_is_renewed_by_its_owner(server: Server) -> None:
    server.will("GET /api/v1/crews/c1", replies(UNAUTHENTICATED, 401), replies(CREW))
    with Kasal(server.url, token="first", renew=lambda: "from the store") as kasal:
        kasal.crews.get("c1")
    assert server.requests[1].headers["authorization"] == "Bearer from the store"


def test_what_was_read_can_be_changed_and_written_back_with_its_etag(kasal: Kasal, server: Server) -> None:
    server.will("GET /api/v1/crews/c1", replies(CREW, ETag='"7"'))
    server.will("PUT /api/v1/crews/c1", replies({**CREW, "name": "New"}, ETag='"8"'))
    crew = kasal.crews.get("c1")
    written = kasal.crews.update("c1", crew.model_copy(update={"name": "New"}), if_match=crew.etag)
    assert (crew.etag, written.etag) == ('"7"', '"8"')
    assert server.requests[1].headers["if-match"] == '"7"'
    assert "etag" not in json.loads(server.requests[1].body)


def test_an_execution_is_ordered_with_a_key_that_makes_repeating_safe(kasal: Kasal, server: Server) -> None:
    server.will("POST /api/v1/execution", replies(EXECUTION, 202))
    execution = kasal.executions.submit(CrewDocument(name="Research"), inputs={"topic": "tides"})
    assert execution.id == "x1"
    order = json.loads(server.requests[0].body)
    assert (order["crew"]["name"], order["inputs"]) == ("Research", {"topic": "tides"})
    assert "crew_id" not in order
    assert len(server.requests[0].headers["idempotency-key"]) == 32


def test_waiting_ends_with_the_execution_or_with_patience(kasal: Kasal, server: Server) -> None:
    call = "GET /api/v1/execution/x1"
    server.will(call, replies({**EXECUTION, "status": "running"}), replies({**EXECUTION, "status": "succeeded"}))
    assert kasal.executions.wait("x1").status == "succeeded"
    server.will(call, replies({**EXECUTION, "status": "running"}))
    with pytest.raises(TimeoutError, match="still running"):
        kasal.executions.wait("x1", within_s=0.1)


def test_a_refusal_carries_its_problem_even_where_the_body_is_none(kasal: Kasal, server: Server) -> None:
    problem = {
        "title": "The request is not valid",
        "status": 422,
        "errors": [{"loc": ["body", "name"], "msg": "is empty"}],
    }
    server.will("POST /api/v1/crews", replies(problem, 422), replies("<html>", 502))
    with pytest.raises(KasalApiError) as refused:
        kasal.crews.create({"name": ""})
    assert refused.value.problem.errors is not None
    assert refused.value.problem.errors[0].loc == ["body", "name"]
    with pytest.raises(KasalApiError) as broken:
        kasal.crews.create({"name": ""})
    assert broken.value.status == 502


def test_a_server_that_hangs_up_is_unreachable(kasal: Kasal, server: Server) -> None:
    server.will("GET /api/v1/version", hangs_up)
    with pytest.raises(KasalUnreachableError, match=server.url):
        kasal.version()
