"""What the routes of builds need."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.builds.jobs import Jobs
from adapters.builds.secrets import SecretStore
from adapters.builds.waiting import WaitingRunners
from adapters.github.app import GithubApp
from adapters.log.eventlog import EventLog
from adapters.readmodels.followers import Followers
from adapters.readmodels.settings import Reading
from adapters.readmodels.views import Views
from adapters.storage.uploads import Uploads
from adapters.vault import Vault
from api.billing.plans import Plans
from api.kernel import Claims, Execute
from api.links import Links
from api.rates import Limits
from commands.kernel import Now
from commands.ports import Blobs
from commands.settings import Service
from domain.builds.settings import Builds


@dataclass(frozen=True)
class Ports:
    """Commands and read models, where jobs wait, and where artifacts and logs are."""

    execute: Execute
    log: EventLog
    views: Views
    now: Now
    vault: Vault
    jobs: Jobs
    waiting: WaitingRunners
    blobs: Blobs
    uploads: Uploads
    links: Links
    claims: Claims
    plans: Plans
    limits: Limits
    github: GithubApp
    secrets: SecretStore
    followers: Followers
    reading: Reading
    settings: Builds
    service: Service
