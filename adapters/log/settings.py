"""Settings of the log."""

from __future__ import annotations

from typing import Annotated

from domain.sections import Seconds, Section, says


class Seals(Section, frozen=True):
    """How the log is kept from being changed unnoticed."""

    seal_seconds: Annotated[
        Seconds, says("How long what was appended waits for its seal; until then a change of it goes unnoticed")
    ] = 5.0
