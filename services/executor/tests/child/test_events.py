"""What a child tells about its work."""

import pytest
from kasal_contracts.events import ChildEvent
from kasal_executor.pipe import attempt_span_id
from kasal_executor.worker.zygote import Zygote

from .egress import TOKEN, Calls, Says, ScriptedEgress, tool_results
from .runs import Ended, crew, job, run, task, writer

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def a_run(zygote: Zygote, egress: ScriptedEgress) -> tuple[str, Ended]:
    egress.script = lambda messages: (
        Says("It is 42.") if tool_results(messages) else Calls("calculator", {"expression": "6*7"})
    )
    wanted = job(
        crew(task("sum"), task("again"), agents=(writer(tools=["calculator"]),)), egress.path, tools=("calculator",)
    )
    return attempt_span_id(wanted.execution_id, wanted.attempt), await run(zygote, wanted)


async def test_events_come_in_the_order_of_what_happened(zygote: Zygote, egress: ScriptedEgress) -> None:
    _, ended = await a_run(zygote, egress)
    one_task = ["task.started", "agent.started", "llm.started", "llm.completed", "tool.started", "tool.completed"]
    one_task += ["llm.started", "llm.completed", "agent.completed", "task.completed"]
    assert ended.types() == one_task * 2
    stamps = [event.ts for event in ended.events]
    assert stamps == sorted(stamps)


async def test_spans_form_one_tree(zygote: Zygote, egress: ScriptedEgress) -> None:
    root, ended = await a_run(zygote, egress)
    parents = {event.span_id: event.parent_span_id for event in ended.events}

    def path(event: ChildEvent) -> list[str]:
        kinds = {each.span_id: each.type.split(".")[0] for each in ended.events}
        here, seen = event.span_id, []
        while here != root:
            assert here is not None
            seen.append(kinds[here])
            here = parents[here]
        return seen[::-1]

    for event in ended.events:
        assert event.task in ("sum", "again")
        assert event.span_id is not None
        assert len(event.span_id) == 16
    assert {tuple(path(event)) for event in ended.events} == {
        ("task",),
        ("task", "agent"),
        ("task", "agent", "llm"),
        ("task", "agent", "tool"),
    }


async def test_a_completed_call_carries_tokens_cost_and_text(zygote: Zygote, egress: ScriptedEgress) -> None:
    _, ended = await a_run(zygote, egress)
    wanted, answered = [event.data for event in ended.of("llm.completed")][:2]
    assert wanted["tool_calls"] == [{"tool": "calculator", "arguments": '{"expression": "6*7"}'}]
    assert (answered["input_tokens"], answered["output_tokens"], answered["replayed"]) == (10, 5, False)
    assert answered["cost_usd"] == pytest.approx((10 * 1 + 5 * 2) / 1e6)
    assert answered["text"] == "It is 42."


async def test_chunks_are_joined_and_say_what_the_answer_says(zygote: Zygote, egress: ScriptedEgress) -> None:
    words = " ".join(f"word{number}" for number in range(500))
    egress.script = lambda _: Says(words)
    ended = await run(zygote, job(crew(task("write")), egress.path))
    pieces = ended.of("llm.chunk")
    assert "".join(str(piece.data["text"]) for piece in pieces) == words
    assert len(pieces) < 100
    completed = ended.of("llm.completed")[0]
    assert {(piece.span_id, piece.data["call_id"]) for piece in pieces} == {
        (completed.span_id, completed.data["call_id"])
    }


async def test_long_texts_are_cut_in_events_and_whole_in_the_result(zygote: Zygote, egress: ScriptedEgress) -> None:
    text = " ".join(["long" * 1000] * 50)
    egress.script = lambda _: Says(text)
    ended = await run(zygote, job(crew(task("write")), egress.path))
    assert ended.result.text == text
    shown = str(ended.of("task.completed")[0].data["output"])
    assert len(shown) < 66_000
    assert shown.endswith("(cut)")


async def test_the_token_of_the_attempt_is_in_no_event(zygote: Zygote, egress: ScriptedEgress) -> None:
    _, ended = await a_run(zygote, egress)
    assert not [event for event in ended.events if TOKEN in event.model_dump_json()]
