"""The control plane of the executor as a service: routes, the recorder's consumers and the lead."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from kasal_bus.topology import EVENTS
from kasal_db import open_database
from kasal_runtime.app import service_app
from kasal_runtime.service import Host, Service
from starlette.types import ASGIApp

from .control import executions, histories, workers
from .control.announcements import Announcer
from .control.control import Control
from .control.dispatcher import Dispatcher
from .control.leader import Lead, Leadership, leading
from .control.reaper import Reaper, Watch
from .control.recorder import BATCH, Recorder
from .settings import ControlSettings
from .tables import ExecutorTable

NAME = "executor"


@asynccontextmanager
async def open_control(settings: ControlSettings, host: Host) -> AsyncGenerator[ASGIApp]:
    """Neither the database nor the broker need be there yet: `/readyz` says which one is awaited."""
    nudged = asyncio.Event()
    announcer = Announcer(host.bus, nudged)
    async with AsyncExitStack() as stack:
        url = settings.database_url.get_secret_value()
        database = await stack.enter_async_context(open_database(url, NAME))
        recorder = Recorder(database, announcer)
        for shard in EVENTS:
            await stack.enter_async_context(host.bus.consume(shard, recorder.record, batch=BATCH))
        watch = Watch()
        leadership = Leadership(database, settings.leader_lease)
        dispatcher = Dispatcher(database, host.bus, settings.republish)
        reaper = Reaper(database, announcer, watch, settings.lease)
        lead = Lead(settings, leadership, dispatcher, reaper, watch, nudged)
        await stack.enter_async_context(leading(lead, leadership, host.bus, nudged))
        yield service_app(
            NAME,
            host,
            routers=(executions.router, histories.router, workers.router),
            checks={"database": database.check, "broker": host.bus.check},
            body_limit=settings.body_limit,
            state={"control": Control(database=database, announcer=announcer, crews=host.peer("crews"))},
        )


SERVICE = Service(
    name=NAME,
    settings=ControlSettings,
    open=open_control,
    versions=Path(__file__).parent / "migrations",
    metadata=ExecutorTable.metadata,
)
