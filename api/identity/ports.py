"""What identity needs."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.identity.directory import Directory
from adapters.identity.keyring import Keyring
from adapters.identity.last_uses import Uses
from adapters.log.eventlog import EventLog
from adapters.readmodels.views import Views
from adapters.vault import Vault
from api.auth import Authentication
from api.kernel import Execute
from api.paging import Pages
from api.rates import Limits
from commands.identity.settings import Identity
from commands.kernel import Now
from commands.settings import Mail, Service


@dataclass(frozen=True)
class Ports:
    """What is asked for and read, and what knows who somebody is."""

    execute: Execute
    log: EventLog
    views: Views
    pages: Pages
    now: Now
    vault: Vault
    keyring: Keyring
    directory: Directory
    uses: Uses
    limits: Limits
    auth: Authentication
    settings: Identity
    service: Service
    mail: Mail
