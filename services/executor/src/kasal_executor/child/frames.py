"""The wire between a worker and its children: JSON lines over a socket pair, at most `FRAME_LIMIT` bytes each."""

import socket
import threading
from collections.abc import Iterator

from kasal_contracts.events import ChildEvent
from kasal_contracts.executions import ChildJob, ChildOutcome
from kasal_contracts.wire import Frozen

FRAME_LIMIT = 16 * 2**20


class Footprint(Frozen):
    """What a process has used so far: memory of its own and its largest resident size in MiB, CPU in seconds."""

    private_mib: float
    peak_mib: float
    cpu_s: float


class ChildFrame(Frozen):
    """Written by a child; one field is set. `ready` is before the job, `spent` after it."""

    ready: Footprint | None = None
    event: ChildEvent | None = None
    outcome: ChildOutcome | None = None
    spent: Footprint | None = None


class WorkerFrame(Frozen):
    """Written by the worker: one job, later perhaps the wish to stop."""

    job: ChildJob | None = None
    cancel: bool = False


class Wanted(Frozen):
    """The worker wants a child; `ticket` comes back with it."""

    ticket: int


class Spawned(Frozen):
    """Comes with two descriptors: the worker's end of the child's channel, and the child's output."""

    ticket: int
    pid: int
    directory: str


class Exited(Frozen):
    """`status` is what `wait` reported. The child's process group is gone too."""

    pid: int
    status: int
    peak_mib: float
    cpu_s: float


class ZygoteReport(Frozen):
    """One datagram from the zygote; one field is set."""

    ready: bool = False
    spawned: Spawned | None = None
    exited: Exited | None = None


def line(frame: ChildFrame | WorkerFrame) -> bytes:
    encoded = frame.model_dump_json(exclude_unset=True).encode() + b"\n"
    if len(encoded) > FRAME_LIMIT:
        raise ValueError(f"a frame of {len(encoded)} bytes is over the limit")
    return encoded


class Channel:
    """The child's end. Writing blocks while the worker is behind, so that no event is lost."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, frame: ChildFrame) -> None:
        encoded = line(frame)
        with self._lock:
            self._connection.sendall(encoded)

    def received(self) -> Iterator[WorkerFrame]:
        """Frames until the worker closes its end."""
        with self._connection.makefile("rb") as lines:
            for received in lines:
                yield WorkerFrame.model_validate_json(received)
