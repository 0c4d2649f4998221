"""`kasal dev`: the embedded stack, the example crews, and one of them run for real."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from kasal_contracts.errors import KasalError
from kasal_contracts.executions import Status
from kasal_contracts.wire import JsonObject
from kasal_runtime.peers import Peer, open_peer
from pydantic import BaseModel, ConfigDict, SecretStr

from .console import err, out
from .credentials import keep_local_credential
from .embedded import Embedded, Embedding, open_embedded

EXAMPLES = Path(__file__).parents[3] / "examples"
FIRST_EXAMPLE = "research-brief.json"
READY_WITHIN_S = 60
EXAMPLE_WITHIN_S = 300


class NotReadyError(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(f"Kasal did not become ready within {READY_WITHIN_S} s: {reason}")


class _Made(BaseModel):
    """What the example's steps need of an answer."""

    model_config = ConfigDict(extra="ignore")

    id: str = ""
    status: Status = Status.QUEUED
    access_token: str = ""


async def develop(embedding: Embedding, *, stopped: Callable[[], asyncio.Event]) -> None:
    """Runs until `stopped` is set. Raises NotReadyError, DataDirBusyError or OSError."""
    stop = stopped()
    async with open_embedded(embedding) as stack, open_peer("gateway", stack.url, timedelta(seconds=30)) as gateway:
        await _ready(gateway)
        password = stack.secrets.admin_password
        await asyncio.to_thread(keep_local_credential, embedding.data_dir, stack.url, stack.admin_email, password)
        out.print(f"Kasal is ready at {stack.url}", highlight=False)
        _introduce(stack)
        async with asyncio.TaskGroup() as tasks:
            example = tasks.create_task(_first_example(gateway, stack)) if stack.first_start else None
            await stop.wait()
            if example is not None:
                example.cancel()
        err.print("stopping …")


async def _ready(gateway: Peer) -> None:
    reason = "it does not answer"
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            while True:
                async with gateway.open("GET", "/readyz") as answer:
                    if answer.status == 200:
                        return
                    reason = await answer.text()
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise NotReadyError(reason) from None


def _introduce(stack: Embedded) -> None:
    if stack.secrets.is_new_admin:
        password = stack.secrets.admin_password.get_secret_value()
        out.print(f"First admin: {stack.admin_email}  password: {password}", highlight=False, markup=False)
    out.print(f"API and its documentation: {stack.url}/docs   Stop with Ctrl-C.", highlight=False)


async def _first_example(gateway: Peer, stack: Embedded) -> None:
    try:
        await _run_first_example(gateway, stack)
    except (KasalError, TimeoutError) as error:
        err.print(f"The example crew could not be run: {error}", highlight=False, markup=False)


async def _run_first_example(gateway: Peer, stack: Embedded) -> None:
    """Loads the example crews and runs one on the model of this machine."""
    if not (EXAMPLES / FIRST_EXAMPLE).is_file():
        return
    token = await _log_in(gateway, stack.admin_email, stack.secrets.admin_password)
    crews = {path.name: await _load(gateway, token, path) for path in sorted(EXAMPLES.glob("*.json"))}
    order: JsonObject = {"crew_id": crews[FIRST_EXAMPLE], "labels": {"example": "true"}}
    with err.status("Running an example crew on this machine's model …"):
        made = await gateway.call("POST", "/api/v1/execution", _Made, token=token, body=order)
        status = await _end_of(gateway, token, made.id)
    if status is Status.SUCCEEDED:
        out.print(f"An example crew has run: .venv/bin/kasal logs {made.id}", highlight=False)
    else:
        err.print(f"The example crew ended {status}; .venv/bin/kasal logs {made.id} says why", highlight=False)


async def _log_in(gateway: Peer, email: str, password: SecretStr) -> str:
    body: JsonObject = {"email": email, "password": password.get_secret_value()}
    return (await gateway.call("POST", "/api/v1/auth/login", _Made, body=body)).access_token


async def _load(gateway: Peer, token: str, path: Path) -> str:
    return (await gateway.call("POST", "/api/v1/crews", _Made, token=token, body=json.loads(path.read_text()))).id


async def _end_of(gateway: Peer, token: str, execution_id: str) -> Status:
    async with asyncio.timeout(EXAMPLE_WITHIN_S):
        while True:
            found = await gateway.call("GET", f"/api/v1/execution/{execution_id}", _Made, token=token)
            if found.status.is_end:
                return found.status
            await asyncio.sleep(0.2)
