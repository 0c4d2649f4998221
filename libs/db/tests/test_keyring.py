import pytest
from kasal_db import Keyring, UndecryptableError
from pydantic import SecretStr

OLD = Keyring.generate("old")
NEW = Keyring.generate("new")


def ring(*keys: str) -> Keyring:
    return Keyring.parse(SecretStr(",".join(keys)))


def test_a_value_comes_back_and_is_not_readable_at_rest() -> None:
    record = ring(NEW).encrypt("sk-planted", bound_to="g1:OPENAI")
    assert "planted" not in record
    assert ring(NEW).decrypt(record, bound_to="g1:OPENAI") == "sk-planted"


def test_an_older_key_still_decrypts_while_the_newest_encrypts() -> None:
    record = ring(OLD).encrypt("value", bound_to="x")
    both = ring(NEW, OLD)
    assert both.decrypt(record, bound_to="x") == "value"
    assert both.encrypt("value", bound_to="x").startswith("new.")


def test_a_record_moved_to_another_name_does_not_decrypt() -> None:
    record = ring(NEW).encrypt("value", bound_to="g1:A")
    with pytest.raises(UndecryptableError):
        ring(NEW).decrypt(record, bound_to="g2:A")


def test_a_missing_key_is_named_and_never_an_empty_string() -> None:
    record = ring(OLD).encrypt("value", bound_to="x")
    with pytest.raises(UndecryptableError, match="'old'"):
        ring(NEW).decrypt(record, bound_to="x")


@pytest.mark.parametrize("record", ["new.", "new.!!!", "new.AAAA", "", "."])
def test_an_altered_record_does_not_decrypt(record: str) -> None:
    with pytest.raises(UndecryptableError):
        ring(NEW).decrypt(record, bound_to="x")


@pytest.mark.parametrize("text", ["", "nokey", "id:short", "id:!!!!", ":AAAA"])
def test_keys_that_cannot_work_are_refused_without_showing_them(text: str) -> None:
    with pytest.raises(ValueError, match="key"):
        Keyring.parse(SecretStr(text))
