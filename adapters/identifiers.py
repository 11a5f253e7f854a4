"""Identifiers: time-ordered ones for events, random ones for things people see."""

from __future__ import annotations

import os


def uuid7(time_nanoseconds: int) -> bytes:
    """The 16 bytes of a version-7 UUID (RFC 9562): milliseconds, then 74 random bits."""
    tail = bytearray(os.urandom(10))
    tail[0] = 0x70 | tail[0] & 0x0F
    tail[2] = 0x80 | tail[2] & 0x3F
    return (time_nanoseconds // 1_000_000).to_bytes(6, "big") + bytes(tail)
