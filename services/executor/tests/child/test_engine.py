"""What we assume of CrewAI beyond its documentation. Each test names the assumption that broke."""

import inspect

import pytest
from crewai import Agent, Crew, Task
from crewai.events.event_bus import crewai_event_bus
from crewai.hooks.dispatch import HookAborted
from crewai.llms.base_llm import BaseLLM
from crewai.llms.providers.anthropic.completion import AnthropicCompletion
from crewai.llms.providers.gemini.completion import GeminiCompletion
from crewai.llms.providers.openai.completion import OpenAICompletion
from crewai.memory.unified_memory import Memory
from kasal_executor.child.engine.crews import NO_OUTPUT, ExecutionCrew


def test_the_version_is_the_one_that_was_studied() -> None:
    from crewai import __version__

    assert __version__ == "1.15.30"


@pytest.mark.parametrize("client", [OpenAICompletion, AnthropicCompletion, GeminiCompletion])
def test_a_client_s_call_is_wrapped_in_a_retry_that_can_be_taken_off(client: type[BaseLLM]) -> None:
    assert client.call._crewai_rate_limit_wrapped
    assert "messages" in inspect.signature(client.call.__wrapped__).parameters


def test_clients_are_built_by_methods_that_can_be_replaced() -> None:
    assert OpenAICompletion._build_sync_client
    assert AnthropicCompletion._build_sync_client
    assert GeminiCompletion._initialize_client


def test_the_crew_has_the_limits_and_steps_that_are_replaced() -> None:
    replaced = {name for name, value in vars(ExecutionCrew).items() if callable(value) and not name.startswith("__")}
    inherited = {name for name in replaced if hasattr(Crew, name)}
    assert {
        "validate_end_with_at_most_one_async_task",
        "validate_first_task",
        "_handle_conditional_task",
        "_create_crew_output",
        "_get_context",
        "_store_execution_log",
        "_add_delegation_tools",
        "_handle_crew_planning",
    } <= inherited
    assert "_task_output_handler" in Crew.__private_attributes__


def test_an_agent_makes_its_executor_in_a_method_of_its_own() -> None:
    assert list(inspect.signature(Agent.create_agent_executor).parameters) == ["self", "tools", "task"]


def test_the_bus_says_whether_it_has_threads_and_what_it_keeps() -> None:
    assert isinstance(crewai_event_bus._executor_initialized, bool)
    assert hasattr(type(crewai_event_bus), "runtime_state")


def test_an_aborted_hook_is_an_exception_that_agents_let_pass() -> None:
    from crewai.agent.core import _passthrough_exceptions

    assert HookAborted in _passthrough_exceptions


def test_memory_calls_what_is_replaced() -> None:
    for name in ("recall", "remember", "remember_many", "extract_memories", "drain_writes"):
        assert callable(getattr(Memory, name))


def test_a_task_runs_its_guardrails_in_order() -> None:
    assert "guardrails" in Task.model_fields


def test_an_executor_without_an_answer_still_says_so_in_the_same_words() -> None:
    from crewai.agents.agent_executor import AgentExecutor

    assert NO_OUTPUT in inspect.getsource(AgentExecutor.finalize)
    assert list(inspect.signature(Agent._finalize_task_execution).parameters) == ["self", "task", "result"]
