"""A forked child: it makes itself at home, waits for one job, runs it and is gone."""

import gc
import os
import resource
import signal
import socket
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from kasal_contracts.executions import ChildJob, ChildOutcome, ErrorCode, ExecutionError

from kasal_executor.pipe import FRAME_LIMIT, ChildFrame, Footprint, WorkerFrame
from kasal_executor.processes import environment_in, private_memory_mib

from . import rehearsal
from .channel import Channel
from .execution import Execution
from .logs import logged_to
from .sandbox import CHANNEL, confine, cut_off_network, die_with, keep_only, show_as
from .stop import Stop

WORKER_GONE = 3
FAILED = 70


def live(zygote: int, channel: int, output: int, directory: Path, *, rehearse: bool) -> NoReturn:
    """The whole life of a child; it must not go on as a second zygote."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _serve(zygote, channel, output, directory, rehearse=rehearse)
    except ConnectionError:
        os._exit(WORKER_GONE)
    except BaseException:  # noqa: BLE001 - the process's edge: its output is all that is left to tell what happened
        traceback.print_exc()
        os._exit(FAILED)
    # Threads that a tool left behind must not keep the process.
    os._exit(0)


def _serve(zygote: int, channel: int, output: int, directory: Path, *, rehearse: bool) -> None:
    """A parked child rehearses first, so that its job finds everything warm."""
    die_with(zygote)
    keep_only(channel, output)
    confine(directory, environment_in(directory))
    cut_off_network()
    if rehearse:
        rehearsal.rehearse()
        gc.collect()
        gc.freeze()
    connection = Channel(socket.socket(fileno=CHANNEL))
    connection.send(ChildFrame(ready=footprint()))
    frames = connection.received()
    first = next(frames, WorkerFrame())
    if first.job is not None:
        show_as(first.job.execution_id)
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
        # On a thread of its own: the interrupted one may hold a lock that stopping needs.
        threading.Thread(target=stop.cancel, name="sigterm", daemon=True).start()

    signal.signal(signal.SIGTERM, on_sigterm)
    execution = Execution(job, connection, stop)
    with logged_to(execution.emit):
        outcome = _outcome(execution)
    connection.send(_fitting(outcome))


def _fitting(outcome: ChildOutcome) -> ChildFrame:
    frame = ChildFrame(outcome=outcome)
    if len(frame.model_dump_json()) < FRAME_LIMIT:
        return frame
    words = f"The outputs of this crew are larger than {FRAME_LIMIT // 2**20} MiB together."
    return ChildFrame(outcome=ChildOutcome(error=ExecutionError(code=ErrorCode.INVALID_OUTPUT, message=words)))


def _outcome(execution: Execution) -> ChildOutcome:
    try:
        execution.run()
    except Exception as raised:  # noqa: BLE001 - whatever ends a crew becomes an outcome that says why
        return execution.outcome(raised)
    return execution.outcome()


def _listen(frames: Iterator[WorkerFrame], stop: Stop) -> None:
    for frame in frames:
        if frame.cancel:
            stop.cancel()
    os._exit(WORKER_GONE)
