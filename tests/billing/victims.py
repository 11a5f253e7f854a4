"""What of billing belongs to nobody in particular."""

from __future__ import annotations

# Signed by the payment provider.
PUBLIC = ("POST /v1/billing/stripe/webhook", "POST /webhooks/stripe")
