import subprocess
import sys
from pathlib import Path

import pytest
from kasal_cli.credentials import Credential, Store
from kasal_cli.embedded import locked, socket_folder
from kasal_cli.secrets import machine_secrets
from kasal_db import Keyring
from pydantic import SecretStr


def test_secrets_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    first, second = (machine_secrets(tmp_path / "secrets", None) for _ in range(2))
    assert (first.is_new_admin, second.is_new_admin) == (True, False)
    assert first.admin_password == second.admin_password
    assert Keyring.parse(first.encryption_keys).newest == "dev1"
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "secrets").iterdir()} == {0o600}


def test_a_configured_password_is_taken_and_not_written_down(tmp_path: Path) -> None:
    made = machine_secrets(tmp_path, SecretStr("chosen by the operator"))
    assert not made.is_new_admin
    assert all("chosen" not in path.read_text() for path in tmp_path.iterdir())


def test_a_credential_comes_back_and_a_broken_file_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path / "credential.json")
    assert store.read() is None
    store.keep(Credential(url="http://127.0.0.1:1", refresh_token="r"))
    assert store.read() == Credential(url="http://127.0.0.1:1", refresh_token="r")
    store.path.write_text("{half")
    assert store.read() is None


def test_a_data_directory_is_locked_for_others(tmp_path: Path) -> None:
    other = "import sys, pathlib; from kasal_cli.embedded import locked\nwith locked(pathlib.Path(sys.argv[1])): pass"
    with locked(tmp_path):
        refused = subprocess.run(
            [sys.executable, "-c", other, str(tmp_path)], capture_output=True, text=True, check=False
        )
    allowed = subprocess.run([sys.executable, "-c", other, str(tmp_path)], capture_output=True, check=False)
    assert "DataDirBusyError" in refused.stderr
    assert allowed.returncode == 0


@pytest.mark.parametrize("name", ["short", "long" * 30])
def test_sockets_fit_into_the_kernels_limit_wherever_the_data_is(tmp_path: Path, name: str) -> None:
    with socket_folder(tmp_path / name) as folder:
        assert folder.stat().st_mode & 0o077 == 0
        assert len(str(folder / "executor.sock")) < 108
