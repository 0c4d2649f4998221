"""Keys of providers: fetched from auth in the name of one attempt, kept in memory for as long as it runs."""

from kasal_contracts.credentials import CredentialIn, CredentialOut
from kasal_contracts.executions import ErrorCode
from kasal_contracts.identity import Act
from kasal_contracts.models import ResolvedModel
from kasal_runtime.peers import PeerRefusedError, PeerUnavailableError
from kasal_runtime.service import Host
from pydantic import SecretStr

from .providers import key_name_of
from .refusals import BrokerRefusedError


class Credentials:
    """The keys of one attempt, by name."""

    def __init__(self, host: Host, act: Act) -> None:
        self._host = host
        self._act = act
        self._known: dict[str, SecretStr] = {}

    async def key_of(self, model: ResolvedModel) -> SecretStr | None:
        """The key that `model` needs, or `None` where it needs none.

        Raises BrokerRefusedError when it needs one that is not there.
        """
        name = key_name_of(model)
        if name is None:
            return None
        if name not in self._known:
            self._known[name] = await self._fetch(name, model.alias)
        return self._known[name]

    async def _fetch(self, name: str, alias: str) -> SecretStr:
        try:
            token = await self._host.tokens.get("auth", self._act)
            answer = await self._host.peer("auth").call(
                "POST", "/internal/credentials", CredentialOut, token=token, body=CredentialIn(name=name)
            )
        except PeerUnavailableError:
            raise BrokerRefusedError(
                f"The key of the model “{alias}” could not be read because the auth service does not answer. Try again."
            ) from None
        except PeerRefusedError as refused:
            if refused.status == 404:
                raise BrokerRefusedError(
                    f"The model “{alias}” needs the key {name}, which is not configured. "
                    f"Store it under API keys or set it in the environment of the auth service.",
                    status=401,
                ) from None
            code = ErrorCode.AUTH_EXPIRED if refused.status == 410 else ErrorCode.MODEL_ERROR
            raise BrokerRefusedError(
                f"The key {name} of the model “{alias}” could not be used: {refused.detail}.", code=code, status=401
            ) from None
        return SecretStr(answer.value)
