"""Identifiers: UUIDv7 as text, so that their order is the order of their making (RFC 9562, section 5.7)."""

import os
import time
from uuid import UUID


def new_id() -> str:
    """A fresh UUIDv7 with 62 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10))
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(UUID(int=value))
