"""Settings of background work."""

from __future__ import annotations

from typing import Annotated

from domain.sections import Seconds, Section, says


class Jobs(Section, frozen=True):
    """How work is shared out among processes."""

    lease_seconds: Annotated[Seconds, says("How long a role may be silent before another process takes over")] = 10.0
