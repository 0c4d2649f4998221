"""Messages as bytes. Both buses carry these, so that both lose and keep the same things."""

from kasal_contracts.messages import AnyMessage, Message
from pydantic import ValidationError

MAX_MESSAGE_BYTES = 256 * 1024


class MessageTooLargeError(ValueError):
    """Payloads of this size travel as blobs, and their ids in messages."""

    def __init__(self, type_: str, size: int) -> None:
        super().__init__(f"a {type_} of {size} bytes is over the limit of {MAX_MESSAGE_BYTES} bytes")


class UnreadableMessageError(ValueError):
    """Not a message that this version knows. Its text never shows the content."""


def encode(message: Message) -> bytes:
    """Raises MessageTooLargeError."""
    body = message.model_dump_json().encode()
    if len(body) > MAX_MESSAGE_BYTES:
        raise MessageTooLargeError(message.type, len(body))
    return body


def decode(body: bytes) -> Message:
    """Raises UnreadableMessageError."""
    try:
        return AnyMessage.validate_json(body)
    except ValidationError as error:
        raise UnreadableMessageError(error.errors(include_url=False, include_input=False)[0]["type"]) from None
