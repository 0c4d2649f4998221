"""The zygote's own life: it is replaced when it dies, and goes when its worker goes."""

import os
import signal
from pathlib import Path

import pytest
from kasal_executor.worker.zygote import Zygote, _sweep

from .egress import Hangs, Says, ScriptedEgress
from .runs import crew, job, read_all, run, task

pytestmark = pytest.mark.asyncio(loop_scope="session")


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_a_zygote_that_dies_takes_its_children_along_and_is_replaced(
    zygote: Zygote, egress: ScriptedEgress
) -> None:
    egress.script = lambda _: Hangs()
    async with await zygote.spawn(job(crew(task("write")), egress.path)) as child:
        await egress.asked.wait()
        os.kill(parent_of(child.pid), signal.SIGKILL)
        ended = await read_all(child)
    assert ended.outcome is None
    assert ended.exit.signal is signal.SIGKILL
    egress.script = lambda _: Says("Back.")
    assert (await run(zygote, job(crew(task("write")), egress.path))).result.text == "Back."


async def test_a_child_that_is_no_longer_wanted_goes_home(zygote: Zygote) -> None:
    child = await zygote._child()
    child._writer.close()
    assert (await child.wait()).signal is None
    async with child:
        pass
    assert not child._directory.exists()


async def test_what_a_killed_worker_left_behind_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "kasal-999999999-abc"
    mine = tmp_path / f"kasal-{os.getpid()}-abc"
    left.mkdir()
    mine.mkdir()
    _sweep(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [mine.name]
