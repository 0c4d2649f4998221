"""Commands about people and keys."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import SecretStr

from .console import MISUSED, err, fail, out
from .credentials import log_in, user_store
from .executions import explained

if TYPE_CHECKING:
    from kasal_db import Keyring

Url = Annotated[str, typer.Option(help="Which Kasal.", envvar="KASAL_URL")]
Email = Annotated[str, typer.Option(help="Whose account.", prompt=True)]
Password = Annotated[str, typer.Option(help="Asked for when it is not given.", prompt=True, hide_input=True)]


def login(email: Email, password: Password, url: Url = "http://127.0.0.1:8000") -> None:
    """Log in, and keep the session for later commands."""
    with explained():
        user_store().keep(log_in(url, email, SecretStr(password)))
    out.print(f"logged in to {url} as {email}", highlight=False)


def generate_key(key_id: Annotated[str, typer.Option("--id", help="Name of the key.")] = "") -> None:
    """Print a fresh master key for KASAL_ENCRYPTION_KEYS. Keep it: without it, stored secrets are lost."""
    from kasal_db import Keyring

    name = key_id or datetime.now(UTC).strftime("k%Y%m%d")
    typer.echo(Keyring.generate(name))


def rotate_keys() -> None:
    """Encrypt every stored secret anew with the newest key of KASAL_ENCRYPTION_KEYS."""
    from kasal_auth.settings import AuthSettings
    from kasal_contracts.errors import KasalError
    from kasal_db import Keyring, UndecryptableError

    settings = AuthSettings()
    url = settings.database_url.get_secret_value()
    if not url:
        fail("KASAL_DATABASE_URL is not set", code=MISUSED)
    try:
        keyring = Keyring.parse(settings.encryption_keys)
        count = asyncio.run(_rotate(url, keyring))
    except (KasalError, UndecryptableError, ValueError, OSError) as error:
        fail(str(error))
    out.print(f"{count} values are encrypted with {keyring.newest}; older keys may go", highlight=False)


async def _rotate(url: str, keyring: "Keyring") -> int:
    from kasal_auth.rotation import rotate_encryption
    from kasal_db import open_database

    async with open_database(url, "auth", pool_size=1) as database:
        return await rotate_encryption(database, keyring)


def create_user(
    email: Email,
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True)],
) -> None:
    """Make the first user, a system administrator, straight in the database."""
    from kasal_auth.settings import AuthSettings
    from kasal_contracts.errors import KasalError

    url = AuthSettings().database_url.get_secret_value()
    if not url:
        fail("KASAL_DATABASE_URL is not set; with `kasal dev` the first admin is there already", code=MISUSED)
    try:
        made = asyncio.run(_create(url, email, SecretStr(password)))
    except (KasalError, OSError) as error:
        fail(str(error))
    if not made:
        fail("there are users already; an administrator adds more with POST /api/v1/users")
    err.print(f"{email} is the first administrator")


async def _create(url: str, email: str, password: SecretStr) -> bool:
    from kasal_auth.first_admin import ensure_first_admin
    from kasal_db import open_database

    async with open_database(url, "auth", pool_size=1) as database:
        return await ensure_first_admin(database, email, password)
