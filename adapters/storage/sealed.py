"""Secrets in the object store, sealed so that they open for what they belong to and under their id only."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapters.vault import Vault
from commands.ports import Blobs
from domain.kernel import NotFound

_NONCE_BYTES = 12


class SealedTexts:
    """AES-256-GCM under a key of each workspace, which follows from the server's secret."""

    def __init__(self, vault: Vault, blobs: Blobs, key_of: Callable[[str, str], str]) -> None:
        self._vault = vault
        self._blobs = blobs
        self._key_of = key_of

    async def put(self, workspace_id: str, owner_id: str, secret_id: str, text: str) -> None:
        """Store a text; it counts once an event names its id."""
        nonce = os.urandom(_NONCE_BYTES)
        about = f"{owner_id}/{secret_id}".encode()
        sealed = nonce + AESGCM(self._vault.secrets_key(workspace_id)).encrypt(nonce, text.encode(), about)
        await self._blobs.put_bytes(
            self._key_of(workspace_id, secret_id), sealed, content_type="application/octet-stream"
        )

    async def texts(self, workspace_id: str, owner_id: str, named: Mapping[str, str]) -> dict[str, str]:
        """The texts behind these ids by their names; one that is gone, or another's, is left out."""
        found = {}
        for name, secret_id in named.items():
            try:
                stored = await self._blobs.stat(self._key_of(workspace_id, secret_id))
                sealed = b"".join([piece async for piece in self._blobs.read(stored)])
                about = f"{owner_id}/{secret_id}".encode()
                key = AESGCM(self._vault.secrets_key(workspace_id))
                found[name] = key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], about).decode()
            except (NotFound, InvalidTag, ValueError):
                continue
        return found
