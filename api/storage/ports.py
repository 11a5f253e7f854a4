"""What storage needs."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.log.eventlog import EventLog
from adapters.storage.uploads import Uploads
from adapters.vault import Vault
from api.kernel import Execute
from api.links import Links
from commands.analyses.settings import StoredObjects
from commands.kernel import Now
from commands.ports import Blobs
from commands.settings import Files


@dataclass(frozen=True)
class Ports:
    """What is asked for, and where it is kept."""

    execute: Execute
    now: Now
    vault: Vault
    blobs: Blobs
    log: EventLog
    links: Links
    uploads: Uploads
    files: Files
    objects: StoredObjects
