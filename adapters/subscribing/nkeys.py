"""The keys of NATS and what they sign: Ed25519 in base 32 with a checksum, and JSON Web Tokens with an algorithm of
their own (github.com/nats-io/nkeys and github.com/nats-io/jwt, version 2)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from secrets import token_bytes
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import DecodeError, json

#: First bytes: of an account's public key (`A`), and of its seed (`SA`).
_ACCOUNT = bytes([0 << 3])
_ACCOUNT_SEED = bytes([18 << 3, 0])
_KEY_BYTES = 32
_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}


class NotASeed(ValueError):
    """A text that is no seed of an account key."""


class NotAToken(ValueError):
    """A text that is no JSON Web Token."""


def new_seed() -> str:
    """A new seed of an account key, `SA...`."""
    return _written(_ACCOUNT_SEED + token_bytes(_KEY_BYTES))


def public_key(seed: str) -> str:
    """The public key of a seed, `A...`. Raises NotASeed."""
    return _written(_ACCOUNT + _private(seed).public_key().public_bytes_raw())


def _private(seed: str) -> Ed25519PrivateKey:
    try:
        read = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except (ValueError, binascii.Error) as problem:
        raise NotASeed from problem
    body, checksum = read[:-2], read[-2:]
    is_whole = len(body) == len(_ACCOUNT_SEED) + _KEY_BYTES and checksum == _checksum(body)
    if not is_whole or not body.startswith(_ACCOUNT_SEED):
        raise NotASeed
    return Ed25519PrivateKey.from_private_bytes(body[len(_ACCOUNT_SEED) :])


def _written(body: bytes) -> str:
    return base64.b32encode(body + _checksum(body)).decode().rstrip("=")


def _checksum(body: bytes) -> bytes:
    """CRC-16/XMODEM, the low byte first."""
    return binascii.crc_hqx(body, 0).to_bytes(2, "little")


class Issuer:
    """Signs tokens with the key of an account."""

    def __init__(self, seed: str) -> None:
        """Raises NotASeed."""
        self._key = _private(seed)
        self.public_key = public_key(seed)

    def sign(self, claims: dict[str, Any], *, now: float) -> str:
        """A token with these claims, issued now (seconds since 1970)."""
        stated = {**claims, "iss": self.public_key, "iat": int(now)}
        # Servers compare nothing with it; by the library's habit it is the digest of the claims.
        digest = hashlib.sha256(json.encode(stated)).digest()
        stated["jti"] = base64.b32encode(digest).decode().rstrip("=")
        signed = f"{_part(json.encode(_HEADER))}.{_part(json.encode(stated))}"
        return f"{signed}.{_part(self._key.sign(signed.encode()))}"


def _part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def claims(token: bytes) -> dict[str, Any]:
    """What a token says, whoever signed it. Raises NotAToken."""
    try:
        _, body, _ = token.split(b".")
        read = json.decode(base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4)), type=dict[str, Any])
    except (ValueError, DecodeError) as problem:
        raise NotAToken from problem
    return read
