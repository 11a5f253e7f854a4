"""A small Stripe of its own for each test, and what speaks to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from adapters.payments.stripe import Payments
from tests.billing.little_stripe import LittleStripe, little_stripe


@pytest.fixture
def stripe() -> Iterator[LittleStripe]:
    """A provider on loopback with nobody in it."""
    with little_stripe() as running:
        yield running


@pytest.fixture
async def payments(stripe: LittleStripe) -> AsyncIterator[Payments]:
    """An account there."""
    made = Payments("sk_test_little", [stripe.secret], api_url=stripe.url)
    yield made
    await made.close()
