"""Databases: one engine and one transaction style for SQLite and PostgreSQL."""

from .columns import Json, UtcDateTime, db_now
from .database import Database, open_database
from .keyring import Keyring, UndecryptableError
from .paging import page_of
from .tenancy import Base, Owned, owned

__all__ = [
    "Base",
    "Database",
    "Json",
    "Keyring",
    "Owned",
    "UndecryptableError",
    "UtcDateTime",
    "db_now",
    "open_database",
    "owned",
    "page_of",
]
