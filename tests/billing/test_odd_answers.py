"""Whatever Stripe answers that makes no sense, is told as Stripe being unavailable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.payments.stripe import Payments, PaymentsUnavailable
from commands.billing.ports import Order
from tests.billing.little_stripe import LittleStripe
from tests.scene import WORKSPACE

HERE = "https://a.example"


ASKED: dict[str, Callable[[Payments], Awaitable[Any]]] = {
    "a customer": lambda payments: payments.create_customer(WORKSPACE),
    "a checkout": lambda payments: payments.open_checkout(
        Order("attempt", WORKSPACE, "cus_1", "price_pro", HERE, HERE)
    ),
    "a portal": lambda payments: payments.open_portal("cus_1", HERE),
    "a subscription": lambda payments: payments.subscription("sub_1"),
    "what is running": lambda payments: payments.end_subscriptions("cus_1"),
}
SENSELESS: list[dict[str, Any]] = [
    {},
    {"id": 7, "object": "subscription"},
    {"id": "", "url": 7},
    {"id": None, "data": None, "object": "list"},
    {"object": "list", "data": 7, "has_more": False},
    {"object": "list", "data": [{"id": "sub_1"}], "has_more": False},
    {"object": "list", "data": [7, None], "has_more": True},
    {"object": 7, "deleted": True},
]


@pytest.mark.parametrize("answer", SENSELESS, ids=str)
@pytest.mark.parametrize("asked", ASKED)
async def test_an_answer_that_makes_no_sense_is_stripe_being_unavailable(
    stripe: LittleStripe, payments: Payments, asked: str, answer: dict[str, Any]
) -> None:
    stripe.answers_always = (200, answer)

    with capture_logs() as lines, pytest.raises(PaymentsUnavailable):
        await ASKED[asked](payments)

    assert [line["event"] for line in lines] == ["payments.garbled"]


@pytest.mark.parametrize(
    "found", [{}, {"id": 7}, {"id": "cs_1", "status": 7}, {"id": "cs_1", "subscription": {}}], ids=str
)
async def test_a_page_that_cannot_be_closed_and_makes_no_sense_is_not_known_as_closed(
    stripe: LittleStripe, payments: Payments, found: dict[str, Any]
) -> None:
    stripe.answers_always = (200, found)
    stripe.expires_nothing = True
    with pytest.raises(PaymentsUnavailable):
        await payments.close_page("cs_1")
