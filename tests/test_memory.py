"""A crew with memory knows in its second execution what it learnt in its first."""

import anyio
from kasal_client import Kasal
from kasal_contracts.executions import Status
from kasal_contracts.ids import new_id
from kasal_contracts.models import Provider
from kasal_testing.scripted_llm import ScriptedLlm, Text

from .crews import crew

FACT = "The warehouse in Rotterdam closes at half past four on Fridays."


async def test_the_second_execution_recalls_what_the_first_one_saved(kasal: Kasal) -> None:
    name = f"remembering/{new_id()}"
    async with ScriptedLlm(Text(FACT), Text("I remember.")) as llm:
        kasal.models.create(name, Provider.OPENAI_COMPATIBLE, "m", base_url=llm.url)
        saved = kasal.crews.create(crew("question", model=name, memory=True))
        for _ in range(2):
            execution = kasal.executions.submit(crew_id=saved.id, inputs={"topic": "the warehouse in Rotterdam"})
            ended = await anyio.to_thread.run_sync(kasal.executions.wait, execution.id)
            assert ended.status is Status.SUCCEEDED
        first, second = (str(request.body["messages"]) for request in llm.requests[:2])
        kinds = [event.type for event in kasal.executions.events(execution.id)]
    assert FACT not in first
    assert FACT in second
    assert {"memory.searched", "memory.saved"} <= set(kinds)
