"""SmolLM2 on the worker's machine: one server process for all workers of a data directory, started when it is needed.

Whoever holds the lock on `local-model.json` runs the server; the file says where it is. The lock is the server's own,
so a server that died is noticed, and replaced, by the next call.
"""

import asyncio
import fcntl
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import structlog
from kasal_contracts.models import ResolvedModel
from kasal_contracts.wire import JsonObject
from kasal_egress import Egress, EgressResponse, Timeouts, UrlPolicy, open_egress
from kasal_egress.errors import EgressInterruptedError, EgressUnreachableError
from pydantic import TypeAdapter, ValidationError

from .local_model_address import Address, weights
from .providers import LOCAL
from .refusals import BrokerRefusedError
from .settings import WorkerSettings

NAME = "smollm2"
START_LIMIT_S = 60
POLL_S = 0.05
# A server that leaves because it was idle may be found just before it goes.
TRIES = 3

_Body: TypeAdapter[JsonObject] = TypeAdapter(JsonObject)

log = structlog.get_logger(__name__)


class LocalModel:
    """Made by `open_local_model`."""

    def __init__(self, settings: WorkerSettings, egress: Egress) -> None:
        self._settings = settings
        self._egress = egress
        self._folder = settings.data_dir.resolve()
        self._finding = asyncio.Lock()
        self._server: asyncio.subprocess.Process | None = None

    @asynccontextmanager
    async def asked(self, model: ResolvedModel, body: JsonObject) -> AsyncGenerator[EgressResponse]:
        """A chat completion, streamed or not. Raises BrokerRefusedError where the model cannot run, EgressError."""
        if model.base_url != f"{LOCAL}{NAME}":
            raise BrokerRefusedError(
                f"The model “{model.alias}” names {model.base_url}, but the only local model is {LOCAL}{NAME}.",
                status=422,
            )
        limited = body if body.get("max_tokens") or body.get("max_completion_tokens") else {**body, **self._limit}
        async with AsyncExitStack() as stack:
            yield await self._answer(stack, _Body.dump_json({**limited, "model": NAME}))

    async def stop(self) -> None:
        if self._server is not None:
            with suppress(ProcessLookupError):
                self._server.kill()
            await self._server.wait()

    @property
    def _limit(self) -> JsonObject:
        return {"max_tokens": self._settings.local_model_max_tokens}

    async def _answer(self, stack: AsyncExitStack, body: bytes) -> EgressResponse:
        for _ in range(TRIES - 1):
            with suppress(EgressUnreachableError, EgressInterruptedError):
                return await self._asked_once(stack, body)
        return await self._asked_once(stack, body)

    async def _asked_once(self, stack: AsyncExitStack, body: bytes) -> EgressResponse:
        address = await self._address()
        request = self._egress.request(
            "POST",
            f"{address.url}/v1/chat/completions",
            headers={"Content-Type": "application/json"},
            credential_headers={"Authorization": f"Bearer {address.key}"},
            body=body,
            timeouts=Timeouts(idle=self._settings.llm_timeout),
        )
        return await stack.enter_async_context(request)

    async def _address(self) -> Address:
        """Of a server that runs; starts one where there is none."""
        try:
            async with self._finding, asyncio.timeout(START_LIMIT_S):
                while True:
                    address = await self._started_or_found()
                    if address is not None:
                        return address
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise _not_started(self._folder) from None

    async def _started_or_found(self) -> Address | None:
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._folder / "local-model.json", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return _read(descriptor)
            os.ftruncate(descriptor, 0)
            await self._start(descriptor)
            return _read(descriptor)
        finally:
            os.close(descriptor)

    async def _start(self, lock: int) -> None:
        if find_spec("xllamacpp") is None or weights() is None:
            raise BrokerRefusedError(
                "The local model is not installed on this worker: it comes with kasal-executor[local-model]. "
                "Install that, or choose another model.",
                status=503,
            )
        await self.stop()
        arguments = (lock, os.getpid(), self._settings.local_model_context)
        with (self._folder / "local-model.log").open("wb") as output:
            self._server = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "kasal_executor.worker.local_model_server", *map(str, arguments)),
                str(self._settings.local_model_idle.total_seconds()),
                env={"PATH": os.defpath, "LANG": "C.UTF-8"},
                pass_fds=[lock],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
            )
        if self._server.stdout is None or not await self._server.stdout.readline():
            raise _not_started(self._folder)
        log.info("local_model_started", pid=self._server.pid)


def _read(descriptor: int) -> Address | None:
    """`None` while the server is still loading."""
    try:
        return Address.model_validate_json(os.pread(descriptor, 4096, 0))
    except ValidationError:
        return None


def _not_started(folder: Path) -> BrokerRefusedError:
    log.error("local_model_not_started", log=str(folder / "local-model.log"))
    return BrokerRefusedError(
        "The local model could not be started; the worker's local-model.log says why.", status=503
    )


@asynccontextmanager
async def open_local_model(settings: WorkerSettings) -> AsyncGenerator[LocalModel]:
    """Starts nothing yet; a server that was started here is gone when the context closes."""
    # The only address that it is asked for is the one in the file above, which is loopback.
    async with open_egress(UrlPolicy(allow_loopback_ports=True)) as egress:
        model = LocalModel(settings, egress)
        try:
            yield model
        finally:
            await model.stop()
