"""Settings of the log, and of the secret that seals what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from domain.sections import Seconds, Secret, Section, says, variable

SECRET_KEY_LENGTH_MIN = 32


class Sealing(Section, frozen=True):
    """The one secret behind all others."""

    secret_key: Annotated[
        Secret,
        says(
            "At least 32 characters; seals stored secrets and hashes keys. `up` makes one in the data directory; "
            "without it no key and no sealed field can be read again",
            needed=True,
        ),
    ] = Secret("")

    def problems(self) -> Iterator[str]:
        """A key that is too short."""
        if self.secret_key and len(self.secret_key.reveal()) < SECRET_KEY_LENGTH_MIN:
            yield f"{variable('secret_key')} must have at least {SECRET_KEY_LENGTH_MIN} characters."


class Seals(Section, frozen=True):
    """How the log is kept from being changed unnoticed."""

    seal_seconds: Annotated[
        Seconds, says("How long what was appended waits for its seal; until then a change of it goes unnoticed")
    ] = 5.0
