"""Commands that serve: one process for all, or one for each."""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from kasal_contracts.errors import KasalError
from kasal_runtime.logs import configure_logs
from kasal_runtime.settings import DEFAULT_DATA_DIR, CommonSettings
from pydantic import ValidationError

from .console import explain_settings, fail, out
from .registry import SERVICES, NotInstalledError, find_service

DataDir = Annotated[Path, typer.Option(help="Where this machine's files are kept.", envvar="KASAL_DATA_DIR")]
Bind = Annotated[str, typer.Option(help="Address to listen on.")]
Answer = TypeVar("Answer")
PORTS = {"gateway": 8000, "auth": 8101, "crews": 8102, "executor": 8103, "memory": 8104}


def dev(
    host: Bind = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The public port.", min=0, max=65535)] = 8000,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    slots: Annotated[int, typer.Option(help="Executions that run at the same time.", min=1, max=64)] = 4,
) -> None:
    """Run everything on this machine: no Docker, no key, no account."""
    from .developing import develop
    from .embedded import DataDirBusyError, Embedding

    configure_logs(json=False, level="warning")
    try:
        # uvloop would run the fork hooks of every library of this process, the vector store's among them, for each
        # program that is started; asyncio does not.
        asyncio.run(develop(Embedding(data_dir, host, port, slots), stopped=_stop_signal))
    except DataDirBusyError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{host}:{port} cannot be used ({error}); choose another with --port")


def serve(
    service: Annotated[str, typer.Argument(help=" | ".join(SERVICES))],
    host: Bind = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port to listen on.", min=0, max=65535)] = None,
) -> None:
    """Run one service, from KASAL_* settings."""
    if service not in SERVICES:
        fail(f"there is no service {service!r}; choose one of {', '.join(SERVICES)}", code=2)
    try:
        _run(_serve(service, host, PORTS[service] if port is None else port))
    except (NotInstalledError, ValueError, OSError, KasalError) as error:
        fail(explain_settings(error) if isinstance(error, ValidationError) else str(error))


async def _serve(name: str, bind: str, port: int) -> None:
    from kasal_runtime.hosting import open_bus, open_host, serving

    service = find_service(name)
    settings = service.settings()
    configure_logs(json=settings.log_json, level=settings.log_level)
    _need(settings)
    stop = _stop_signal()
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(open_bus(settings))
        host = await stack.enter_async_context(open_host(name, settings, bus))
        app = await stack.enter_async_context(service.open(settings, host))
        taken = await stack.enter_async_context(serving(app, host=bind, port=port))
        out.print(f"{name} listens on http://{bind}:{taken}", highlight=False)
        await stop.wait()


def worker(
    slots: Annotated[int | None, typer.Option(help="Executions at the same time.", min=1, max=256)] = None,
) -> None:
    """Run one worker that executes crews."""
    try:
        _run(_work(slots))
    except (ValueError, OSError, KasalError) as error:
        fail(explain_settings(error) if isinstance(error, ValidationError) else str(error))


async def _work(slots: int | None) -> None:
    from kasal_executor.worker.service import open_worker
    from kasal_executor.worker.settings import WorkerSettings
    from kasal_runtime.hosting import open_bus, open_host

    settings = WorkerSettings() if slots is None else WorkerSettings(slots=slots)
    configure_logs(json=settings.log_json, level=settings.log_level)
    _need(settings)
    stop = _stop_signal()
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(open_bus(settings))
        host = await stack.enter_async_context(open_host("worker", settings, bus))
        opened = await stack.enter_async_context(open_worker(settings, host))
        await _ready_or_stopped(opened.wait_ready(), stop)
        out.print(f"worker with {settings.slots} slots is ready", highlight=False)
        await stop.wait()


async def _ready_or_stopped(ready: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    waiting = [asyncio.create_task(ready), asyncio.create_task(stop.wait())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


def up(
    workers: Annotated[int, typer.Option(help="Worker processes.", min=0, max=64)] = 1,
    port: Annotated[int, typer.Option(help="The public port.", min=1, max=65535)] = 8000,
    host: Bind = "127.0.0.1",
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Run every service and the workers as processes of their own, on your PostgreSQL and RabbitMQ."""
    from .upping import RefusedError, bring_up

    configure_logs(json=False, level="info")
    try:
        # See `dev`: every service has been imported here for its migrations.
        asyncio.run(bring_up(data_dir.absolute(), host, port, workers, stopped=_stop_signal))
    except ValidationError as error:
        fail(explain_settings(error))
    except (RefusedError, KasalError, ValueError, OSError) as error:
        fail(str(error))


def migrate() -> None:
    """Bring every service's tables up to date."""
    from .migrating import migrate_all

    settings = CommonSettings()
    _need(settings, bus=False)
    try:
        migrated = _run(migrate_all(settings))
    except (OSError, KasalError) as error:
        fail(f"the database does not answer: {error}")
    out.print(f"up to date: {', '.join(migrated)}")


def _need(settings: CommonSettings, *, bus: bool = True) -> None:
    if not settings.database_url.get_secret_value():
        fail("KASAL_DATABASE_URL is not set; it looks like postgresql://user:password@host:5432/kasal")
    if bus and not settings.amqp_url.get_secret_value():
        fail("KASAL_AMQP_URL is not set; it looks like amqp://user:password@host:5672/")


def _stop_signal() -> asyncio.Event:
    """Set by SIGINT and SIGTERM. A second signal ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop_once, stop, loop, number)
    return stop


def _stop_once(stop: asyncio.Event, loop: asyncio.AbstractEventLoop, number: signal.Signals) -> None:
    loop.remove_signal_handler(number)
    stop.set()


def _run(work: Coroutine[Any, Any, Answer]) -> Answer:
    import uvloop

    return uvloop.run(work)
