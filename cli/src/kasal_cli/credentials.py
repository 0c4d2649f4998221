"""Sessions of this machine's user: a refresh token in a private file, renewed by one command at a time."""

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from kasal_runtime.peers import PeerRefusedError, open_peer
from pydantic import BaseModel, SecretStr, ValidationError

from .console import UNREACHABLE, fail
from .secrets import write_private


class Credential(BaseModel):
    """Which Kasal, and how to get a fresh access token there."""

    url: str
    refresh_token: str


class _Session(BaseModel):
    access_token: str
    refresh_token: str


@dataclass(frozen=True)
class Store:
    """A private file with one credential."""

    path: Path

    def read(self) -> Credential | None:
        try:
            return Credential.model_validate_json(self.path.read_text())
        except (FileNotFoundError, ValidationError):
            return None

    def keep(self, credential: Credential) -> None:
        write_private(self.path, credential.model_dump_json())

    @contextmanager
    def locked(self) -> Generator[None]:
        # A refresh token works once; two commands that used the same one would end the session.
        with self.path.with_suffix(".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def local_store(data_dir: Path) -> Store:
    """What `kasal dev` and `kasal up` leave for commands on the same machine."""
    return Store(data_dir / "credential.json")


def user_store() -> Store:
    """What `kasal login` keeps."""
    return Store(Path.home() / ".config" / "kasal" / "credential.json")


async def log_in(url: str, email: str, password: SecretStr) -> Credential:
    """Raises PeerRefusedError or PeerUnavailableError."""
    body = {"email": email, "password": password.get_secret_value()}
    async with open_peer("gateway", url, timedelta(seconds=15)) as gateway:
        session = await gateway.call("POST", "/api/v1/auth/login", _Session, body=body)
    return Credential(url=url, refresh_token=session.refresh_token)


async def keep_local_credential(data_dir: Path, url: str, email: str, password: SecretStr) -> None:
    """Raises PeerRefusedError or PeerUnavailableError."""
    local_store(data_dir).keep(await log_in(url, email, password))


async def access_token(store: Store) -> str:
    """A fresh access token; the renewed session is kept. Ends the command when the session is over."""
    with store.locked():
        credential = store.read()
        if credential is None:
            fail("not logged in; `kasal login` does it", code=UNREACHABLE)
        async with open_peer("gateway", credential.url, timedelta(seconds=15)) as gateway:
            try:
                body = {"refresh_token": credential.refresh_token}
                session = await gateway.call("POST", "/api/v1/auth/refresh", _Session, body=body)
            except PeerRefusedError:
                fail(f"the session at {credential.url} has ended; `kasal login` starts another", code=UNREACHABLE)
        store.keep(Credential(url=credential.url, refresh_token=session.refresh_token))
    return session.access_token
