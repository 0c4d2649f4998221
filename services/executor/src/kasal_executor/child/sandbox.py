"""What a child may not do and see. Linux only."""

import ctypes
import os
import resource
import signal
from collections.abc import Mapping
from pathlib import Path

PR_SET_PDEATHSIG = 1
MAX_DESCRIPTORS = 1024
STDIN, STDOUT, STDERR, CHANNEL = 0, 1, 2, 3


def die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent`, which must be its parent, ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(1)


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
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_DESCRIPTORS, MAX_DESCRIPTORS))
