"""Re-encryption with the newest master key, after which the older ones can go."""

from kasal_db import Database, Keyring
from sqlalchemy import select
from sqlalchemy.orm import undefer

from .api_keys import bound_to as api_key_bound_to
from .signing import bound_to as signing_key_bound_to
from .tables import ApiKey, SigningKey


async def rotate_encryption(database: Database, keyring: Keyring) -> int:
    """Encrypt every secret anew that is not under the newest key; answers how many.

    Raises UndecryptableError, and then nothing has changed.
    """
    newest = f"{keyring.newest}."
    async with database.system() as session:
        api_keys = list(await session.scalars(select(ApiKey).options(undefer(ApiKey.value)).with_for_update()))
        stale_api_keys = [key for key in api_keys if not key.value.startswith(newest)]
        for key in stale_api_keys:
            bound = api_key_bound_to(key)
            key.value = keyring.encrypt(keyring.decrypt(key.value, bound_to=bound), bound_to=bound)
        signing_keys = list(await session.scalars(select(SigningKey).with_for_update()))
        stale_signing_keys = [key for key in signing_keys if not key.private.startswith(newest)]
        for pair in stale_signing_keys:
            bound = signing_key_bound_to(pair)
            pair.private = keyring.encrypt(keyring.decrypt(pair.private, bound_to=bound), bound_to=bound)
    return len(stale_api_keys) + len(stale_signing_keys)
