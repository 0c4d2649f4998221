"""What worker and child both need to know about processes. Linux only."""

import os
from pathlib import Path


def environment_in(directory: Path) -> dict[str, str]:
    """All that CrewAI and its libraries are told. No variable of the worker is passed on."""
    place = str(directory)
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": place,
        "TMPDIR": place,
        "CREWAI_STORAGE_DIR": place,
        "CREWAI_DISABLE_TELEMETRY": "true",
        "CREWAI_TRACING_ENABLED": "false",
        "CREWAI_DISABLE_VERSION_CHECK": "true",
        "CREWAI_TRAINED_AGENTS_FILE": "/nonexistent/none.pkl",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHON_DOTENV_DISABLED": "1",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def private_memory_mib(pid: int | str = "self") -> float:
    """Memory that no other process shares, in MiB. Raise `FileNotFoundError` or `ProcessLookupError` when gone."""
    kib = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean:", "Private_Dirty:", "SwapPss:")):
            kib += int(line.split()[1])
    return kib / 1024


def peak_memory_mib(pid: int) -> float:
    """The most memory that a process has had, in MiB. Raise `FileNotFoundError` or `ProcessLookupError` when gone."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"process {pid} has ended")


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its threads. Raise `FileNotFoundError` or `ProcessLookupError` when gone."""
    # The name in parentheses may hold blanks; utime and stime are the 14th and 15th fields (proc(5)).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
