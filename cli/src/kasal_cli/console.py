"""Words to people: results go to stdout, everything else to stderr."""

import sys
from typing import NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

# Where nobody looks at a terminal, lines are as long as they need to be.
out = Console(width=None if sys.stdout.isatty() else 160, soft_wrap=True)
err = Console(stderr=True)

FAILED = 1
MISUSED = 2
UNREACHABLE = 3
INTERRUPTED = 130


def fail(message: str, *, code: int = FAILED) -> NoReturn:
    """Say what is wrong and end with `code`."""
    err.print(f"[bold red]kasal:[/] {escape(message)}", highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def explain_settings(error: ValidationError) -> str:
    """Settings that do not fit, without their values."""
    lines = [f"{_variable(item['loc'])}: {item['msg']}" for item in error.errors()]
    return "the settings are not valid:\n  " + "\n  ".join(lines)


def _variable(loc: tuple[int | str, ...]) -> str:
    return f"KASAL_{'_'.join(map(str, loc)).upper()}" if loc else "settings"
