"""What consumers need."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.log.eventlog import EventLog
from adapters.readmodels.subscriptions import Subscriptions
from adapters.readmodels.views import Views
from adapters.subscribing.readers import Readers
from adapters.subscribing.settings import NatsSubscribers
from adapters.vault import Vault
from api.kernel import Claims, Execute


@dataclass(frozen=True)
class Ports:
    """What is asked for and read, and how far readers are."""

    execute: Execute
    log: EventLog
    views: Views
    vault: Vault
    subscriptions: Subscriptions
    readers: Readers
    settings: NatsSubscribers
    claims: Claims
