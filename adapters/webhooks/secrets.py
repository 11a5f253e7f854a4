"""The secrets that messages are signed with, which follow from the server's own."""

from __future__ import annotations

from adapters.provides import provides
from adapters.vault import Vault
from commands.webhooks.ports import SigningSecrets


@provides
def signing_secrets(vault: Vault) -> SigningSecrets:
    """The vault has them."""
    return vault
