"""What takes longer: many executions at once, lost workers, servers that are away."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import pytest
from kasal_client import Kasal
from kasal_contracts.executions import Status
from kasal_contracts.ids import new_id
from kasal_contracts.models import Provider
from kasal_testing.proxy import Proxy
from kasal_testing.scripted_llm import Hang, ScriptedLlm, Text
from kasal_testing.stacks import Stack, clean_environment, free_port

from .conftest import ROOT, logged_in
from .crews import crew

pytestmark = pytest.mark.long


def new_model(kasal: Kasal, llm: ScriptedLlm) -> str:
    name = f"scripted/{new_id()}"
    kasal.models.create(name, Provider.OPENAI_COMPATIBLE, "scripted", base_url=llm.url)
    return name


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.json")), ids=lambda path: path.stem)
def test_every_example_succeeds(stack: Stack, example: Path) -> None:
    done = stack.kasal("run", str(example), "--json", timeout_s=240)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "succeeded"


def test_without_a_server_a_run_brings_its_own(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kasal_cli", "run", str(ROOT / "examples" / "calculator.json")],
        env={**clean_environment(), "KASAL_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout.lower()


async def test_sixty_at_once_all_succeed_and_every_log_is_gapless(up: Stack) -> None:
    async with ScriptedLlm(Text("One word after another.", pause_s=0.02)) as llm:
        with logged_in(up.url) as kasal:
            model = new_model(kasal, llm)
            orders = [kasal.executions.submit(crew("one", "two", model=model)) for _ in range(60)]
            with anyio.fail_after(240):
                ended = [await anyio.to_thread.run_sync(kasal.executions.wait, order.id) for order in orders]
            logs = [[event.id for event in kasal.executions.events(order.id)] for order in orders]
    assert {execution.status for execution in ended} == {Status.SUCCEEDED}
    assert all(log == list(range(1, len(log) + 1)) for log in logs)


async def test_a_killed_workers_execution_runs_again_on_another(up: Stack) -> None:
    asked: list[int] = []

    def first_hangs(_: object) -> Hang | Text:
        asked.append(1)
        return Hang() if len(asked) == 1 else Text("Done at last.")

    async with ScriptedLlm(script=first_hangs) as llm:
        with logged_in(up.url) as kasal:
            execution = kasal.executions.submit(crew("one", model=new_model(kasal, llm)))
            await llm.asked()
            os.kill(_worker_of(execution.id), signal.SIGKILL)
            with anyio.fail_after(60):
                ended = await anyio.to_thread.run_sync(kasal.executions.wait, execution.id)
            log = list(kasal.executions.events(execution.id))
    assert (ended.status, ended.attempt) == (Status.SUCCEEDED, 2)
    assert [event.id for event in log] == list(range(1, len(log) + 1))
    assert {event.attempt for event in log} == {1, 2}


def _worker_of(execution_id: str) -> int:
    """A child's parent is its zygote, whose parent is the worker."""
    for path in Path("/proc").glob("[0-9]*/comm"):
        if path.read_text().strip() == f"run-{execution_id[-11:]}":
            return _parent(_parent(int(path.parent.name)))
    raise AssertionError(f"no process runs {execution_id}")


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


@pytest.fixture
async def broker(amqp_url: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(amqp_url)
    await proxy.start()
    yield proxy
    await proxy.cut()


async def test_a_service_whose_broker_is_away_waits_and_says_so(up: Stack, broker: Proxy) -> None:
    port = free_port()
    await broker.cut()
    variables = {"KASAL_AMQP_URL": broker.url, "KASAL_SECRET_DIR": str(up.data_dir / "secrets")}
    process = subprocess.Popen(
        [sys.executable, "-m", "kasal_cli", "serve", "executor", "--port", str(port)],
        env={**up.environment, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with anyio.fail_after(60):
            away = await _readiness(port, 503)
            await broker.start()
            back = await _readiness(port, 200)
    finally:
        process.terminate()
        await anyio.to_thread.run_sync(process.wait)
    assert "broker" in json.dumps(away["checks"])
    assert back["status"] == "ok"


async def _readiness(port: int, status: int) -> dict[str, object]:
    """The first answer of `/readyz` with `status`."""
    async with httpx.AsyncClient(trust_env=False) as http:
        while True:
            try:
                answer = await http.get(f"http://127.0.0.1:{port}/readyz")
            except httpx.TransportError:
                await anyio.sleep(0.1)
                continue
            if answer.status_code == status:
                found: dict[str, object] = answer.json()
                return found
            await anyio.sleep(0.1)
