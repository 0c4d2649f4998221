"""The worker's side of the zygote: keeps one alive and gets children from it."""

import asyncio
import itertools
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from kasal_contracts.executions import ChildJob

from kasal_executor.pipe import Exited, Spawned, Wanted, ZygoteReport
from kasal_executor.processes import environment_in

from .child_process import ChildProcess

log = structlog.get_logger(__name__)

# Directories of children are in one of their worker's, whose name tells whose it is.
PREFIX = "kasal-"
DATAGRAM = 64 * 1024
DESCRIPTORS = 2
# How soon a zygote that died is replaced, and how long a job waits for one. A start takes 4 to 8 s.
RESPAWN_DELAY_S = 1.0
SPAWN_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0


class ZygoteLostError(Exception):
    """The zygote ended before it could hand over a child."""


@dataclass
class _Link:
    """One zygote process and what is outstanding with it."""

    control: socket.socket
    waiting: dict[int, asyncio.Future[tuple[Spawned, list[int]]]] = field(default_factory=dict)
    children: dict[int, ChildProcess] = field(default_factory=dict)
    # Children that ended before their owner heard of them.
    early: dict[int, Exited] = field(default_factory=dict)
    unwanted: set[int] = field(default_factory=set)


class Zygote:
    """Hands out children. Replaces its process when that dies; the children die with it."""

    def __init__(self, spares: int, scratch: Path) -> None:
        self._spares = spares
        self._scratch = scratch
        self._tickets = itertools.count(1)
        self._link: _Link | None = None
        self._ready = asyncio.Event()
        self._parked_changed = asyncio.Event()
        self.parked = 0

    @property
    def is_ready(self) -> bool:
        return self._ready.is_set()

    async def wait_ready(self) -> None:
        await self._ready.wait()

    async def wait_parked(self, count: int) -> None:
        """Until `count` children have everything warm and wait for a job."""
        while self.parked < count:
            self._parked_changed.clear()
            await self._parked_changed.wait()

    async def spawn(self, job: ChildJob) -> ChildProcess:
        """A child that works on `job`. Raise `TimeoutError` when no zygote comes up in time."""
        async with asyncio.timeout(SPAWN_TIMEOUT_S):
            while True:
                await self._ready.wait()
                try:
                    child = await self._child()
                except ZygoteLostError:
                    continue
                async with AsyncExitStack() as stack:
                    await stack.enter_async_context(child)
                    await child.give(job)
                    stack.pop_all()
                return child

    async def _child(self) -> ChildProcess:
        link = self._link
        if link is None:
            raise ZygoteLostError
        ticket = next(self._tickets)
        answer = link.waiting[ticket] = asyncio.get_running_loop().create_future()
        try:
            wanted = Wanted(ticket=ticket).model_dump_json().encode()
            await asyncio.get_running_loop().sock_sendall(link.control, wanted)
            spawned, descriptors = await answer
        except OSError:
            self._not_ready(link)
            raise ZygoteLostError from None
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled():
                self._send_home(link, *answer.result())
            raise
        finally:
            link.waiting.pop(ticket, None)
        child = await ChildProcess.open(spawned.pid, Path(spawned.directory), *descriptors)
        if spawned.pid in link.early:
            child.ended(link.early.pop(spawned.pid))
        else:
            link.children[spawned.pid] = child
        return child

    async def keep(self) -> None:
        """Run one zygote after another, until cancelled."""
        await asyncio.to_thread(_sweep, self._scratch)
        while True:
            root = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=self._scratch))
            try:
                await self._run_one(root)
            finally:
                await asyncio.to_thread(shutil.rmtree, root, ignore_errors=True)
            await asyncio.sleep(RESPAWN_DELAY_S)

    async def _run_one(self, root: Path) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0)
        with ours, theirs:
            arguments = (str(theirs.fileno()), str(os.getpid()), str(self._spares), str(root))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "kasal_executor.child.zygote", *arguments),
                env=environment_in(root),
                cwd=root,
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
            theirs.close()
            link = self._link = _Link(ours)
            loop = asyncio.get_running_loop()
            loop.add_reader(ours.fileno(), self._receive, link)
            try:
                status = await process.wait()
                log.error("zygote_died", pid=process.pid, status=status)
            finally:
                self._ready.clear()
                loop.remove_reader(ours.fileno())
                self._give_up(link)
                await _end(process)

    def _receive(self, link: _Link) -> None:
        try:
            datagram, descriptors, _, _ = socket.recv_fds(link.control, DATAGRAM, DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            datagram, descriptors = b"", []
        if not datagram:
            self._not_ready(link)
            asyncio.get_running_loop().remove_reader(link.control.fileno())
            return
        report = ZygoteReport.model_validate_json(datagram)
        if report.ready:
            log.info("zygote_ready", cuts_network=report.cuts_network)
            self._ready.set()
        if report.parked is not None:
            self.parked = report.parked
            self._parked_changed.set()
        if report.spawned is not None:
            self._hand_over(link, report.spawned, descriptors)
        if report.exited is not None:
            self._exited(link, report.exited)

    def _not_ready(self, link: _Link) -> None:
        if self._link is link:
            self._ready.clear()

    def _hand_over(self, link: _Link, spawned: Spawned, descriptors: list[int]) -> None:
        answer = link.waiting.get(spawned.ticket)
        if answer is None or answer.done():
            self._send_home(link, spawned, descriptors)
        else:
            answer.set_result((spawned, descriptors))

    def _send_home(self, link: _Link, spawned: Spawned, descriptors: list[int]) -> None:
        """Whoever wanted the child has given up. A closed channel tells it to leave."""
        link.unwanted.add(spawned.pid)
        for descriptor in descriptors:
            os.close(descriptor)
        shutil.rmtree(spawned.directory, ignore_errors=True)

    def _exited(self, link: _Link, exited: Exited) -> None:
        child = link.children.pop(exited.pid, None)
        if child is not None:
            child.ended(exited)
        elif exited.pid in link.unwanted:
            link.unwanted.remove(exited.pid)
        else:
            link.early[exited.pid] = exited

    def _give_up(self, link: _Link) -> None:
        self._link = None
        self.parked = 0
        for answer in link.waiting.values():
            if not answer.done():
                answer.set_exception(ZygoteLostError())
        for child in link.children.values():
            child.lost()


def _sweep(scratch: Path) -> None:
    """Remove what workers left behind that were killed."""
    for root in scratch.glob(f"{PREFIX}*-*"):
        owner = root.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(root, ignore_errors=True)


async def _end(process: asyncio.subprocess.Process) -> None:
    """A zygote leaves when its socket is closed; its children leave with it."""
    if process.returncode is None:
        process.kill()
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()


@asynccontextmanager
async def open_zygote(*, spares: int = 2, scratch: Path = Path("/dev/shm")) -> AsyncGenerator[Zygote]:  # noqa: S108
    """Start a zygote and keep one running. `spares` children wait parked; `scratch` holds children's directories."""
    zygote = Zygote(spares, scratch)
    keeper = asyncio.create_task(zygote.keep(), name="zygote")
    try:
        yield zygote
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
