"""Values encrypted at rest: AES-256-GCM with a key id in each record (NIST SP 800-38D)."""

import base64
import binascii
import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

NONCE_BYTES = 12
KEY_BYTES = 32


class UndecryptableError(Exception):
    """A record names a key that is not here, or was altered."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"a value encrypted with key {key_id!r} cannot be decrypted; is that key configured?")


@dataclass(frozen=True)
class Keyring:
    """Master keys, newest first: the first encrypts, all decrypt."""

    keys: tuple[tuple[str, AESGCM], ...]

    @classmethod
    def parse(cls, text: SecretStr) -> "Keyring":
        """Reads `id:base64(32 bytes)[,…]`. Raises ValueError that says what is wrong, without the keys."""
        keys: list[tuple[str, AESGCM]] = []
        for part in filter(None, (piece.strip() for piece in text.get_secret_value().split(","))):
            key_id, _, encoded = part.partition(":")
            try:
                key = base64.b64decode(encoded, validate=True)
            except binascii.Error as error:
                raise ValueError(f"encryption key {key_id!r} is not base64") from error
            if len(key) != KEY_BYTES or not key_id:
                raise ValueError(f"encryption key {key_id!r} must be id:base64 of {KEY_BYTES} bytes")
            keys.append((key_id, AESGCM(key)))
        if not keys:
            raise ValueError("KASAL_ENCRYPTION_KEYS is empty; `kasal keys generate` prints one")
        return cls(tuple(keys))

    @staticmethod
    def generate(key_id: str) -> str:
        """A fresh key in the form that `parse` reads."""
        return f"{key_id}:{base64.b64encode(os.urandom(KEY_BYTES)).decode()}"

    @property
    def newest(self) -> str:
        return self.keys[0][0]

    def encrypt(self, value: str, *, bound_to: str) -> str:
        """`key_id.nonce+ciphertext`; it decrypts only with the same `bound_to` (say, group and name)."""
        key_id, cipher = self.keys[0]
        nonce = os.urandom(NONCE_BYTES)
        sealed = cipher.encrypt(nonce, value.encode(), bound_to.encode())
        return f"{key_id}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def decrypt(self, record: str, *, bound_to: str) -> str:
        """Raises UndecryptableError; never answers an empty string instead."""
        key_id, _, encoded = record.partition(".")
        cipher = dict(self.keys).get(key_id)
        if cipher is None:
            raise UndecryptableError(key_id)
        try:
            raw = base64.urlsafe_b64decode(encoded)
            return cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], bound_to.encode()).decode()
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise UndecryptableError(key_id) from error
