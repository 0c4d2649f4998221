"""What the API answers, where the shared models do not say it. Unknown fields are ignored: servers may be newer."""

from kasal_contracts.crew import CrewDocument, CrewProblem
from kasal_contracts.executions import ExecutionRecord
from kasal_contracts.identity import Role
from kasal_contracts.models import Price, Provider
from kasal_contracts.wire import Frozen, JsonObject, Resource, Timestamp
from pydantic import Field


class Tagged(Resource):
    """`etag` is what `if_match` takes: a change is refused when somebody else was quicker."""

    etag: str = Field(default="", exclude=True)


class Crew(CrewDocument, Tagged):
    version: int


class Verdict(Frozen):
    valid: bool
    problems: list[CrewProblem]


class Execution(ExecutionRecord, Tagged):
    """An execution as it was when it was read."""


class Model(Tagged):
    name: str
    provider: Provider
    model: str
    base_url: str | None = None
    api_key_name: str | None = None
    temperature: float | None = None
    context_window: int | None = None
    max_tokens: int | None = None
    extra: JsonObject = {}
    price: Price | None = None
    enabled: bool = True
    available: bool = True
    unavailable_reason: str | None = None


class ApiKey(Tagged):
    """`hint` is the last four characters; the value is never told."""

    name: str
    description: str = ""
    hint: str
    version: int
    expires_at: Timestamp | None
    expired: bool


class Group(Frozen):
    id: str
    name: str
    role: Role


class Account(Frozen):
    id: str
    email: str
    display_name: str
    is_system_admin: bool
    group_id: str | None
    groups: list[Group] = []


class Session(Frozen):
    """A pair of tokens; `expires_in` is the access token's life in seconds. A refresh token works once."""

    access_token: str = Field(repr=False)
    refresh_token: str = Field(repr=False)
    expires_in: float


class Versions(Frozen):
    version: str
    api: str
    services: dict[str, str]
