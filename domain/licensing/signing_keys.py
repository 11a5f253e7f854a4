"""The keys that a project's answers and certificates are signed with; they follow from the server's secret."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from domain.kernel import Category, Conflict, Event, State


class SigningKeyRotated(Event):
    """Another key signs from now on; those before sign for who asks for them, until they end."""

    target: ClassVar[str] = "project"

    project_id: str
    workspace_id: str
    number: int
    rotated_at: datetime
    old_ends_at: datetime | None = None


class SigningKeys(State):
    """The keys of a project by their numbers, newest first, each with its end; every project begins with number 1."""

    keys: tuple[tuple[int, datetime | None], ...] = ((1, None),)

    @property
    def newest(self) -> int:
        """The number of the key that signs."""
        return self.keys[0][0]

    def older_end_by(self, moment: datetime | None) -> bool:
        """Whether all keys but the newest end then or before; None asks for no end."""
        return moment is None or all(end is not None and end <= moment for _, end in self.keys[1:])

    def valid(self, now: datetime) -> list[int]:
        """The numbers of the keys that sign now, newest first."""
        return [number for number, end in self.keys if end is None or now < end]


def evolve(keys: SigningKeys, event: Event) -> SigningKeys:
    """The keys after one more event."""
    match event:
        case SigningKeyRotated():
            last = event.old_ends_at
            old = tuple(
                (number, end if last is None else last if end is None else min(end, last)) for number, end in keys.keys
            )
            return SigningKeys(keys=((event.number, None), *old))
    return keys


class KeyWasRotated(Conflict):
    """Somebody rotated the signing key at the same moment. Look at the keys, and rotate again if you want to."""


signing_keys = Category(name="signingkeys", initial=SigningKeys(), evolve=evolve)
