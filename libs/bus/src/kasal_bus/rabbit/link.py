"""A connection that comes back."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta

import aio_pika
import aiormq.abc
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection
from yarl import URL

from kasal_bus.bus import BusUnavailableError
from kasal_bus.ending import ended

log = structlog.get_logger()

CONNECT_LIMIT = timedelta(seconds=5)
CALL_LIMIT = timedelta(seconds=5)
CLOSE_LIMIT = timedelta(seconds=2)
FIRST_PAUSE = timedelta(milliseconds=100)
LONGEST_PAUSE = timedelta(seconds=3)
# A broker that went without a word is noticed after three missed beats.
HEARTBEAT_S = 10


@contextmanager
def broker_errors() -> Generator[None]:
    """Whatever the library raises becomes BusUnavailableError."""
    try:
        yield
    except BusUnavailableError:
        raise
    except Exception as error:  # aiormq hands whatever broke its reader, of any type, to all who wait
        raise BusUnavailableError(str(error) or type(error).__name__) from error
    except asyncio.CancelledError as error:
        # aiormq hands a CancelledError to those who wait on a connection that it closes; nobody cancelled them.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BusUnavailableError("the connection was closed") from error


@asynccontextmanager
async def opened_channel(connection: AbstractConnection) -> AsyncGenerator[aiormq.abc.AbstractChannel]:
    """A channel for one purpose. Whatever is unacknowledged when it closes goes back to its queue."""
    if connection.transport is None:
        raise BusUnavailableError("the connection was closed")
    with broker_errors():
        # aio-pika's own channel leaves an observer on its connection for good, and these come and go.
        channel = await connection.transport.connection.channel(
            publisher_confirms=False, timeout=CALL_LIMIT.total_seconds()
        )
    try:
        yield channel
    finally:
        await _close(channel)


async def _close(closable: AbstractConnection | aiormq.abc.AbstractChannel) -> None:
    """Sees it through even when cancelled: a channel that is left open keeps its consumer and its deliveries."""
    closing = asyncio.create_task(_closed_in_time(closable))
    try:
        await asyncio.shield(closing)
    except asyncio.CancelledError:
        await asyncio.wait([closing])
        raise


async def _closed_in_time(closable: AbstractConnection | aiormq.abc.AbstractChannel) -> None:
    with suppress(BusUnavailableError), broker_errors():
        async with asyncio.timeout(CLOSE_LIMIT.total_seconds()):
            await closable.close()


class Link:
    """One connection to the broker and one channel on it, made anew whenever either is lost.

    `prepare` declares on each new connection what its users rely on.
    """

    def __init__(
        self,
        url: str,
        purpose: str,
        *,
        confirms: bool = False,
        prepare: Callable[[AbstractConnection], Awaitable[None]],
    ) -> None:
        self._url = URL(url)
        if "heartbeat" not in self._url.query:
            self._url = self._url.update_query(heartbeat=HEARTBEAT_S)
        self._purpose = purpose
        self._confirms = confirms
        self._prepare = prepare
        self._channel: AbstractChannel | None = None
        self._connection: AbstractConnection | None = None
        self._up = asyncio.Event()
        self._tried = asyncio.Event()
        self._lost = asyncio.Event()

    @property
    def is_up(self) -> bool:
        return self._up.is_set()

    async def channel(self) -> AbstractChannel:
        """The channel to publish on; waits for the broker. Another call on it would close it when cancelled."""
        while self._channel is None:
            await self._up.wait()
        return self._channel

    async def connection(self) -> AbstractConnection:
        """The present connection; waits for the broker."""
        while self._connection is None:
            await self._up.wait()
        return self._connection

    def drop(self, channel: AbstractChannel) -> None:
        """`channel` failed its user: nobody gets it again and the connection is made anew."""
        if channel is self._channel:
            self._set_down()
            self._lost.set()

    async def tried(self) -> None:
        """Waits for the end of the first attempt to connect, whatever came of it."""
        await self._tried.wait()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        task = asyncio.create_task(self._run(), name=f"link {self._purpose}")
        try:
            yield
        finally:
            await ended(task)

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                async with self._connected():
                    failures = 0
                    self._tried.set()
                    log.info("broker_connected", broker=self._place, purpose=self._purpose)
                    await self._lost.wait()
                log.warning("broker_connection_lost", broker=self._place, purpose=self._purpose)
            except BusUnavailableError as error:
                log.warning("broker_unreachable", broker=self._place, purpose=self._purpose, reason=str(error))
            self._tried.set()
            pause = min(FIRST_PAUSE * 2**failures, LONGEST_PAUSE)
            failures = min(failures + 1, 10)
            await asyncio.sleep(pause.total_seconds())

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[None]:
        lost = self._lost = asyncio.Event()
        with broker_errors():
            async with asyncio.timeout(CONNECT_LIMIT.total_seconds()):
                connection = await aio_pika.connect(
                    self._url, client_properties={"connection_name": f"kasal {self._purpose}"}
                )
        try:
            with broker_errors():
                async with asyncio.timeout(CONNECT_LIMIT.total_seconds()):
                    await self._prepare(connection)
                    channel = await connection.channel(
                        publisher_confirms=self._confirms, on_return_raises=self._confirms
                    )
            channel.close_callbacks.add(lambda *_: lost.set())
            if channel.is_closed:
                raise BusUnavailableError("the connection was closed")
            self._connection, self._channel = connection, channel
            self._up.set()
            yield
        finally:
            self._set_down()
            await _close(connection)

    def _set_down(self) -> None:
        self._up.clear()
        self._connection = self._channel = None

    @property
    def _place(self) -> str:
        """Where the broker is, without user or password."""
        return f"{self._url.host}:{self._url.port}{self._url.path}"
