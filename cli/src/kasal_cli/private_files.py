"""Files that only their owner reads."""

import os
from pathlib import Path
from typing import TextIO


def opened_private(path: Path) -> TextIO:
    """Opened for writing; made with mode 0600 where it is new."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_suffix(f".{os.getpid()}.new")
    with opened_private(fresh) as file:
        file.write(text)
    fresh.replace(path)
