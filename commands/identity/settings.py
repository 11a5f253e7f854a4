"""Settings of signing in."""

from __future__ import annotations

from typing import Annotated

from domain.sections import Seconds, Section, says


class Identity(Section, frozen=True):
    """Who may come in, and for how long."""

    email_verification_required: Annotated[bool, says("Whether a key waits for its owner's address to be verified")] = (
        False
    )
    session_seconds_max: Annotated[Seconds, says("How long somebody stays signed in")] = 2_592_000.0
