"""What the routes of projects need."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.log.eventlog import EventLog
from adapters.readmodels.views import Views
from adapters.vault import Vault
from api.kernel import Claims, Execute
from commands.ports import Web


@dataclass(frozen=True)
class Ports:
    """Commands and read models, new ids and secrets, and addresses to be told."""

    execute: Execute
    log: EventLog
    views: Views
    vault: Vault
    web: Web
    claims: Claims
