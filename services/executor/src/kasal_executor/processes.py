"""What worker and child both need to know about processes. Linux only."""

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
