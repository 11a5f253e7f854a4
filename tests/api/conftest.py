"""More processes over the data of the running stack: one with stricter settings, and one that takes little."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from domain.sections import Secret, Url
from tests.billing.little_stripe import little_stripe
from tests.builds.little_github import LittleGithub
from tests.journeys.kit import Process, Stack


@pytest.fixture(scope="session")
def strict(stack: Stack) -> Iterator[httpx.Client]:
    """One that limits mailboxes, demands verified addresses, and lets nobody stay."""
    with (
        stack.door(code_limit_per_hour=3, email_verification_required=True, session_seconds_max=1.5) as url,
        httpx.Client(base_url=url, timeout=30) as http,
    ):
        yield http


@pytest.fixture(scope="session")
def everything_on(stack: Stack) -> Iterator[Process]:
    """One more, with everything turned on."""
    with (
        little_stripe() as stripe,
        closing(LittleGithub()) as github,
        stack.doorway(
            **github.settings(),
            stripe_secret_key=Secret("sk_test_little"),
            stripe_webhook_secrets=Secret(stripe.secret),
            stripe_prices={"pro": "price_pro"},
            stripe_api_url=Url(stripe.url),
            browser_profile_keys=Secret(f"k1:{base64.b64encode(bytes(32)).decode()}"),
        ) as process,
    ):
        yield process


@pytest.fixture(scope="session")
def small(stack: Stack) -> Iterator[str]:
    """The URL of one that takes recordings of a thousand bytes."""
    with stack.door(upload_bytes_max=1000) as url:
        yield url
