"""The local model's own process: `python -m kasal_executor.worker.local_model_server FD PARENT CONTEXT IDLE_S`.

FD is the locked file that says where the server is; holding it open is what keeps the lock. The server needs no
environment, dies with its PARENT, and leaves when it has had nothing to do for IDLE_S seconds.
"""

import ctypes
import os
import secrets
import signal
import sys
import threading
import time
from pathlib import Path

import xllamacpp

from .local_model_address import Address, weights

PR_SET_PDEATHSIG = 1
# An answer takes over 0.1 s of processor time; waiting takes next to none.
IDLE_CPU_PART = 0.0005


def start(path: Path, context: int, key: str) -> xllamacpp.Server:
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = context
    params.n_parallel = 1
    # With two threads, a busy neighbour makes it five times slower: OpenMP spins.
    params.cpuparams.n_threads = 1
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.ui = False
    params.endpoint_slots = False
    params.cache_ram_mib = 0
    return xllamacpp.Server(params)


def main(lock: int, parent: int, context: int, idle_s: float) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    path = weights()
    if os.getppid() != parent or path is None:
        sys.exit(1)
    key = secrets.token_urlsafe(24)
    server = start(path, context, key)
    os.ftruncate(lock, 0)
    os.pwrite(lock, Address(url=server.listening_address, key=key).model_dump_json().encode(), 0)
    os.write(sys.stdout.fileno(), b"ready\n")
    never = threading.Event()
    used = time.process_time()
    while True:
        never.wait(idle_s)
        if time.process_time() - used < IDLE_CPU_PART * idle_s:
            os._exit(0)
        used = time.process_time()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
