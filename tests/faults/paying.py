"""Workspaces that pay, and a payment provider that tells of it as the real one does: late, twice, in any order."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import uuid4

from commands.billing.reactions import close_checkout
from domain.billing.subscriptions import FREE, OVER, PAYING
from tests.billing.little_stripe import LittleStripe
from tests.faults.cluster import PRICES, Cluster
from tests.faults.people import Person, signed_in
from tests.faults.worlds import Asks
from tests.identity.crowd import new_email

CHECKOUTS = "/v1/billing/checkout-sessions"
#: How long a webhook may be on its way, and until something changes again.
ON_ITS_WAY_SECONDS_MAX = 0.3
#: How long each fourth answer about a subscription is on its way, so that others overtake it.
LATE_SECONDS = 0.8


class Paying:
    """Subscriptions at the provider, which is always right, and what the service makes of them."""

    def __init__(self, asked: Asks, note: Callable[[str, str, str], None], provider: LittleStripe) -> None:
        self._asked = asked
        self._note = note
        self._provider = provider
        provider.meanwhile = lambda: time.sleep(random.choice([0.0, 0.0, 0.0, LATE_SECONDS]))
        #: The subscription of each payer that counts, as the provider has it; None: there is none.
        self.subscriptions: dict[Person, dict[str, Any] | None] = {}
        #: Who has ended their turn and may have another one.
        self._idle: deque[Person] = deque()

    def subscription(self, chance: random.Random) -> None:
        """Somebody subscribes, changes what they pay for and perhaps ends it; or somebody who did so before goes on."""
        payer = self._another() if chance.random() < 0.6 else None
        payer = payer or signed_in(self._asked, new_email())
        subscription = self.subscriptions.setdefault(payer, None)
        with ThreadPoolExecutor(3) as postmen:
            told: list[Future[None]] = []
            if subscription is None or subscription["status"] in OVER:
                page_id = self._page(payer, chance)
                if chance.random() < 0.1:
                    return  # nobody pays there
                subscription = self.subscriptions[payer] = self._provider.pay(page_id)
                told += self._tell(postmen, chance, "checkout.session.completed", self._provider.sessions[page_id])
                told += self._tell(postmen, chance, "customer.subscription.created", subscription)
            for _ in range(chance.randrange(4)):
                time.sleep(chance.random() * ON_ITS_WAY_SECONDS_MAX)
                self._change(subscription, chance)
                told += self._tell(postmen, chance, "customer.subscription.updated", subscription)
            if chance.random() < 0.3:
                time.sleep(chance.random() * ON_ITS_WAY_SECONDS_MAX)
                subscription["status"] = "canceled"
                told += self._tell(postmen, chance, "customer.subscription.deleted", subscription)
            told += self._bill(postmen, chance, subscription)
            for each in told:
                each.result()
        if subscription["status"] in PAYING:
            self._asked(409, "POST", CHECKOUTS, json={}, headers=payer.headers)
        self._asked(200, "POST", "/v1/billing/portal-sessions", headers=payer.headers)
        self._idle.append(payer)

    def _another(self) -> Person | None:
        with suppress(IndexError):
            return self._idle.popleft()
        return None

    def _page(self, payer: Person, chance: random.Random) -> str:
        """A page to pay at, perhaps after another one; of those of a workspace it alone is open."""
        for _ in range(1 + (chance.random() < 0.3)):
            wish = {"plan": chance.choice(list(PRICES))}
            page_id = str(self._asked(200, "POST", CHECKOUTS, json=wish, headers=payer.headers).json()["id"])
            self._note("billing.CheckoutOpened", "checkout_id", page_id)
        assert self._provider.pages(payer.workspace_id, "open") == [page_id], "somebody could pay at two pages"
        return page_id

    @staticmethod
    def _change(subscription: dict[str, Any], chance: random.Random) -> None:
        """Another plan, or another state of the same one."""
        what = chance.random()
        if what < 0.4:
            subscription["items"]["data"][0]["price"]["id"] = chance.choice(list(PRICES.values()))
        elif what < 0.6:
            subscription["cancel_at_period_end"] = not subscription["cancel_at_period_end"]
        else:
            subscription["status"] = chance.choice(["active", "past_due", "unpaid", "paused"])

    def _bill(
        self, postmen: ThreadPoolExecutor, chance: random.Random, subscription: dict[str, Any]
    ) -> list[Future[None]]:
        """A bill that could not be collected and then is paid; the provider tells of both in any order."""
        bill = {
            "id": f"in_{uuid4().hex}",
            "object": "invoice",
            "customer": subscription["customer"],
            "amount_paid": 900,
            "amount_due": 900,
            "currency": "eur",
        }
        told = self._tell(postmen, chance, "invoice.payment_failed", bill)
        told += self._tell(postmen, chance, "invoice.paid", bill)
        self._note("billing.InvoicePaid", "invoice_id", bill["id"])
        return told

    def _tell(
        self, postmen: ThreadPoolExecutor, chance: random.Random, kind: str, about: dict[str, Any]
    ) -> list[Future[None]]:
        """Tell the service, once or twice, in a while; not before it was heard is it over."""
        waits = [chance.random() * ON_ITS_WAY_SECONDS_MAX for _ in range(1 + (chance.random() < 0.3))]
        return [postmen.submit(self._post, kind, about, wait) for wait in waits]

    def _post(self, kind: str, about: dict[str, Any], wait: float = 0.0) -> None:
        time.sleep(wait)
        body = self._provider.event(kind, about)
        headers = {"Stripe-Signature": self._provider.signature(body)}
        self._asked(200, "POST", "/webhooks/stripe", content=body, headers=headers)

    def compare(self) -> None:
        """The plan of each workspace is what the provider says, and each is one customer there."""
        for payer, subscription in self.subscriptions.items():
            shown = self._asked(200, "GET", "/v1/billing/status", headers=payer.headers).json()
            due = _due(subscription)
            assert (shown["plan"], shown["status"]) == due[:2], (due, shown)
            # One that was over before anybody looked says nothing of the one before it, which is shown.
            assert due[1] in OVER or shown["cancel_at_period_end"] == due[2], (due, shown)
            mine = [each for each in self._provider.customers.values()
                    if each["metadata"]["workspace_id"] == payer.workspace_id]  # fmt: skip
            assert len(mine) == 1, "a workspace is one customer"


def _due(subscription: dict[str, Any] | None) -> tuple[str, str, bool]:
    """The plan that a subscription gives, its status, and whether it ends with what is paid for."""
    if subscription is None:
        return FREE, "none", False
    [plan] = [plan for plan, price in PRICES.items() if price == subscription["items"]["data"][0]["price"]["id"]]
    status = subscription["status"]
    return plan if status in PAYING else FREE, status, subscription["cancel_at_period_end"]


def settled(cluster: Cluster) -> bool:
    """Every page at the provider was looked after, whoever was killed on the way to it: what is open there is known."""
    assert cluster.asked(f"SELECT count(*) FROM jobs WHERE reaction = '{close_checkout.name}'") == [(0,)]
    known = cluster.asked(
        "SELECT convert_from(state, 'UTF8')::jsonb ->> 'checkout_id' FROM ledger_events "
        "WHERE topic = 'billing.CheckoutOpened'"
    )
    is_open = {each["id"] for each in cluster.payments.sessions.values() if each["status"] == "open"}
    assert is_open <= {page_id for (page_id,) in known}, "somebody could pay at a page that nobody knows"
    return True
