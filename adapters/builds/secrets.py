"""Secrets of projects, which open for their project only."""

from __future__ import annotations

from adapters.provides import provides
from adapters.storage.sealed import SealedTexts
from adapters.vault import Vault
from commands.ports import Blobs
from domain.builds import keys


class SecretStore(SealedTexts):
    """Sealed secrets of projects."""


@provides
def secret_store(vault: Vault, blobs: Blobs) -> SecretStore:
    """Where secrets of projects are."""
    return SecretStore(vault, blobs, keys.secret)
