"""Identifiers: time-ordered ones for events, random ones for things people see."""

from __future__ import annotations

from random import getrandbits

_VERSION_AND_VARIANT = 0x7000_8000_0000_0000_0000
#: The bits beside them that are drawn.
_DRAWN = 0x0FFF_3FFF_FFFF_FFFF_FFFF


def uuid7(time_nanoseconds: int) -> bytes:
    """The 16 bytes of a version-7 UUID (RFC 9562): milliseconds, then 74 random bits; unique, not secret."""
    return (time_nanoseconds // 1_000_000 << 80 | _VERSION_AND_VARIANT | getrandbits(80) & _DRAWN).to_bytes(16, "big")
