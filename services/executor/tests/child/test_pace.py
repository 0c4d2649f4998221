import threading

import pytest
from kasal_executor.child.engine.bus import HookAborted
from kasal_executor.child.pace import Pace
from kasal_executor.child.stop import Stop


def test_calls_within_the_limits_do_not_wait() -> None:
    pace = Pace(Stop(), {None: 3, "writer": 2})
    for agent in ("writer", "writer", "editor"):
        pace.wait(agent)
    assert pace._delay(None) > 0
    assert pace._delay("writer") > 0


@pytest.mark.parametrize("limits", [{None: 1}, {"writer": 1}])
def test_a_call_over_a_limit_waits_until_the_execution_is_stopped(limits: dict[str | None, int]) -> None:
    stop = Stop()
    pace = Pace(stop, limits)
    pace.wait("writer")
    threading.Timer(0.05, stop.cancel).start()
    with pytest.raises(HookAborted):
        pace.wait("writer")


def test_an_agent_without_a_limit_does_not_wait_for_another() -> None:
    pace = Pace(Stop(), {"writer": 1})
    pace.wait("writer")
    pace.wait("editor")
    assert pace._delay("writer") > 59
