"""The wire between a worker and its children: JSON lines over a socket pair, at most `FRAME_LIMIT` bytes each."""

import hashlib

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
    """One datagram from the zygote. `parked` is the number of children that wait for a job.

    `cuts_network`: the kernel lets children have an empty network of their own.
    """

    ready: bool = False
    cuts_network: bool = False
    parked: int | None = None
    spawned: Spawned | None = None
    exited: Exited | None = None


def line(frame: ChildFrame | WorkerFrame) -> bytes:
    encoded = frame.model_dump_json(exclude_unset=True).encode() + b"\n"
    if len(encoded) > FRAME_LIMIT:
        raise ValueError(f"a frame of {len(encoded)} bytes is over the limit")
    return encoded


def attempt_span_id(execution_id: str, attempt: int) -> str:
    """The root span of an attempt, which worker and child derive alike: 16 hex digits."""
    return hashlib.sha256(f"{execution_id}:{attempt}".encode()).hexdigest()[:16]
