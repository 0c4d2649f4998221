"""Refusals: typed errors that carry the status and the words of their problem document."""

from collections.abc import Sequence

from .problems import FieldError


class KasalError(Exception):
    """Something a caller may be told. The message is for people; it never holds a secret."""

    status = 400
    title = "The request cannot be carried out"

    def __init__(self, detail: str, *, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = list(errors)


class UnauthenticatedError(KasalError):
    status = 401
    title = "Authentication is needed"

    def __init__(self, detail: str = "send a valid access token in the Authorization header") -> None:
        super().__init__(detail)


class ForbiddenError(KasalError):
    status = 403
    title = "A right is missing"


class NotFoundError(KasalError):
    """Also the answer for what belongs to another group: whether it exists is not told."""

    status = 404
    title = "Not found"

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"there is no {kind} {key!r} here")


class ConflictError(KasalError):
    status = 409
    title = "Conflict"


class StaleError(KasalError):
    status = 412
    title = "The resource has changed"

    def __init__(self) -> None:
        super().__init__("somebody changed this in the meantime; read it again and repeat your change")


class TooLargeError(KasalError):
    status = 413
    title = "The body is too large"


class InvalidError(KasalError):
    """`errors` says where."""

    status = 422
    title = "The request is not valid"


class TooManyError(KasalError):
    status = 429
    title = "Too many requests"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class UnavailableError(KasalError):
    """A dependency does not answer; the same request may work later."""

    status = 503
    title = "Temporarily unavailable"
