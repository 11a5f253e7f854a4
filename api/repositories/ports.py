"""What the routes of repositories need."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.github.app import GithubApp
from adapters.log.eventlog import EventLog
from adapters.readmodels.views import Views
from adapters.vault import Vault
from api.kernel import Execute
from api.links import Links
from commands.kernel import Now
from commands.ports import Blobs, Web
from commands.settings import Service
from domain.repositories.settings import Repositories


@dataclass(frozen=True)
class Ports:
    """Commands, the log, new ids, and which addresses may be linked."""

    execute: Execute
    log: EventLog
    views: Views
    vault: Vault
    web: Web
    service: Service
    now: Now
    github: GithubApp
    settings: Repositories
    blobs: Blobs
    links: Links
