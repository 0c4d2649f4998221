"""Which provider key an execution gets: its group's own, else the installation's from the environment."""

from collections.abc import Sequence

import structlog
from fastapi import APIRouter
from kasal_contracts.credentials import AvailableCredential, AvailableCredentials, CredentialIn, CredentialOut
from kasal_contracts.errors import ConflictError, ForbiddenError, KasalError, NotFoundError, UnavailableError
from kasal_contracts.identity import Act, Caller
from kasal_contracts.storable import is_text
from kasal_db import UndecryptableError, owned
from kasal_runtime.peers import PeerRefusedError
from kasal_runtime.security import FromService, Viewer
from pydantic import BaseModel
from sqlalchemy.orm import undefer

from .api_keys import bound_to, has_expired
from .resources import Reading, Resources, Shared
from .tables import ApiKey

# Two usual names of the same key; the first one that is there is taken.
SAME_KEYS = (
    ("DATABRICKS_TOKEN", "DATABRICKS_API_KEY"),
    ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    ("LLAMA_API_KEY", "META_API_KEY"),
)

log = structlog.get_logger(__name__)
router = APIRouter(tags=["internal"])


class KeyExpiredError(KasalError):
    status = 410
    title = "The key has expired"

    def __init__(self, name: str) -> None:
        super().__init__(f"the key {name!r} of the group has expired; rotate it")


class KeyUnreadableError(ConflictError):
    def __init__(self, name: str) -> None:
        super().__init__(f"the key {name!r} of the group cannot be decrypted; store it again")


class LeaseLive(BaseModel):
    """The executor's answer has no body."""


@router.post("/internal/credentials", include_in_schema=False)
async def read_credential(body: CredentialIn, me: FromService, shared: Shared) -> CredentialOut:
    act = me.act
    if act is None or act.execution_id is None or act.attempt is None:
        raise ForbiddenError("a key is handed out to an attempt of an execution only")
    await _check_lease(shared, act)
    credential = await _resolve(shared, me, body.name)
    log.info("credential_read", name=credential.name, source=credential.source, execution_id=act.execution_id)
    return credential


@router.get("/internal/credentials/available", include_in_schema=False)
async def list_available(me: Viewer, shared: Shared, session: Reading) -> AvailableCredentials:
    keys = {key.name: key for key in await session.scalars(owned(ApiKey, me))}
    environment = shared.settings.provider_keys.present()
    names = {other for name in (*keys, *environment) for other in _usual_names(name)}
    items: list[AvailableCredential] = []
    for name in sorted(names):
        own = next((keys[other] for other in _usual_names(name) if other in keys), None)
        if own is None:
            items.append(AvailableCredential(name=name, source="environment"))
        elif not has_expired(own):
            items.append(AvailableCredential(name=name, source="group"))
    return AvailableCredentials(items=items)


async def _check_lease(shared: Resources, act: Act) -> None:
    """Raises ForbiddenError unless the attempt still holds the lease of its execution, UnavailableError in doubt."""
    token = await shared.host.tokens.get("executor", act)
    path = f"/internal/executions/{act.execution_id}/lease"
    try:
        await shared.host.peer("executor").call(
            "GET", path, LeaseLive, token=token, params={"attempt": str(act.attempt)}
        )
    except PeerRefusedError as error:
        if error.status != NotFoundError.status:
            raise UnavailableError("the executor could not say whether the lease is live") from error
        log.warning("credential_refused", execution_id=act.execution_id, attempt=act.attempt)
        raise ForbiddenError("this attempt no longer holds the lease of its execution") from error


async def _resolve(shared: Resources, me: Caller, name: str) -> CredentialOut:
    """Raises NotFoundError, KeyExpiredError or KeyUnreadableError. A broken key is never passed over for another."""
    if not is_text(name):
        raise NotFoundError("key", name)
    names = _usual_names(name)
    async with shared.database.tenant(me, read_only=True) as session:
        rows = await session.scalars(owned(ApiKey, me).where(ApiKey.name.in_(names)).options(undefer(ApiKey.value)))
        keys = {key.name: key for key in rows}
    stored = next((each for each in names if each in keys), None)
    if stored is not None:
        return CredentialOut(name=stored, value=_value(shared, keys[stored]), source="group")
    environment = shared.settings.provider_keys.present()
    given = next((each for each in names if each in environment), None)
    if given is not None:
        return CredentialOut(name=given, value=environment[given].get_secret_value(), source="environment")
    raise NotFoundError("key", name)


def _value(shared: Resources, key: ApiKey) -> str:
    if has_expired(key):
        raise KeyExpiredError(key.name)
    try:
        return shared.keyring.decrypt(key.value, bound_to=bound_to(key))
    except UndecryptableError as error:
        log.warning("api_key_undecryptable", name=key.name)
        raise KeyUnreadableError(key.name) from error


def _usual_names(name: str) -> Sequence[str]:
    """`name` first, then the other names of the same key."""
    for same in SAME_KEYS:
        if name in same:
            return sorted(same, key=lambda other: other != name)
    return (name,)
