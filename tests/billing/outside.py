"""What stands in for the payment provider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from commands.billing.ports import Order, Subscriptions
from tests.outside import Known, as_once

OBJECTS: tuple[str, ...] = ()


class Paid:
    """What is paid for until it is ended, and pages that are open until they are closed."""

    def __init__(self, known: Known) -> None:
        self._known = known

    async def create_customer(self, workspace_id: str) -> str:
        return f"cus-{workspace_id}"

    async def close_checkout(self, order: Order) -> tuple[str, bool]:
        return f"page-{order.attempt_id}", True

    @as_once
    async def end_subscriptions(self, customer_id: str) -> Sequence[str]:
        if f"the end of {customer_id}" in self._known.erased:
            return []
        self._known.erased.add(f"the end of {customer_id}")
        return [customer_id]


def outside(known: Known) -> dict[type, Any]:
    """By their ports."""
    return {Subscriptions: Paid(known)}
