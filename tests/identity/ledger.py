"""A ledger in memory that keeps the promises rules rely on: all or nothing, and nothing on top of what was not seen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from commands.kernel import Command, execute
from domain.kernel import Event
from domain.ledger import Change, Context, History, StaleVersion

BEGINNING = datetime(2026, 11, 1, 12, tzinfo=UTC)


class Ledger:
    """Streams, and a clock that a test moves."""

    def __init__(self) -> None:
        self.streams: dict[str, list[Event]] = {}
        self.now = BEGINNING
        self.meddle: Command | None = None

    async def read(self, stream: str) -> History:
        """All events of a stream."""
        events = list(self.streams.get(stream, []))
        return History(events=events, version=len(events))

    async def last(self, stream: str) -> History:
        """The last event of a stream."""
        history = await self.read(stream)
        return History(events=history.events[-1:], version=history.version)

    async def append(self, changes: Sequence[Change], context: Context) -> int:
        """Write all or none; whatever `meddle` wishes comes in between, once."""
        if self.meddle is not None:
            meddling, self.meddle = self.meddle, None
            await execute(meddling, self, self.now, context)
        for change in changes:
            if len(self.streams.get(change.stream, [])) != change.after:
                raise StaleVersion(change.stream)
        for change in changes:
            self.streams.setdefault(change.stream, []).extend(change.events)
        return sum(map(len, self.streams.values()))

    async def ask(self, *wishes: Command) -> int:
        """Decide commands one after the other; the position of the last event written."""
        position = 0
        for wish in wishes:
            position = await execute(wish, self, self.now, Context(correlation_id=uuid4()))
        return position

    def later(self, **span: float) -> None:
        """Let time pass."""
        self.now += timedelta(**span)

    def events(self, stream: str, *kinds: type[Event]) -> list[Event]:
        """What has happened in a stream, or only these kinds of it."""
        return [each for each in self.streams.get(stream, []) if not kinds or isinstance(each, kinds)]
