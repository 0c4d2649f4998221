"""Many children at once, and what one costs. The numbers are printed; what is asserted is far from them."""

import asyncio
import statistics
import sys

import pytest
from kasal_executor.processes import private_memory_mib
from kasal_executor.worker.zygote import Zygote

from .egress import Calls, Hangs, Says, ScriptedEgress, tool_results
from .runs import Ended, crew, job, read_all, run, task


def tell(text: str) -> None:
    """Shown by `pytest -s`."""
    sys.stdout.write(f"\n{text}\n")


pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_thirty_children_work_at_once(zygote: Zygote, egress: ScriptedEgress) -> None:
    started = asyncio.get_running_loop().time()
    ended: list[Ended] = await asyncio.gather(*(run(zygote, job(crew(task("write")), egress.path)) for _ in range(30)))
    took = asyncio.get_running_loop().time() - started
    tell(f"30 executions at once: {took:.1f} s, {30 / took:.1f} a second")
    assert [each.result.text for each in ended] == ["All done."] * 30


async def test_a_parked_child_begins_at_once(zygote: Zygote, egress: ScriptedEgress) -> None:
    loop = asyncio.get_running_loop()
    to_first_request, in_all, memory, cpu = [], [], [], []
    for _ in range(8):
        await zygote.wait_parked(1)
        egress.arrivals.clear()
        started = loop.time()
        async with await zygote.spawn(job(crew(task("write")), egress.path)) as child:
            ended = await read_all(child)
        assert ended.result.text == "All done."
        to_first_request.append(1000 * (egress.arrivals[0] - started))
        in_all.append(1000 * (loop.time() - started))
        memory.append(ended.exit.max_private_mib)
        cpu.append(1000 * ended.exit.cpu_s)
    tell(
        f"job to first model request {statistics.median(to_first_request):.0f} ms, in all"
        f" {statistics.median(in_all):.0f} ms, {statistics.median(cpu):.0f} ms CPU,"
        f" {statistics.median(memory):.1f} MiB above start"
    )
    assert statistics.median(to_first_request) < 1000


async def test_a_running_child_has_little_memory_of_its_own(zygote: Zygote, egress: ScriptedEgress) -> None:
    egress.script = lambda _: Hangs("Once upon a time")
    await zygote.wait_parked(2)
    private = []
    for _ in range(4):  # two parked ones and two that are forked on demand
        egress.asked.clear()
        async with await zygote.spawn(job(crew(task("write")), egress.path)) as child:
            await egress.asked.wait()
            private.append(private_memory_mib(child.pid))
    tell("private memory of children in a model call: " + ", ".join(f"{each:.1f} MiB" for each in private))
    assert max(private) < 60


async def test_memory_that_a_job_takes_is_measured(zygote: Zygote, egress: ScriptedEgress) -> None:
    egress.script = lambda messages: Says("Done.") if tool_results(messages) else Calls("test_allocate", {"mib": 100})
    wanted = job(crew(task("take", tools=["test_allocate"])), egress.path, tools=("test_allocate",))
    ended = await run(zygote, wanted)
    assert 95 < ended.exit.max_private_mib < 200
