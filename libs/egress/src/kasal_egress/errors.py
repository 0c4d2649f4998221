"""Why an outbound call did not work. No message holds a credential, a header or the path and query of a URL."""

from enum import StrEnum

from kasal_contracts.errors import KasalError


class EgressError(KasalError):
    status = 502
    title = "The outbound call failed"


class EgressRefusedError(EgressError):
    """The policy forbids the call. Nothing was sent to the place that is refused."""

    status = 422
    title = "The outbound call is not allowed"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class EgressUnreachableError(EgressError):
    """There was no connection, so nothing was sent."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"{host} cannot be reached: {reason}")
        self.host = host


class EgressUntrustedError(EgressError):
    """The server's certificate was not accepted, so nothing was sent."""

    def __init__(self, host: str) -> None:
        super().__init__(f"{host} has a certificate that is not accepted")
        self.host = host


class EgressInterruptedError(EgressError):
    """The connection broke after the request may have been sent: its outcome is unknown."""

    def __init__(self, host: str) -> None:
        super().__init__(f"{host} gave no complete answer")
        self.host = host


class Phase(StrEnum):
    CONNECT = "connect"
    IDLE = "idle"
    TOTAL = "total"


class EgressTimeoutError(EgressError):
    """A time cap was reached. Only in phase `connect` is it certain that nothing was sent."""

    status = 504

    def __init__(self, host: str, phase: Phase) -> None:
        super().__init__(f"{host} took longer than the {phase} time limit")
        self.host = host
        self.phase = phase


class EgressTooLargeError(EgressError):
    def __init__(self, host: str, max_bytes: int) -> None:
        super().__init__(f"{host} answered with more than {max_bytes} bytes")
        self.host = host
        self.max_bytes = max_bytes
