"""A made-up execution, played to load and compile all that a real one would."""

import json

import httpx
from kasal_contracts.crew import AgentSpec, CrewDocument, TaskSpec
from kasal_contracts.executions import ChildJob, ResolvedTool, Snapshot
from kasal_contracts.models import Provider, ResolvedModel

from .execution import Execution
from .frames import ChildFrame, line
from .stop import Stop

ALIAS = "rehearsal"

TOOL_CALL = {
    "tool_calls": [
        {"index": 0, "id": "call", "type": "function", "function": {"name": "calculator", "arguments": '{"expression":"1"}'}}
    ]
}


class Nowhere:
    """Frames are encoded as for a worker, and dropped."""

    def send(self, frame: ChildFrame) -> None:
        line(frame)


def rehearse() -> None:
    """Raise when the rehearsal fails: such a process must not be given a job."""
    outcome = Execution(_job(), Nowhere(), Stop(), httpx.MockTransport(_answer)).run()
    if outcome.error is not None:
        raise RuntimeError(outcome.error.message)


def _job() -> ChildJob:
    agent = AgentSpec(key="actor", role="Actor", goal="Play", tools=["calculator"])
    task = TaskSpec(key="scene", description="Play {part}", expected_output="A line", agent="actor")
    return ChildJob(
        execution_id=ALIAS,
        group_id=ALIAS,
        attempt=1,
        snapshot=Snapshot(
            crew=CrewDocument(name=ALIAS, agents=[agent], tasks=[task]),
            models=[ResolvedModel(alias=ALIAS, provider=Provider.DEMO, model=ALIAS)],
            default_model=ALIAS,
            tools=[ResolvedTool(name="calculator", plugin="calculator", effect="pure")],
        ),
        inputs={"part": "a king"},
        trace_id=ALIAS,
        egress_socket="/nonexistent",
        egress_token=ALIAS,
    )


def _answer(request: httpx.Request) -> httpx.Response:
    messages = json.loads(request.content)["messages"]
    delta = TOOL_CALL if messages[-1]["role"] == "user" else {"content": "To be."}
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": ALIAS}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    frames = [
        {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {**chunk, "choices": [], "usage": usage},
    ]
    body = "".join(f"data: {json.dumps(frame)}\n\n" for frame in frames) + "data: [DONE]\n\n"
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, text=body)
