"""The ledger in memory, for tests and for trying rules out: the same promises, gone when the process ends."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from msgspec.structs import replace

from adapters.log import codec
from commands.kernel import Log
from domain.keeping import check_text
from domain.kernel import Category, Event
from domain.ledger import AuthorityChanged, Change, Context, History, Recorded, StaleVersion, Unreadable
from domain.tracing import TRACE
from domain.vocabulary import name_of, named_alike


class _Unsealed:
    """Leaves texts as they are: what is kept here is never written."""

    def seal(self, subject: str, field: str, text: str) -> str:  # noqa: ARG002 - the codec's own signature
        return text

    def unseal(self, subject: str, field: str, sealed: str) -> str | None:  # noqa: ARG002
        return sealed


#: For whoever encodes what is kept in memory.
UNSEALED = _Unsealed()


class MemoryLedger(Log):
    """Keeps what `adapters.log.eventlog.EventLog` keeps, and passes the same contract."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        #: Every event that was ever written, in order of position.
        self.all: list[Recorded] = []
        self._streams: dict[str, list[Recorded]] = {}

    async def append(self, changes: Sequence[Change], context: Context) -> int:
        """Write all changes or none, and return the position of the last event (0: there was nothing to write).

        Raises StaleVersion when a stream has grown past what the change was decided on, AuthorityChanged when one has
        that the right to ask for it relies on.
        """
        for stream, position in context.authority.relies_on if context.authority is not None and changes else ():
            if (kept := self._streams.get(stream)) and kept[-1].position > position:
                raise AuthorityChanged
        versions: dict[str, int] = {}
        for change in changes:
            version = versions.get(change.stream, len(self._streams.get(change.stream, [])))
            if change.events and version != change.after:
                raise StaleVersion(change.stream)
            check_text(change.stream)
            for event in change.events:
                codec.encode(event, UNSEALED)
            versions[change.stream] = version + len(change.events)
        return max(
            (
                self.keep(each.stream, event, replace(context, workspace_id=each.workspace_id or context.workspace_id))
                for each in changes
                for event in each.events
            ),
            default=0,
        )

    def keep(self, stream: str, event: Event, context: Context) -> int:
        """Write an event at the end of its stream, whoever was there before; its position."""
        version = len(self._streams.get(stream, [])) + 1
        recorded = Recorded(
            position=len(self.all) + 1,
            stream=stream,
            version=version,
            event_id=uuid4(),
            name=name_of(type(event)),
            schema_version=event.schema_version,
            recorded_at=self._clock(),
            workspace_id=context.workspace_id,
            actor=context.actor,
            correlation_id=context.correlation_id,
            causation_id=context.causation_id,
            event=event,
            traceparent=TRACE.get(),
        )
        self.all.append(recorded)
        self._streams.setdefault(stream, []).append(recorded)
        return recorded.position

    async def read(self, stream: str) -> History:
        """All events of a stream, oldest first."""
        kept = self._streams.get(stream, [])
        return History(events=[each.event for each in kept], version=len(kept))

    async def last(self, stream: str) -> History:
        """The last event of a stream, if there is one, and its version."""
        kept = self._streams.get(stream, [])
        return History(events=[each.event for each in kept[-1:]], version=len(kept))

    async def stream(self, stream: str, *, after: int = 0) -> list[Recorded]:
        """The events of a stream with their envelopes, from the version after `after`."""
        return [each for each in self._streams.get(stream, []) if each.version > after]

    async def at(self, positions: Sequence[int]) -> dict[int, Recorded]:
        """The events at these positions."""
        return {position: self.all[position - 1] for position in positions if 0 < position <= len(self.all)}

    async def page(self, after: int, limit: int) -> list[Recorded | Unreadable]:
        """The next events in order of position, skipping none; an empty list when there are no more yet."""
        return list(self.all[after : after + limit])

    async def begun(
        self, category: Category[Any], workspace_ids: Collection[str], *, actor: str | None = None
    ) -> list[str]:
        """The ids of the things of a kind that were begun in workspaces (by `actor`), whatever became of them since."""
        begin = category.stream("")
        return [
            each.stream.removeprefix(begin)
            for each in self.all
            if each.version == 1
            and each.workspace_id in workspace_ids
            and each.stream.startswith(begin)
            and not each.stream.startswith(named_alike(category.name))
            and actor in (None, each.actor)
        ]

    async def head(self) -> int:
        """The position of the newest event (0: there is none)."""
        return len(self.all)
