"""What the routes of plug-in activation need."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.licensing.counted import CountedStates
from adapters.licensing.signing import Signer
from adapters.log.eventlog import EventLog
from adapters.log.states import States
from adapters.readmodels.views import Views
from adapters.vault import Vault
from api.kernel import Claims, Execute
from api.licensing.turns import Turns
from api.rates import Limits
from commands.kernel import Now
from commands.licensing.settings import Licensing


@dataclass(frozen=True)
class Ports:
    """Commands, states and read models; new codes and digests; limits."""

    execute: Execute
    log: EventLog
    states: States
    counted: CountedStates
    views: Views
    vault: Vault
    signer: Signer
    now: Now
    limits: Limits
    claims: Claims
    turns: Turns
    settings: Licensing
