"""Keys, codes and tokens: how they are made, what is kept of them, and what may be shown."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
import zlib

API_KEY_PREFIX = "bz_"
#: What is enough to find a key in a list, and useless for guessing it: 8 of 43 random characters.
SHOWN_CHARACTERS = 8

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_BYTES = 32
_RANDOM_CHARACTERS = 43  # 62**43 is just above 2**256
_CHECK_CHARACTERS = 6  # 62**6 is above 2**32


def new_api_key(prefix: str = API_KEY_PREFIX) -> str:
    """A fresh API key, to be shown once: prefix, 256 random bits in base 62, CRC-32 of all that in base 62.

    The check lets anybody, such as a scanner for secrets, tell a key from a typing error without asking us.
    """
    body = prefix + _base62(int.from_bytes(secrets.token_bytes(_RANDOM_BYTES)), _RANDOM_CHARACTERS)
    return body + _check(body)


def digest(text: str) -> str:
    """What is kept of a key or token: its SHA-256 in hex, enough because 256 random bits cannot be guessed."""
    return hashlib.sha256(text.encode()).hexdigest()


def shown(key: str, prefix: str = API_KEY_PREFIX) -> str:
    """The beginning of a key, for its owner to recognise it by."""
    return key[: len(prefix) + SHOWN_CHARACTERS]


def new_code() -> str:
    """Six digits, for a person to copy from a message."""
    return f"{secrets.randbelow(1_000_000):06d}"


def same(one: str, other: str) -> bool:
    """Whether two digests are equal, in a time that does not say where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


def _check(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK_CHARACTERS)


def _base62(number: int, width: int) -> str:
    characters = []
    for _ in range(width):
        number, remainder = divmod(number, 62)
        characters.append(_BASE62[remainder])
    return "".join(reversed(characters))
