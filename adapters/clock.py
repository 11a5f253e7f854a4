"""The time, and chance."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from adapters.provides import provides
from commands.kernel import Chance, Now


@provides
def now() -> Now:
    """The clock of this machine."""
    return lambda: datetime.now(UTC)


@provides
def chance() -> Chance:
    """Draws that protect nothing."""
    return random.random
