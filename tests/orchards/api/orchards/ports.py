"""What the routes of orchards need."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.identity.vault import Vault
from adapters.readmodels.views import Views
from api.kernel import Execute


@dataclass(frozen=True)
class Ports:
    """Commands, read models, and new ids."""

    execute: Execute
    views: Views
    vault: Vault
