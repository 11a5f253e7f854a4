"""What analyses need."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.ears.reports import Reports
from adapters.log.eventlog import EventLog
from adapters.readmodels.views import Views
from adapters.storage.uploads import Uploads
from adapters.vault import Vault
from api.billing.plans import Plans
from api.kernel import Claims, Execute
from api.links import Links
from api.paging import Pages
from commands.analyses.settings import Analyses
from commands.kernel import Now
from commands.ports import Blobs, Web
from commands.settings import Files


@dataclass(frozen=True)
class Ports:
    """What is asked for and read, and where recordings are."""

    execute: Execute
    log: EventLog
    views: Views
    pages: Pages
    now: Now
    vault: Vault
    blobs: Blobs
    links: Links
    web: Web
    uploads: Uploads
    reports: Reports
    claims: Claims
    plans: Plans
    settings: Analyses
    files: Files
