"""What identity sends and follows from the server's own secret: codes, and tokens of invitations."""

from __future__ import annotations

from adapters.provides import provides
from adapters.vault import Vault
from commands.identity.ports import Secrets


@provides
def secrets(vault: Vault) -> Secrets:
    """The vault has them."""
    return vault
