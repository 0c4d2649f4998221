"""A made-up execution, played to load and compile all that a real one would."""

import gc
import json
import logging
from importlib import import_module
from typing import Any

import httpx
from anthropic import Anthropic
from crewai import Task
from crewai.llms.base_llm import BaseLLM
from google import genai
from kasal_contracts.crew import AgentSpec, CrewDocument, TaskSpec
from kasal_contracts.executions import ChildJob, ResolvedTool, Snapshot
from kasal_contracts.models import Provider, ResolvedModel
from kasal_tools import discover
from openai import OpenAI

from kasal_executor.pipe import ChildFrame, line

from .conditions import holds
from .engine.bus import observed
from .engine.crews import ExecutionAgent, ExecutionCrew
from .execution import Execution
from .stop import Stop

ALIAS = "rehearsal"

TOOL_CALL = {
    "tool_calls": [
        {
            "index": 0,
            "id": "call",
            "type": "function",
            "function": {"name": "calculator", "arguments": '{"expression":"1"}'},
        }
    ]
}


# Loaded by CrewAI only when a first crew runs.
LATE_MODULES = ("crewai.llms.cache", "crewai.hooks.contexts", "crewai.skills.tool", "crewai.lite_agent")


class Nowhere:
    """Frames are encoded as for a worker, and dropped."""

    def send(self, frame: ChildFrame) -> None:
        line(frame)


class SilentModel(BaseLLM):  # type: ignore[misc]
    """Answers without an event: a model's events would start the bus's threads, which no fork survives."""

    def call(self, *_: Any, **__: Any) -> str:
        return "To be."


def warm_up() -> None:
    """Load everything without starting a thread, then put it where the garbage collector does not touch it.

    Untouched memory stays shared with every child.
    """
    # Without a handler, a library's first log line would have one printed to this process's output.
    logging.getLogger().addHandler(logging.NullHandler())
    for module in LATE_MODULES:
        import_module(module)
    http = httpx.Client(transport=httpx.MockTransport(_answer))
    openai = OpenAI(api_key=ALIAS, base_url="http://nowhere", http_client=http)
    for _ in openai.chat.completions.create(model=ALIAS, messages=[{"role": "user", "content": ""}], stream=True):
        pass
    _ = Anthropic(api_key=ALIAS, http_client=http).messages, genai.Client(api_key=ALIAS).models
    _ = openai.beta.chat.completions
    actor = ExecutionAgent(role="Actor", goal="Play", backstory="", llm=SilentModel(model=ALIAS))
    task = Task(name="scene", description="Play", expected_output="A line", agent=actor)
    with observed(lambda _, __: None):
        ExecutionCrew(agents=[actor], tasks=[task]).kickoff()
    discover()
    holds("true", ALIAS, {}, {})
    gc.collect()
    gc.freeze()


def rehearse() -> None:
    """Raise when the rehearsal fails: such a process must not be given a job."""
    Execution(_job(), Nowhere(), Stop(), httpx.MockTransport(_answer)).run()


def _job() -> ChildJob:
    actor = AgentSpec(key="actor", role="Actor", goal="Play", tools=["calculator"])
    task = TaskSpec(key="scene", description="Play {part}", expected_output="A line", agent="actor")
    return ChildJob(
        execution_id=ALIAS,
        group_id=ALIAS,
        attempt=1,
        snapshot=Snapshot(
            crew=CrewDocument(name=ALIAS, agents=[actor], tasks=[task]),
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
