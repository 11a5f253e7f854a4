"""What the routes of beats need."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.log.eventlog import EventLog
from adapters.readmodels.views import Views
from adapters.storage.uploads import Uploads
from adapters.vault import Vault
from api.billing.plans import Plans
from api.kernel import Claims, Execute
from api.links import Links
from commands.beats.settings import Generation, Provider
from commands.kernel import Now
from commands.ports import Blobs


@dataclass(frozen=True)
class Ports:
    """What is wished for and read, and links to files."""

    execute: Execute
    log: EventLog
    views: Views
    now: Now
    vault: Vault
    links: Links
    claims: Claims
    plans: Plans
    uploads: Uploads
    blobs: Blobs
    settings: Generation
    provider: Provider
