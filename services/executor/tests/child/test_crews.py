"""What crews do in a child, with a real zygote, real CrewAI and a scripted model."""

import pytest
from kasal_contracts.crew import CrewConfiguration, InputSpec, Process
from kasal_executor.worker.zygote import Zygote

from .egress import Calls, Reply, Says, ScriptedEgress, text_of, tool_results
from .runs import crew, job, run, task, writer

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_later_task_sees_the_output_of_the_one_before(zygote: Zygote, egress: ScriptedEgress) -> None:
    egress.script = lambda messages: Says("Seven facts." if "research" in text_of(messages) else "An article.")
    document = crew(task("research"), task("article", context=["research"]))
    ended = await run(zygote, job(document, egress.path))
    assert ended.result.text == "An article."
    assert [(each.key, each.agent, each.status, each.output) for each in ended.result.tasks] == [
        ("research", "writer", "completed", "Seven facts."),
        ("article", "writer", "completed", "An article."),
    ]
    assert "Seven facts." in egress.prompts()[1]
