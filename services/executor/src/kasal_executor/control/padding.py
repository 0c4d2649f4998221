"""Lists of ids as parameters of statements that run all the time."""

from collections.abc import Collection


def padded(ids: Collection[str]) -> list[str]:
    """`ids`, the last one repeated up to a power of two.

    A database prepares a statement for each length of its list; this leaves it with a handful.
    """
    listed = list(ids)
    missing = (1 << (len(listed) - 1).bit_length()) - len(listed) if listed else 0
    return listed + listed[-1:] * missing
