"""Published events in their envelopes, from the log: one by its position, or those of a workspace in a range."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from adapters.log.eventlog import EventLog
from adapters.log.recorder import StoredRow
from adapters.provides import provides
from adapters.published import Envelopes
from commands.ports import Published, PublishedEvent
from domain.published import by_stored_name


class PublishedLog(Published):
    """Reads the log, and writes its events as they are told over every other way."""

    def __init__(self, log: EventLog, envelopes: Envelopes) -> None:
        self._log = log
        self._envelopes = envelopes

    async def at(self, position: int) -> PublishedEvent | None:
        """The one at a position; None where there is none that is published."""
        rows = await self._log.raw_page(position - 1, 1)
        return next((each for each in self._told(rows) if each.position == position), None)

    async def between(
        self, workspace_id: str, after: int, until: int, types: Sequence[str], limit: int
    ) -> Sequence[PublishedEvent]:
        """The first so many of these types in a workspace, after a position and up to another."""
        names = _stored_names(types)
        return list(
            self._told(await self._log.earlier(after, until, limit, streams=None, names=names, home=workspace_id))
        )

    async def count(self, workspace_id: str, after: int, until: int, types: Sequence[str], limit: int) -> int:
        """How many there are; `limit` where there are more."""
        return await self._log.count_earlier(after, until, limit, names=_stored_names(types), home=workspace_id)

    def _told(self, rows: Iterable[StoredRow]) -> Iterable[PublishedEvent]:
        for row in rows:
            published, body = by_stored_name().get(row[4]), self._envelopes.write(row)
            if published is not None and body is not None:
                yield PublishedEvent(position=row[0], event_id=str(row[3]), type=published.type, body=body.decode())


def _stored_names(types: Iterable[str]) -> list[str]:
    wanted = set(types)
    return [name for name, each in by_stored_name().items() if each.type in wanted]


@provides
def published_log(log: EventLog, envelopes: Envelopes) -> PublishedLog:
    """The published events of this service's log."""
    return PublishedLog(log, envelopes)
