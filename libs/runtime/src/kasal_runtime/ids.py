"""Ids that callers name: whatever the text of an unknown one looks like, it is 404."""

from typing import Annotated

from kasal_contracts.errors import NotFoundError
from kasal_contracts.storable import is_text
from pydantic import AfterValidator


def _findable(text: str) -> str:
    """Raises NotFoundError for what no database could even look for."""
    if not is_text(text):
        raise NotFoundError("resource", text)
    return text


Id = Annotated[str, AfterValidator(_findable)]
