"""Each provider's own protocol reaches the broker with the attempt's token, and is understood on the way back."""

import pytest
from kasal_contracts.models import Provider
from kasal_executor.worker.zygote import Zygote

from .egress import Refuses, Says, ScriptedEgress
from .runs import MODEL, crew, job, run, task

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROVIDERS = list(Provider)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_model_answers(zygote: Zygote, egress: ScriptedEgress, provider: Provider) -> None:
    model = MODEL.model_copy(update={"provider": provider, "max_tokens": 99, "extra": {"custom": 1}})
    ended = await run(zygote, job(crew(task("write")), egress.path, models=(model,)))
    assert ended.result.text == "All done."
    completed = ended.of("llm.completed")[0].data
    assert (completed["model"], completed["input_tokens"], completed["output_tokens"]) == ("scripted/model", 10, 5)
    assert completed["text"] == "All done."
    assert egress.requests[0]["custom"] == 1


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_refusal_s_code_and_words_arrive(zygote: Zygote, egress: ScriptedEgress, provider: Provider) -> None:
    egress.script = lambda _: Refuses(401, "auth_expired", "Your login at the provider has expired. Log in again.")
    model = MODEL.model_copy(update={"provider": provider})
    ended = await run(zygote, job(crew(task("write")), egress.path, models=(model,)))
    assert ended.error_code == "auth_expired"
    assert ended.error_message == "Your login at the provider has expired. Log in again."
    assert len(egress.requests) == 1


async def test_a_model_called_demo1_is_no_o1(zygote: Zygote, egress: ScriptedEgress) -> None:
    egress.script = lambda _: Says("Fine.")
    model = MODEL.model_copy(update={"model": "demo1"})
    await run(zygote, job(crew(task("write")), egress.path, models=(model,)))
    assert egress.requests[0]["messages"][0]["role"] == "system"
