"""Who calls: the claims of an access token as one type that every service uses."""

from enum import StrEnum

from .wire import Frozen


class Role(StrEnum):
    """A role in a group. Each contains the rights of the ones before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    EDITOR = "editor"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        return list(Role).index(self)

    def contains(self, other: "Role") -> bool:
        return self.rank >= other.rank


class Act(Frozen):
    """On whose behalf a service token works."""

    group_id: str
    user_id: str
    execution_id: str | None = None
    attempt: int | None = None


class Caller(Frozen):
    """An authenticated caller inside one group.

    `service` names the calling service when the token is a service token; `act` then says for which execution.
    """

    user_id: str
    group_id: str
    role: Role
    is_system_admin: bool = False
    scopes: frozenset[str] = frozenset()
    session_id: str = ""
    token_id: str = ""
    service: str | None = None
    act: Act | None = None
