"""Errors on the wire: `application/problem+json` (RFC 9457)."""

from pydantic import BaseModel, Field

MEDIA_TYPE = "application/problem+json"


class FieldError(BaseModel):
    """What is wrong, and where: `loc` is a path such as `["body", "tasks", 0, "agent"]`."""

    loc: list[str | int]
    msg: str


class Problem(BaseModel):
    type: str = "about:blank"
    title: str
    status: int = Field(ge=400, le=599)
    detail: str = ""
    instance: str = ""
    errors: list[FieldError] | None = None
    request_id: str = ""
