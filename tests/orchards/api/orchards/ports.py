"""What the routes of orchards need."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.readmodels.views import Views
from adapters.vault import Vault
from api.billing.plans import Plans
from api.kernel import Execute


@dataclass(frozen=True)
class Ports:
    """Commands, read models, new ids, and what a plan allows."""

    execute: Execute
    views: Views
    vault: Vault
    plans: Plans
