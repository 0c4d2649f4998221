"""What a tool can see and leave behind in a child."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from kasal_executor.worker.zygote import Zygote

from .conftest import PLANTED
from .egress import Calls, Says, ScriptedEgress, tool_results
from .runs import crew, job, run, task

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def looked_around(zygote: Zygote, egress: ScriptedEgress) -> tuple[dict[str, Any], list[str]]:
    egress.script = lambda messages: (
        Says(tool_results(messages)[0]) if tool_results(messages) else Calls("test_look", {})
    )
    ended = await run(zygote, job(crew(task("look", tools=["test_look"])), egress.path, tools=("test_look",)))
    seen: dict[str, Any] = json.loads(str(ended.result.text))
    return seen, [str(event.data["message"]) for event in ended.of("log")]


async def test_no_variable_of_the_worker_reaches_a_child(zygote: Zygote, egress: ScriptedEgress) -> None:
    seen, _ = await looked_around(zygote, egress)
    assert PLANTED in os.environ.values()
    assert PLANTED not in json.dumps(seen)
    assert seen["environment"]["HOME"] == seen["directory"]
    assert not {"OPENAI_API_KEY", "DATABRICKS_TOKEN", "KASAL_PLANTED_SECRET"} & seen["environment"].keys()


async def test_a_child_holds_no_descriptor_but_its_own(zygote: Zygote, egress: ScriptedEgress) -> None:
    seen, _ = await looked_around(zygote, egress)
    kinds = {number: target.split(":")[0] for number, target in seen["descriptors"].items()}
    assert kinds["0"] == "/dev/null"
    assert (kinds["1"], kinds["2"], kinds["3"]) == ("pipe", "pipe", "socket")
    assert set(kinds.values()) <= {"/dev/null", "pipe", "socket", "anon_inode"}
    assert len(kinds) < 20


async def test_a_child_has_its_own_session_and_an_empty_directory(zygote: Zygote, egress: ScriptedEgress) -> None:
    seen, _ = await looked_around(zygote, egress)
    assert seen["session"] == seen["pid"]
    assert seen["directory"].startswith("/dev/shm/")
    assert not Path(seen["directory"]).exists()


async def test_a_child_has_no_network_but_the_broker_s_socket(zygote: Zygote, egress: ScriptedEgress) -> None:
    seen, _ = await looked_around(zygote, egress)
    assert seen["interfaces"] == ["lo"]


async def test_what_a_tool_prints_becomes_a_log_event(zygote: Zygote, egress: ScriptedEgress) -> None:
    _, logged = await looked_around(zygote, egress)
    assert logged == ["a tool wrote this line"]
