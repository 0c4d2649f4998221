"""The whole of Kasal, started as its users start it: by the `kasal` command, in processes of its own."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

READY = "Kasal is ready at "


class StackFailedError(Exception):
    """The command ended before it was ready; the message holds what it said."""


@dataclass
class Stack:
    """A running Kasal. `output` is what it said so far; `log` holds its stderr."""

    url: str
    data_dir: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[str]
    log: Path
    output: list[str] = field(default_factory=list)

    def kasal(self, *arguments: str, timeout_s: float = 90, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run another `kasal` command against this stack."""
        return subprocess.run(
            [sys.executable, "-m", "kasal_cli", *arguments],
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


@contextmanager
def running(command: list[str], data_dir: Path, variables: Mapping[str, str]) -> Generator[Stack]:
    """`kasal <command>` until the context closes. Raises StackFailedError."""
    data_dir.mkdir(parents=True, exist_ok=True)
    environment = {**clean_environment(), "KASAL_DATA_DIR": str(data_dir), **variables}
    log = data_dir / "stderr.log"
    with (
        log.open("a") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "kasal_cli", *command],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=data_dir,
        ) as process,
    ):
        try:
            output = _until_ready(process, log)
            url = output[-1].split(READY)[1].strip()
            yield Stack(url, data_dir, environment, process, log, output)
        finally:
            _end(process)


def clean_environment() -> dict[str, str]:
    """This process's environment without settings of Kasal's and without keys of providers."""
    dropped = ("KASAL_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "DATABRICKS_", "LLAMA_", "PYTHONDONTWRITE")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}


def _until_ready(process: subprocess.Popen[str], log: Path) -> list[str]:
    if process.stdout is None:
        raise StackFailedError("the process has no output")
    said: list[str] = []
    for line in process.stdout:
        said.append(line.rstrip())
        if READY in line:
            return said
    raise StackFailedError("\n".join(said) + log.read_text()[-4000:])


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def second_gateway(stack: Stack) -> Generator[str]:
    """Another gateway beside those of `kasal up`. Yields its URL."""
    port = free_port()
    bootstrap = {"KASAL_SECRET_DIR": str(stack.data_dir / "secrets")}
    with (
        (stack.data_dir / "gateway.log").open("a") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "kasal_cli", "serve", "gateway", "--port", str(port)],
            env={**stack.environment, **bootstrap},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=stack.data_dir,
        ) as process,
    ):
        try:
            if process.stdout is None or "listens" not in process.stdout.readline():
                raise StackFailedError((stack.data_dir / "gateway.log").read_text()[-4000:])
            yield f"http://127.0.0.1:{port}"
        finally:
            _end(process)
