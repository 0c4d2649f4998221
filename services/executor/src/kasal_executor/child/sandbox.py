"""What a child may not do and see. Linux only."""

import ctypes
import os
import resource
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
MAX_DESCRIPTORS = 1024
NICENESS = 10
STDIN, STDOUT, STDERR, CHANNEL = 0, 1, 2, 3


def die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent`, which must be its parent, ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(1)


def show_as(execution_id: str) -> None:
    """In `ps` and `top` the process bears the end of its execution's id; the kernel keeps 15 characters."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, f"run-{execution_id[-11:]}".encode(), 0, 0, 0)


def cut_off_network() -> bool:
    """Move to an empty network of one's own; sockets in the file system still work. Whether the kernel allows it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) == 0:
        return True
    is_cut_off = bool(libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0)
    # A new user namespace hides the process from its worker, which measures its memory.
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    return is_cut_off


def can_cut_off_network() -> bool:
    """Found out in a process that is thrown away."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if cut_off_network() else 1)
    return os.waitpid(pid, 0)[1] == 0


def keep_only(channel: int, output: int) -> None:
    """Leave the channel as descriptor 3, null as stdin, `output` as stdout and stderr, and nothing else."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, STDIN)
    # Descriptor 3 may be any of the others, so they move out of its way first.
    high_channel, high_output = os.dup(channel), os.dup(output)
    os.dup2(high_output, STDOUT)
    os.dup2(high_output, STDERR)
    os.dup2(high_channel, CHANNEL, inheritable=False)
    os.closerange(CHANNEL + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def confine(directory: Path, environment: Mapping[str, str]) -> None:
    """Own session and process group, `directory` as the only place to write, no core dumps, few descriptors."""
    os.setsid()
    os.umask(0o077)
    os.chdir(directory)
    # Written, not read: libraries look for their settings here.
    os.environ.clear()  # noqa: TID251
    os.environ.update(environment)  # noqa: TID251
    # Remembered from the zygote, where it was a directory of all.
    tempfile.tempdir = str(directory)
    # On a busy machine those who supervise and record go first; many crews would keep each other's events waiting.
    os.nice(NICENESS)
    # When memory runs out, an execution goes before its worker does.
    Path("/proc/self/oom_score_adj").write_text("500")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_DESCRIPTORS, MAX_DESCRIPTORS))
