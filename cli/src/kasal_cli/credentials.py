"""Sessions of this machine's user: a refresh token in a private file, renewed by one command at a time."""

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kasal_client import Kasal, KasalApiError, Session
from pydantic import BaseModel, SecretStr, ValidationError

from .console import UNREACHABLE, fail
from .private_files import opened_private, write_private


class Credential(BaseModel):
    """Which Kasal, and how to get a fresh access token there."""

    url: str
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
        with opened_private(self.path.with_suffix(".lock")) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def local_store(data_dir: Path) -> Store:
    """What `kasal dev` and `kasal up` leave for commands on the same machine."""
    return Store(data_dir / "credential.json")


def user_store() -> Store:
    """What `kasal login` keeps."""
    return Store(Path.home() / ".config" / "kasal" / "credential.json")


def log_in(url: str, email: str, password: SecretStr) -> Credential:
    """Raises KasalApiError or KasalUnreachableError."""
    with Kasal(url) as kasal:
        return Credential(url=url, refresh_token=kasal.login(email, password.get_secret_value()).refresh_token)


def keep_local_credential(data_dir: Path, url: str, email: str, password: SecretStr) -> None:
    """Raises KasalApiError or KasalUnreachableError."""
    local_store(data_dir).keep(log_in(url, email, password))


@dataclass(frozen=True)
class StoredSession:
    """Access tokens out of a store, for as long as its session lives."""

    store: Store

    def renew(self) -> str:
        """A fresh access token. Ends the command when the session is over."""
        with self.store.locked():
            credential = self.store.read()
            if credential is None:
                fail("not logged in; `kasal login` does it", code=UNREACHABLE)
            with Kasal(credential.url, refresh_token=credential.refresh_token) as kasal:
                session = self._renewed(kasal)
            self.store.keep(Credential(url=credential.url, refresh_token=session.refresh_token))
            return session.access_token

    @staticmethod
    def _renewed(kasal: Kasal) -> Session:
        try:
            return kasal.refresh()
        except KasalApiError:
            fail(f"the session at {kasal.url} has ended; `kasal login` starts another", code=UNREACHABLE)
