"""Password hashes: argon2id (RFC 9106) in a few threads, so that a flood of logins does not stop the service."""

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import ParamSpec, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from kasal_contracts.errors import TooManyError
from prometheus_client import CollectorRegistry, Counter
from pydantic import SecretStr

from .settings import AuthSettings

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


class Passwords:
    """Hashes and checks passwords. At most `queue` wait for a thread; more raise TooManyError."""

    def __init__(self, hasher: PasswordHasher, pool: ThreadPoolExecutor, queue: int, hashes: Counter) -> None:
        self.hasher = hasher
        self._pool = pool
        self._queue = queue
        self._hashes = hashes
        self._waiting = 0
        self._nobody = hasher.hash("the password of nobody")

    async def hash(self, password: SecretStr) -> str:
        return await self._in_thread(self.hasher.hash, password.get_secret_value())

    async def verify(self, stored: str | None, password: SecretStr) -> bool:
        """Takes the same work where nothing is `stored`: an unknown user is not told from a wrong password."""
        matches = await self._in_thread(self._matches, stored or self._nobody, password.get_secret_value())
        return matches and stored is not None

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self.hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, work: Callable[Given, Answer], *args: Given.args, **kwargs: Given.kwargs) -> Answer:
        if self._waiting >= self._queue:
            raise TooManyError("too many logins at the same time", retry_after_s=1)
        self._waiting += 1
        self._hashes.inc()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *args, **kwargs))
        finally:
            self._waiting -= 1


@contextmanager
def open_passwords(settings: AuthSettings, registry: CollectorRegistry) -> Generator[Passwords]:
    hasher = PasswordHasher(
        time_cost=settings.argon2_iterations,
        memory_cost=settings.argon2_memory_kib,
        parallelism=settings.argon2_lanes,
    )
    hashes = Counter("kasal_password_hashes", "Passwords hashed or checked.", registry=registry)
    with ThreadPoolExecutor(settings.hash_threads, thread_name_prefix="argon2") as pool:
        yield Passwords(hasher, pool, settings.hash_queue, hashes)
