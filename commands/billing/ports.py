"""What billing needs of the outside to do what follows from events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from commands.kernel import Execute, Log


class Subscriptions(Protocol):
    """What is paid for at the payment provider."""

    async def end_subscriptions(self, customer_id: str) -> Sequence[str]:
        """End at once what a customer pays for, and say which subscriptions those were."""


@dataclass(frozen=True)
class Ports:
    """What reactions of billing reach for."""

    log: Log
    execute: Execute
    #: None where paying is turned off.
    payments: Subscriptions | None
