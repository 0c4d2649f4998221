from datetime import datetime, timedelta, timezone
from uuid import UUID

import pytest
from kasal_contracts.crew import CrewDocument
from kasal_contracts.events import Event
from kasal_contracts.executions import Result, Status
from kasal_contracts.identity import Role
from kasal_contracts.ids import new_id
from pydantic import ValidationError


def test_ids_are_uuid7_and_grow_with_time() -> None:
    made = [UUID(new_id()) for _ in range(50)]
    assert {(each.version, each.variant) for each in made} == {(7, "specified in RFC 4122")}
    assert [each.int >> 80 for each in made] == sorted(each.int >> 80 for each in made)
    assert len(set(made)) == 50


def test_a_timestamp_travels_as_rfc_3339_in_utc() -> None:
    noon = datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=2)))
    event = Event(id=1, execution_id="e", attempt=1, ts=noon, type="log")
    assert '"ts":"2026-01-31T10:00:00Z"' in event.model_dump_json()
    assert Event.model_validate_json(event.model_dump_json()) == event


def test_a_timestamp_without_a_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="time zone"):
        Event(id=1, execution_id="e", attempt=1, ts=datetime(2026, 1, 1), type="log")  # noqa: DTZ001


def test_an_event_of_a_newer_kasal_passes_through() -> None:
    raw = '{"id": 1, "execution_id": "e", "attempt": 1, "ts": "2026-01-01T00:00:00Z", "type": "robot.waved", "new": 1}'
    assert Event.model_validate_json(raw).type == "robot.waved"


def test_a_crew_document_says_which_field_it_does_not_know() -> None:
    with pytest.raises(ValidationError) as refused:
        CrewDocument.model_validate({"name": "x", "agents": [{"key": "a", "role": "r", "goal": "g", "llm": "m"}]})
    assert [item["loc"] for item in refused.value.errors()] == [("agents", 0, "llm")]


def test_a_crew_document_survives_a_round_trip() -> None:
    guarded = {"kind": "schema", "schema": {"type": "object"}}
    crew = CrewDocument.model_validate(
        {
            "name": "x",
            "agents": [{"key": "a", "role": "r", "goal": "g"}],
            "tasks": [{"key": "t", "description": "d", "expected_output": "e", "agent": "a", "guardrail": guarded}],
        }
    )
    assert CrewDocument.model_validate_json(crew.model_dump_json()) == crew
    assert '"schema":' in crew.model_dump_json()


def test_each_role_contains_those_before_it() -> None:
    assert [[role.contains(other) for other in Role] for role in Role] == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, False],
        [True, True, True, True],
    ]


def test_a_result_has_its_json_under_that_name() -> None:
    assert Result(json_={"a": 1}).model_dump_json() == '{"text":null,"json":{"a":1},"tasks":[]}'


def test_four_states_are_ends() -> None:
    assert {status for status in Status if status.is_end} == {
        Status.SUCCEEDED,
        Status.FAILED,
        Status.CANCELLED,
        Status.TIMED_OUT,
    }
