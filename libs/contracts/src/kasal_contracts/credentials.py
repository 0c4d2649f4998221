"""What auth answers to other services: tokens for another group, and provider keys."""

from typing import Literal

from pydantic import Field

from .identity import Role
from .wire import Frozen

Source = Literal["group", "environment"]
"""Where a provider key was found."""


class ExchangeIn(Frozen):
    """`POST /internal/exchange`: a user's live access token, or a one-use ticket, for a token in `group_id`.

    Exactly one of `token` and `ticket` is given. Without `group_id` the group stays what it was.
    """

    token: str | None = Field(default=None, repr=False)
    ticket: str | None = Field(default=None, repr=False)
    group_id: str | None = None


class ExchangeOut(Frozen):
    access_token: str = Field(repr=False)
    expires_in: int = Field(description="Seconds.")
    group_id: str
    role: Role


class CredentialIn(Frozen):
    """`POST /internal/credentials`, with a service token that acts for one attempt of an execution."""

    name: str = Field(max_length=128)


class CredentialOut(Frozen):
    """`name` is the name under which the key was found; it may be another usual name of the same key."""

    name: str
    value: str = Field(repr=False)
    source: Source


class AvailableCredential(Frozen):
    name: str
    source: Source


class AvailableCredentials(Frozen):
    """`GET /internal/credentials/available`: the keys that the caller's group can use now, without their values."""

    items: list[AvailableCredential]
