"""What billing needs."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.log.eventlog import EventLog
from adapters.payments.stripe import Payments
from adapters.readmodels.views import Views
from adapters.vault import Vault
from api.billing.plans import Plans
from api.kernel import Execute
from commands.kernel import Now
from commands.settings import Service


@dataclass(frozen=True)
class Ports:
    """What is asked for and read, the plans, and who is paid."""

    execute: Execute
    log: EventLog
    views: Views
    now: Now
    plans: Plans
    service: Service
    vault: Vault
    #: None where paying is turned off.
    payments: Payments | None
