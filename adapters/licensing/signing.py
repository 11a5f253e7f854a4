"""Signatures and certificates that a plug-in can check without asking anybody.

The format is Keygen's, as its documentation has it: `enc` is base64 of the payload, or of what AES-256-GCM made of it;
`sig` is base64 of Ed25519 over what is signed: the purpose, a slash, and `enc`. So nothing that was signed for one
purpose passes for another. A certificate is `{enc, sig, alg}` in base64 between two lines that say what it is.
"""

from __future__ import annotations

import os
from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import json

from adapters.provides import provides
from adapters.vault import Vault
from domain.kernel import Value

Purpose = Literal["license", "machine", "response"]
#: Keys in memory; making one again costs some 0.1 ms.
KEYS_MAX = 1024
LINE_LENGTH = 60
_NONCE_BYTES = 12
_TAG_BYTES = 16


class Signed(Value):
    """A payload and the proof of who made it."""

    enc: str
    sig: str
    alg: str


class Signer:
    """Signs for projects, each with keys of its own, so that nothing of one is worth anything in another."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._key = lru_cache(KEYS_MAX)(self._make)

    def _make(self, project_id: str, number: int) -> tuple[Ed25519PrivateKey, bytes]:
        key = Ed25519PrivateKey.from_private_bytes(self._vault.signing_seed(project_id, number))
        return key, key.public_key().public_bytes_raw()

    def public_key(self, project_id: str, number: int) -> bytes:
        """The 32 bytes that a plug-in is compiled with."""
        return self._key(project_id, number)[1]

    def key_id(self, project_id: str, number: int) -> str:
        """What a key is called: the beginning of the SHA-256 of its public half."""
        return sha256(self.public_key(project_id, number)).hexdigest()[:16]

    def sign(
        self, project_id: str, number: int, purpose: Purpose, payload: bytes, secret: bytes | None = None
    ) -> Signed:
        """Sign a payload for a purpose; with a `secret` it is encrypted under its SHA-256."""
        enc = b64encode(payload).decode() if secret is None else _encrypted(payload, secret)
        signature = self._key(project_id, number)[0].sign(f"{purpose}/{enc}".encode())
        return Signed(
            enc=enc,
            sig=b64encode(signature).decode(),
            alg="base64+ed25519" if secret is None else "aes-256-gcm+ed25519",
        )


def _encrypted(payload: bytes, secret: bytes) -> str:
    nonce = os.urandom(_NONCE_BYTES)
    sealed = AESGCM(sha256(secret).digest()).encrypt(nonce, payload, None)
    return ".".join(b64encode(part).decode() for part in (sealed[:-_TAG_BYTES], nonce, sealed[-_TAG_BYTES:]))


def certificate(purpose: Purpose, signed: Signed) -> str:
    """What is signed as a text that can be saved as a file and sent by mail."""
    what = f"{purpose.upper()} FILE"
    text = b64encode(json.encode(signed)).decode()
    lines = [text[start : start + LINE_LENGTH] for start in range(0, len(text), LINE_LENGTH)]
    return "\n".join([f"-----BEGIN {what}-----", *lines, f"-----END {what}-----", ""])


@provides
def signer(vault: Vault) -> Signer:
    """Signs with keys that follow from the server's secret."""
    return Signer(vault)
