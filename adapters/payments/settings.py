"""Settings of the payment provider."""

from __future__ import annotations

from typing import Annotated

from domain.sections import Secret, Section, Url, says


class Stripe(Section, frozen=True):
    """How it is paid for."""

    stripe_secret_key: Annotated[Secret, says("Secret API key of a Stripe account; empty turns paying off")] = Secret(
        ""
    )
    stripe_webhook_secrets: Annotated[
        Secret, says("Signing secrets of the Stripe webhook endpoints, with commas; any of them will do")
    ] = Secret("")
    stripe_api_url: Annotated[Url, says("Another address of the Stripe API, for tests", schemes=("http", "https"))] = (
        Url("")
    )
