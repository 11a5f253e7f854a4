"""More doors to the running stack: another process with the same settings, and one with stricter ones."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.journeys.kit import Stack


@pytest.fixture(scope="session")
def elsewhere(stack: Stack) -> Iterator[str]:
    """The URL of a second API process over the same data."""
    with stack.door() as url:
        yield url


@pytest.fixture(scope="session")
def strict(stack: Stack) -> Iterator[httpx.Client]:
    """A third one that limits mailboxes, demands verified addresses, and lets nobody stay."""
    with (
        stack.door(code_limit_per_hour=3, email_verification_required=True, session_seconds_max=1.5) as url,
        httpx.Client(base_url=url, timeout=30) as http,
    ):
        yield http
