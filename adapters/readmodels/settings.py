"""Settings of reading."""

from __future__ import annotations

from typing import Annotated

from domain.sections import Seconds, Section, says


class Reading(Section, frozen=True):
    """How read models are read."""

    read_wait_seconds_max: Annotated[Seconds, says("How long a read waits for the client's own last write")] = 2.0
