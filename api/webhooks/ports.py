"""What webhooks need."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.log.eventlog import EventLog
from adapters.readmodels.subscriptions import Subscriptions
from adapters.readmodels.views import Views
from adapters.vault import Vault
from api.kernel import Execute
from api.paging import Pages
from commands.kernel import Now
from commands.ports import Published, Web
from commands.settings import Service
from commands.webhooks import ports as sending


@dataclass(frozen=True)
class Ports:
    """What is asked for and read, and what sends."""

    execute: Execute
    log: EventLog
    views: Views
    pages: Pages
    now: Now
    vault: Vault
    web: Web
    sending: sending.Ports
    service: Service
    published: Published
    subscriptions: Subscriptions
