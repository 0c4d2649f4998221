"""One child as its worker sees it: a stream of frames, a way to stop it, and how it ended."""

import asyncio
import os
import shutil
import signal
import socket
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from kasal_contracts.events import ChildEvent, EventType
from kasal_contracts.executions import ChildJob, ChildOutcome

from kasal_executor.pipe import FRAME_LIMIT, ChildFrame, Exited, Footprint, WorkerFrame, attempt_span_id, line
from kasal_executor.processes import cpu_seconds, peak_memory_mib

# Frames that may wait for the worker; when there are more the child waits.
MAILBOX = 256
MAX_LINE = 8 * 1024
MAX_OUTPUT = 256 * 1024

Message = ChildEvent | ChildOutcome


@dataclass(frozen=True)
class ChildExit:
    """`signal` ended it, unless it returned `code`. CPU and memory are what the job added."""

    code: int | None
    signal: signal.Signals | None
    cpu_s: float
    max_private_mib: float

    @property
    def is_clean(self) -> bool:
        return self.code == 0

    def __str__(self) -> str:
        if self.signal is not None:
            return f"the process was ended by {self.signal.name}"
        return f"the process ended with code {self.code}"


@dataclass(frozen=True)
class Spent:
    """Memory and processor time of a running child, above its start."""

    max_mib: float
    cpu_s: float


class ChildProcess:
    """Use it as an async context manager: afterwards the process and its directory are gone.

    A child that crashes never yields a `ChildOutcome`; its `wait` says why.
    """

    def __init__(
        self, pid: int, directory: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, output: int
    ) -> None:
        self.pid = pid
        self._directory = directory
        self._reader = reader
        self._writer = writer
        self._mailbox: asyncio.Queue[Message | None] = asyncio.Queue(MAILBOX)
        self._exited: asyncio.Future[Exited] = asyncio.get_running_loop().create_future()
        self._before: Footprint | None = None
        self._most_mib = 0.0
        self._root_span: str | None = None
        self._is_silent = False
        self._readers = asyncio.create_task(self._read(output), name=f"child-{pid}")

    @classmethod
    async def open(cls, pid: int, directory: Path, channel: int, output: int) -> Self:
        """Takes over both descriptors, also when it is cancelled."""
        with ExitStack() as stack:
            stack.callback(os.close, output)
            connection = stack.enter_context(socket.socket(fileno=channel))
            reader, writer = await asyncio.open_connection(sock=connection, limit=FRAME_LIMIT)
            stack.pop_all()
        return cls(pid, directory, reader, writer, output)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._kill(signal.SIGKILL)
        self._readers.cancel()
        await asyncio.gather(self._readers, return_exceptions=True)
        self._writer.close()
        await asyncio.shield(self._exited)
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    async def give(self, job: ChildJob) -> None:
        self._root_span = attempt_span_id(job.execution_id, job.attempt)
        await self._write(WorkerFrame(job=job))

    async def next(self) -> Message | None:
        """The next event or the outcome; `None` when nothing more will come. Safe to cancel and call again."""
        if self._is_silent and self._mailbox.empty():
            return None
        return await self._mailbox.get()

    async def cancel(self) -> None:
        """Ask the crew to stop at its next step; blocked calls are cut."""
        await self._write(WorkerFrame(cancel=True))

    async def terminate(self, grace: timedelta) -> None:
        """Ask, and kill the process group when it is still there after `grace`. Read on with `next` meanwhile."""
        await self.cancel()
        self._kill(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace.total_seconds()):
                await asyncio.shield(self._exited)
        self._kill(signal.SIGKILL)

    async def wait(self) -> ChildExit:
        """How it ended. Its messages may still be unread."""
        exited = await asyncio.shield(self._exited)
        before = self._before or Footprint(private_mib=0, peak_mib=exited.peak_mib, cpu_s=0)
        code = os.waitstatus_to_exitcode(exited.status)
        return ChildExit(
            code=code if code >= 0 else None,
            signal=signal.Signals(-code) if code < 0 else None,
            cpu_s=round(max(exited.cpu_s - before.cpu_s, 0), 3),
            max_private_mib=round(max(self._most_mib, exited.peak_mib - before.peak_mib), 1),
        )

    def spent(self) -> Spent:
        """What the job has used until now; nothing when the child is gone."""
        if self._before is None:
            return Spent(max_mib=0, cpu_s=0)
        try:
            most, cpu_s = peak_memory_mib(self.pid), cpu_seconds(self.pid)
        except (FileNotFoundError, ProcessLookupError):
            return Spent(max_mib=0, cpu_s=0)
        return Spent(max_mib=most - self._before.peak_mib, cpu_s=cpu_s - self._before.cpu_s)

    def ended(self, exited: Exited) -> None:
        """Called once by the zygote's side."""
        if not self._exited.done():
            self._exited.set_result(exited)

    def lost(self) -> None:
        """The zygote is gone, and the kernel kills its children with it."""
        self.ended(Exited(pid=self.pid, status=signal.SIGKILL, peak_mib=0, cpu_s=0))

    def _kill(self, number: signal.Signals) -> None:
        if not self._exited.done():
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def _grew_to(self, private_mib: float) -> None:
        if self._before is not None:
            self._most_mib = max(self._most_mib, private_mib - self._before.private_mib)

    async def _write(self, frame: WorkerFrame) -> None:
        # A child that has gone needs no more words; `next` and `wait` tell.
        with suppress(ConnectionError):
            self._writer.write(line(frame))
            await self._writer.drain()

    async def _read(self, output: int) -> None:
        try:
            async with asyncio.TaskGroup() as readers:
                readers.create_task(self._read_frames())
                readers.create_task(self._read_output(output))
        except* ValueError:
            # Something other than our own code has written to the channel.
            self._kill(signal.SIGKILL)
        finally:
            self._is_silent = True
            with suppress(asyncio.QueueFull):  # then nobody is waiting in `next`
                self._mailbox.put_nowait(None)

    async def _read_frames(self) -> None:
        with suppress(ConnectionError):
            while encoded := await self._reader.readline():
                frame = ChildFrame.model_validate_json(encoded)
                message = frame.event or frame.outcome
                if message is not None:
                    await self._mailbox.put(message)
                self._before = frame.ready or self._before
                if frame.spent is not None:
                    self._grew_to(frame.spent.private_mib)

    async def _read_output(self, output: int) -> None:
        """What the process prints becomes log events, up to a limit."""
        reader = asyncio.StreamReader(limit=MAX_LINE)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb", buffering=0)
        )
        room = MAX_OUTPUT
        try:
            while chunk := await _line(reader):
                text = chunk.decode(errors="replace").rstrip()
                if text and room > 0:
                    room -= len(chunk)
                    await self._mailbox.put(self._logged(text if room > 0 else "More output is not shown."))
        finally:
            transport.close()

    def _logged(self, text: str) -> ChildEvent:
        data = {"level": "info", "message": text, "logger": "output"}
        return ChildEvent(ts=datetime.now(UTC), type=EventType.LOG, span_id=self._root_span, data=data)


async def _line(reader: asyncio.StreamReader) -> bytes:
    """A line, or as much of one as may be long."""
    try:
        return await reader.readuntil()
    except asyncio.IncompleteReadError as end:
        return end.partial
    except asyncio.LimitOverrunError as overrun:
        return await reader.readexactly(overrun.consumed)
