"""Which Kasal a command talks to: the one that is named, the one that runs here, or one of its own."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kasal_client import Kasal, KasalApiError, KasalUnreachableError
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from .console import UNREACHABLE, err, fail
from .credentials import Store, StoredSession, local_store, user_store


class ClientSettings(BaseSettings):
    """Where commands go, from the environment."""

    model_config = SettingsConfigDict(env_prefix="KASAL_", frozen=True)

    url: str = Field(default="", description="Which Kasal; empty means the one on this machine.")
    token: SecretStr = Field(default=SecretStr(""), description="An access token for it.")
    group_id: str = Field(default="", description="The active group; empty means the user's first.")


@contextmanager
def connected(data_dir: Path, *, may_start: bool = False) -> Generator[Kasal]:
    """`KASAL_URL` where it is set, else a local server that runs, else (with `may_start`) one for this command alone.

    Ends the command with a sentence when there is none.
    """
    settings = ClientSettings()
    with ExitStack() as stack:
        kasal = _named(settings, data_dir) if settings.url else _running(settings, data_dir)
        if kasal is None and may_start:
            kasal = _own(stack, data_dir)
        if kasal is None:
            fail("no Kasal runs here; start one with `kasal dev`, or name one in KASAL_URL", code=UNREACHABLE)
        yield stack.enter_context(kasal)


def _named(settings: ClientSettings, data_dir: Path) -> Kasal:
    token = settings.token.get_secret_value()
    if token:
        return Kasal(settings.url, token=token, group_id=settings.group_id or None)
    for store in (user_store(), local_store(data_dir)):
        credential = store.read()
        if credential is not None and credential.url.rstrip("/") == settings.url.rstrip("/"):
            return _with_session(store, settings)
    fail(f"not logged in at {settings.url}; `kasal login --url {settings.url}`, or set KASAL_TOKEN", code=UNREACHABLE)


def _running(settings: ClientSettings, data_dir: Path) -> Kasal | None:
    store = local_store(data_dir)
    credential = store.read()
    return _with_session(store, settings) if credential is not None and _answers(credential.url) else None


def _with_session(store: Store, settings: ClientSettings) -> Kasal:
    credential = store.read()
    session = StoredSession(store)
    url = credential.url if credential else settings.url
    return Kasal(url, token=session.renew(), renew=session.renew, group_id=settings.group_id or None)


def _answers(url: str) -> bool:
    try:
        with Kasal(url, timeout_s=5) as kasal:
            kasal.version()
    except (KasalUnreachableError, KasalApiError):
        return False
    return True


def _own(stack: ExitStack, data_dir: Path) -> Kasal:
    from anyio.from_thread import start_blocking_portal

    from .embedded import Embedding, open_embedded

    with err.status("Starting Kasal for this execution …"):
        portal = stack.enter_context(start_blocking_portal())
        own = stack.enter_context(portal.wrap_async_context_manager(open_embedded(Embedding(data_dir, port=0))))
    kasal = Kasal(own.url)
    kasal.login(own.admin_email, own.secrets.admin_password.get_secret_value())
    return kasal
