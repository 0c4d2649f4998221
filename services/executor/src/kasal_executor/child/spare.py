"""A forked child: it makes itself at home, waits for one job, runs it and is gone."""

import gc
import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from kasal_contracts.executions import ChildJob

from . import rehearsal
from .execution import Execution
from .frames import Channel, ChildFrame, Footprint, WorkerFrame
from .logs import logged_to
from .sandbox import CHANNEL, confine, die_with, environment_in, keep_only, private_memory_mib
from .stop import Stop

WORKER_GONE = 3


def serve(zygote: int, channel: int, output: int, directory: Path, *, rehearse: bool) -> None:
    """The whole life of a child. A parked one rehearses first, so that its job finds everything warm."""
    die_with(zygote)
    keep_only(channel, output)
    confine(directory, environment_in(directory))
    if rehearse:
        rehearsal.rehearse()
        gc.collect()
        gc.freeze()
    connection = Channel(socket.socket(fileno=CHANNEL))
    connection.send(ChildFrame(ready=footprint()))
    frames = connection.received()
    first = next(frames, WorkerFrame())
    if first.job is not None:
        _run(first.job, connection, frames)
        connection.send(ChildFrame(spent=footprint()))


def footprint() -> Footprint:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Footprint(
        private_mib=private_memory_mib(), peak_mib=usage.ru_maxrss / 1024, cpu_s=usage.ru_utime + usage.ru_stime
    )


def _run(job: ChildJob, connection: Channel, frames: Iterator[WorkerFrame]) -> None:
    stop = Stop()
    threading.Thread(target=_listen, args=(frames, stop), name="control", daemon=True).start()

    def on_sigterm(_: int, __: FrameType | None) -> None:
        stop.cancel()

    signal.signal(signal.SIGTERM, on_sigterm)
    execution = Execution(job, connection, stop)
    with logged_to(execution.emit):
        outcome = execution.run()
    connection.send(ChildFrame(outcome=outcome))


def _listen(frames: Iterator[WorkerFrame], stop: Stop) -> None:
    for frame in frames:
        if frame.cancel:
            stop.cancel()
    os._exit(WORKER_GONE)
