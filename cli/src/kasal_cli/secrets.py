"""Secrets of this machine: made once, kept in files that only their owner reads."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from kasal_db import Keyring
from pydantic import SecretStr

from .private_files import write_private

ADMIN_EMAIL = "admin@kasal.local"


@dataclass(frozen=True)
class MachineSecrets:
    """What `kasal dev` makes for itself. `is_new_admin` says that the password was made just now."""

    encryption_keys: SecretStr
    admin_password: SecretStr
    is_new_admin: bool


def kept(path: Path, made: str) -> str:
    """The text in `path`; when there is none yet, `made` is kept there."""
    if not path.is_file():
        write_private(path, made)
    return path.read_text().strip()


def ensure_bootstrap_key(secret_dir: Path) -> None:
    """Services prove to each other with this key who they are."""
    kept(secret_dir / "bootstrap.key", secrets.token_urlsafe(32))


def machine_secrets(secret_dir: Path, admin_password: SecretStr | None) -> MachineSecrets:
    ensure_bootstrap_key(secret_dir)
    password_file = secret_dir / "admin.password"
    is_new = not password_file.is_file() and admin_password is None
    password = admin_password or SecretStr(kept(password_file, secrets.token_urlsafe(15)))
    keys = kept(secret_dir / "encryption.keys", Keyring.generate("dev1"))
    return MachineSecrets(SecretStr(keys), password, is_new)
