"""The ledger in memory with a clock that a test moves, and somebody who meddles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from adapters.log.memory import MemoryLedger
from commands.kernel import Command, execute
from domain.kernel import Event
from domain.ledger import Change, Context

BEGINNING = datetime(2026, 11, 1, 12, tzinfo=UTC)


class Ledger(MemoryLedger):
    """Whatever `meddle` wishes comes between the next reading and writing, once."""

    def __init__(self) -> None:
        super().__init__(lambda: self.now)
        self.now = BEGINNING
        self.meddle: Command | None = None

    async def append(self, changes: Sequence[Change], context: Context) -> int:
        """Write all or none, after what comes in between."""
        if self.meddle is not None:
            meddling, self.meddle = self.meddle, None
            await execute(meddling, self, self.now, context)
        return await super().append(changes, context)

    async def ask(self, *wishes: Command) -> int:
        """Decide commands one after the other; the position of the last event written."""
        position = 0
        for wish in wishes:
            position = await execute(wish, self, self.now, Context(correlation_id=uuid4()))
        return position

    def later(self, **span: float) -> None:
        """Let time pass."""
        self.now += timedelta(**span)

    def lengths(self) -> Counter[str]:
        """How many events each stream has."""
        return Counter({stream: len(kept) for stream, kept in self._streams.items()})

    def events(self, stream: str, *kinds: type[Event]) -> list[Event]:
        """What has happened in a stream, or only these kinds of it."""
        return [each.event for each in self._streams.get(stream, ()) if isinstance(each.event, kinds or Event)]
