"""What billing needs of the outside to do what follows from events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from commands.kernel import Execute, Log


class Order(NamedTuple):
    """What a page is asked for with. The same order asked for again is the same page, for a day at least."""

    attempt_id: str
    workspace_id: str
    customer_id: str
    price_id: str
    success_url: str
    cancel_url: str


class Subscriptions(Protocol):
    """What is paid for at the payment provider."""

    async def create_customer(self, workspace_id: str) -> str:
        """The customer of a workspace; asking twice gives the same one."""

    async def close_checkout(self, order: Order) -> tuple[str, bool]:
        """The page of an order, and whether it is closed: not when somebody has completed it."""

    async def end_subscriptions(self, customer_id: str) -> Sequence[str]:
        """End at once what a customer pays for, and say which subscriptions those were."""


@dataclass(frozen=True)
class Ports:
    """What reactions of billing reach for."""

    log: Log
    execute: Execute
    #: None where paying is turned off.
    payments: Subscriptions | None
