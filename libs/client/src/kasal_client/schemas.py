"""What the API answers, where the shared models do not say it. Unknown fields are ignored: servers may be newer."""

from kasal_contracts.crew import CrewDocument, CrewProblem
from kasal_contracts.executions import ExecutionError, Limits, Priority, ResourceUsage, Result, Status, Usage
from kasal_contracts.identity import Role
from kasal_contracts.models import Price, Provider
from kasal_contracts.wire import Frozen, JsonObject, Timestamp
from pydantic import ConfigDict, Field


class Resource(Frozen):
    """`etag` is what `if_match` takes: a change is refused when somebody else was quicker."""

    id: str
    group_id: str
    created_by: str
    created_at: Timestamp
    updated_at: Timestamp
    etag: str = Field(default="", exclude=True)


class Crew(CrewDocument):
    model_config = ConfigDict(extra="ignore")

    id: str
    group_id: str
    created_by: str
    created_at: Timestamp
    updated_at: Timestamp
    version: int
    etag: str = Field(default="", exclude=True)


class Verdict(Frozen):
    valid: bool
    problems: list[CrewProblem]


class Execution(Resource):
    crew_id: str | None
    version: int | None
    name: str
    status: Status
    priority: Priority
    attempt: int
    inputs: JsonObject
    limits: Limits = Limits()
    result: Result | None
    error: ExecutionError | None
    usage: Usage
    resource_usage: ResourceUsage
    queued_at: Timestamp
    queue_reason: str | None
    started_at: Timestamp | None
    ended_at: Timestamp | None
    parent_id: str | None
    labels: dict[str, str]


class Model(Resource):
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


class ApiKey(Resource):
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
