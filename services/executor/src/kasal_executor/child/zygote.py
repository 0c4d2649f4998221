"""The warm process that children are forked from: `python -m kasal_executor.child.zygote FD PARENT SPARES DIRECTORY`.

FD is a datagram socket to the worker. The process has one thread and never runs a job itself.
"""

import os
import resource
import selectors
import signal
import socket
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from kasal_executor.pipe import Exited, Spawned, Wanted, ZygoteReport

from . import main, rehearsal
from .engine.bus import is_forkable
from .sandbox import die_with

# A new spare costs CPU that running children need, so it waits until nobody has asked for a child for a moment.
REFILL_AFTER_S = 0.1
DATAGRAM = 64 * 1024


@dataclass(frozen=True)
class Parked:
    """A child that has no job yet. The zygote holds the worker's ends of its channel and output."""

    pid: int
    channel: int
    output: int
    directory: Path


class Zygote:
    def __init__(self, control: socket.socket, spares: int, root: Path) -> None:
        self._control = control
        self._wanted_spares = spares
        self._root = root
        self._spares: deque[Parked] = deque()
        self._asked_at = 0.0
        self._wake_reader, self._wake_writer = socket.socketpair()

    def run(self) -> None:
        """Serve until the worker closes its end."""
        self._wake_writer.settimeout(0)
        self._wake_reader.settimeout(0)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        self._report(ZygoteReport(ready=True))
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(self._wake_reader, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select(self._patience()):
                    if key.fileobj is self._wake_reader:
                        self._wake_reader.recv(DATAGRAM)
                    elif not self._serve_one():
                        return
                self._reap()
                if self._lacks_spares() and self._patience() == 0:
                    self._spares.append(self._fork(rehearse=True))

    def _lacks_spares(self) -> bool:
        return len(self._spares) < self._wanted_spares

    def _patience(self) -> float | None:
        """Seconds until a spare should be made; `None` while there are enough."""
        if not self._lacks_spares():
            return None
        return max(self._asked_at + REFILL_AFTER_S - time.monotonic(), 0)

    def _serve_one(self) -> bool:
        datagram = self._control.recv(DATAGRAM)
        if not datagram:
            return False
        wanted = Wanted.model_validate_json(datagram)
        child = self._spares.popleft() if self._spares else self._fork(rehearse=False)
        spawned = Spawned(ticket=wanted.ticket, pid=child.pid, directory=str(child.directory))
        self._report(ZygoteReport(spawned=spawned), child.channel, child.output)
        os.close(child.channel)
        os.close(child.output)
        self._asked_at = time.monotonic()
        return True

    def _fork(self, *, rehearse: bool) -> Parked:
        ours, theirs = socket.socketpair()
        output, written = os.pipe()
        directory = Path(tempfile.mkdtemp(dir=self._root))
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            main.live(parent, theirs.fileno(), written, directory, rehearse=rehearse)
        theirs.close()
        os.close(written)
        return Parked(pid, ours.detach(), output, directory)

    def _reap(self) -> None:
        while (ended := _ended_child()) is not None:
            # While the dead child is not reaped its id cannot be reused, so this reaches its own offspring only.
            _kill_group(ended)
            pid, status, usage = os.wait4(ended, 0)
            parked = [each for each in self._spares if each.pid == pid]
            for each in parked:
                self._spares.remove(each)
                os.close(each.channel)
                os.close(each.output)
            if not parked:
                self._report(ZygoteReport(exited=_exited(pid, status, usage)))

    def _report(self, report: ZygoteReport, *descriptors: int) -> None:
        socket.send_fds(self._control, [report.model_dump_json(exclude_unset=True).encode()], descriptors)


def _ended_child() -> int | None:
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return ended.si_pid if ended is not None else None


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # it ended before it had a group of its own
        return


def _exited(pid: int, status: int, usage: resource.struct_rusage) -> Exited:
    return Exited(pid=pid, status=status, peak_mib=usage.ru_maxrss / 1024, cpu_s=usage.ru_utime + usage.ru_stime)


def run_zygote(arguments: list[str]) -> None:
    descriptor, parent, spares, root = arguments
    die_with(int(parent))
    control = socket.socket(fileno=int(descriptor))
    control.set_inheritable(False)
    rehearsal.warm_up()
    if not is_forkable():
        raise RuntimeError("the zygote must not have threads when it forks")
    Zygote(control, int(spares), Path(root)).run()


if __name__ == "__main__":
    run_zygote(sys.argv[1:])
