"""CrewAI's event bus: silent, without threads, observed through a stream sink."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crewai.events.event_bus import crewai_event_bus
from crewai.events.event_context import EventContextConfig, MismatchBehavior, _event_context_config
from crewai.events.stream_context import add_stream_sink, reset_stream_sinks
from crewai.hooks.dispatch import HookAborted
from crewai_core.printer import set_suppress_console_output

__all__ = ["HookAborted", "forget_events", "is_forkable", "observed"]

Sink = Callable[[Any, Any], None]


@contextmanager
def observed(sink: Sink) -> Iterator[None]:
    """Give every event to `sink`, on the thread that emits it and in order.

    The bus's own handlers (console, tracing) are away meanwhile; they would run on a thread pool, out of order.
    """
    set_suppress_console_output(True)
    # After a failed call CrewAI closes scopes twice and would complain about it on the console.
    _event_context_config.set(
        EventContextConfig(mismatch_behavior=MismatchBehavior.SILENT, empty_pop_behavior=MismatchBehavior.SILENT)
    )
    token = add_stream_sink(sink)
    try:
        with crewai_event_bus.scoped_handlers():
            yield
    finally:
        reset_stream_sinks(token)


def forget_events() -> None:
    """Free the events of this process; the bus keeps about 3 kB for each."""
    state = crewai_event_bus.runtime_state
    if state is not None:
        state.event_record.clear()


def is_forkable() -> bool:
    """Threads do not survive a fork, and a bus that has started its own would wait for them for ever."""
    return len(list(Path("/proc/self/task").iterdir())) == 1 and not crewai_event_bus._executor_initialized
