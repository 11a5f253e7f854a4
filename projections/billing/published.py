"""What is published of billing."""

from __future__ import annotations

from domain.billing.subscriptions import (
    InvoicePaid,
    InvoicePaymentFailed,
    SubscriptionObserved,
)
from domain.published import published

PUBLISHED = (
    published(InvoicePaid),
    published(InvoicePaymentFailed),
    published(SubscriptionObserved),
)
