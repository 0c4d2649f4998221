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
from .sandbox import STDERR, can_cut_off_network, die_with

# A new spare costs CPU that running children need, so it waits until nobody has asked for a child for a moment.
REFILL_AFTER_S = 0.1
# A spare that dies on its own would die again at once.
RETRY_AFTER_S = 2.0
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
        self._rehearsing: dict[int, Parked] = {}
        self._spares: deque[Parked] = deque()
        self._quiet_since = 0.0
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Serve until the worker closes its end."""
        self._report(ZygoteReport(ready=True, cuts_network=can_cut_off_network()))
        self._wake_writer.settimeout(0)
        self._wake_reader.settimeout(0)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._control, selectors.EVENT_READ)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select(self._patience()):
                if key.fileobj is self._wake_reader:
                    self._wake_reader.recv(DATAGRAM)
                elif key.fileobj is not self._control:
                    self._park(key.fd)
                elif not self._serve_one():
                    return
            self._reap()
            if self._patience() == 0:
                child = self._fork(rehearse=True)
                self._rehearsing[child.channel] = child
                self._selector.register(child.channel, selectors.EVENT_READ)

    def _patience(self) -> float | None:
        """Seconds until a spare should be made; `None` while there are enough."""
        if len(self._spares) + len(self._rehearsing) >= self._wanted_spares:
            return None
        return max(self._quiet_since + REFILL_AFTER_S - time.monotonic(), 0)

    def _park(self, channel: int) -> None:
        """The child behind `channel` has said that it is ready, which the worker will read, or it has died."""
        self._selector.unregister(channel)
        self._spares.append(self._rehearsing.pop(channel))
        self._report(ZygoteReport(parked=len(self._spares)))

    def _serve_one(self) -> bool:
        datagram = self._control.recv(DATAGRAM)
        if not datagram:
            return False
        wanted = Wanted.model_validate_json(datagram)
        child = self._spares.popleft() if self._spares else self._fork(rehearse=False)
        spawned = Spawned(ticket=wanted.ticket, pid=child.pid, directory=str(child.directory))
        self._report(ZygoteReport(spawned=spawned, parked=len(self._spares)), child.channel, child.output)
        os.close(child.channel)
        os.close(child.output)
        self._quiet_since = time.monotonic()
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
            if not self._was_mine(pid):
                self._report(ZygoteReport(exited=_exited(pid, status, usage)))

    def _was_mine(self, pid: int) -> bool:
        """Whether the dead child had not been handed over yet; it is forgotten then."""
        for child in [*self._rehearsing.values(), *self._spares]:
            if child.pid == pid:
                if self._rehearsing.pop(child.channel, None) is not None:
                    self._selector.unregister(child.channel)
                else:
                    self._spares.remove(child)
                    self._report(ZygoteReport(parked=len(self._spares)))
                os.write(STDERR, os.read(child.output, DATAGRAM))
                os.close(child.channel)
                os.close(child.output)
                self._quiet_since = time.monotonic() + RETRY_AFTER_S
                return True
        return False

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
