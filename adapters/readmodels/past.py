"""Reads as they were at a position of the log: what is asked for is folded again, from its first event up to there.

Nothing of it is stored, so it costs what it looks at, and there is a limit to that. A document whose projection says
which stream makes it costs that stream; any other, and a list, costs the events of its workspace that make such.

What was forgotten stays forgotten: personal texts whose key is gone read as erased, and of a workspace that was
forgotten nothing is shown from before, whoever has it now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from datetime import datetime
from typing import Any, NamedTuple

from msgspec import Struct, json

from adapters.log.eventlog import EventLog
from adapters.log.recorder import TABLE
from adapters.places import Places
from domain.identity.workspaces import WorkspaceForgotten
from domain.kernel import Conflict, Event, Invalid, Unavailable
from domain.ledger import Recorded, Unreadable
from domain.vocabulary import names_of
from projections.kernel import Projection, Tally

#: Events that one answer may be folded from.
FOLDED_MAX = 20_000
#: Events of a workspace that may be looked through for them.
SCANNED_MAX = 200_000
#: Answers that one process folds at a time: each takes the processor from everybody else.
TOGETHER_MAX = 2
#: How long somebody waits for their turn.
TURN_SECONDS_MAX = 10.0
#: So many events are decoded before others have their turn.
PAGE_EVENTS = 500

Ask = Callable[[str, Any], Awaitable[list[tuple[Any, ...]]]]


class PositionIsAhead(Conflict):
    """There is no position {position} yet: the newest one is {head}. Go on from there, or from an earlier one."""


class TooMuchToFold(Invalid):
    """This would be folded from more events than {events_max}. Ask for one document, or for an earlier time."""


class PastUnreadable(Conflict):
    """The event at {position} cannot be read by this version, so nobody can say how this was."""


class PastIsBusy(Unavailable):
    """Too many look back at the moment, or your workspace does already. Try again shortly."""


class AsOf(NamedTuple):
    """Which past: up to a position, and of what came after the workspace was forgotten for the last time."""

    position: int
    begins: int


#: How far back the request at hand looks; None: not at all.
AS_OF: ContextVar[AsOf | None] = ContextVar("as_of", default=None)


class _Shown(NamedTuple):
    created: int
    workspace_id: str
    document: Any


class Past:
    """Folds read models again, up to where somebody looks back to."""

    def __init__(self, log: EventLog, ask: Ask) -> None:
        self._log = log
        self._ask = ask
        self._places = Places(TOGETHER_MAX)

    def _place(self, workspace_id: str) -> AbstractAsyncContextManager[None]:
        return self._places.place(workspace_id, TURN_SECONDS_MAX, PastIsBusy)

    async def position_at(self, moment: datetime) -> int:
        """The position of the newest event that was recorded by then (0: there was none).

        Positions are taken to grow with time. They do but for the moments that appends at the same time take, and for
        clocks that were set back.
        """
        low, high = 0, await self._log.head()
        newest = (
            f"SELECT notification_id, recorded_at FROM {TABLE} WHERE notification_id <= %s "
            "ORDER BY notification_id DESC LIMIT 1"
        )
        while low < high:
            middle = (low + high + 1) // 2
            rows = await self._ask(newest, (middle,))
            if not rows or rows[0][1] <= moment:
                low = middle
            else:
                high = rows[0][0] - 1
        return low

    async def of_workspace(self, workspace_id: str, position: int) -> AsOf:
        """A position as somebody of a workspace may look back to it; raises PositionIsAhead."""
        if position > (head := await self._log.head()):
            raise PositionIsAhead(position=position, head=head)
        rows = await self._ask(
            f"SELECT coalesce(max(notification_id), 0) FROM {TABLE} WHERE workspace_id = %s AND topic = ANY(%s)",
            (workspace_id, list(names_of(WorkspaceForgotten))),
        )
        return AsOf(position, rows[0][0])

    async def find(self, projection: Projection[Any], identity: str, workspace_id: str, as_of: AsOf) -> bytes | None:
        """The JSON of a document of this workspace; None when there was none."""
        if projection.stream is None:
            found = (await self._documents(projection, workspace_id, as_of)).get(identity)
        else:
            async with self._place(workspace_id):
                events = await self._read(as_of, streams=[f"{projection.stream}-{identity}"])
                found = _folded(projection, events).get(identity)
        return json.encode(found.document) if found is not None and found.workspace_id == workspace_id else None

    async def page(
        self,
        projection: Projection[Any],
        workspace_id: str,
        as_of: AsOf,
        *,
        before: int | None,
        parent: str | None,
    ) -> list[tuple[int, bytes]]:
        """Where each document of this workspace was made, and its JSON, newest first: those made before a place."""
        found = (await self._documents(projection, workspace_id, as_of)).values()
        return [
            (each.created, json.encode(each.document))
            for each in sorted(found, key=lambda one: one.created, reverse=True)
            if each.workspace_id == workspace_id
            and (before is None or each.created < before)
            and (parent is None or projection.parent(each.document) == parent)
        ]

    async def search(
        self,
        projection: Projection[Any],
        workspace_id: str,
        as_of: AsOf,
        *,
        all_of: Sequence[str],
        any_of: Sequence[str],
    ) -> list[tuple[int, bytes]]:
        """The same for documents with `facets`: all of some, and any of others (none: whichever)."""
        found = await self.page(projection, workspace_id, as_of, before=None, parent=None)
        return [each for each in found if _has(each[1], all_of, any_of)]

    async def sums(self, tally: Tally, keys: Sequence[str], workspace_id: str, as_of: AsOf) -> dict[str, int]:
        """The sums under these keys."""
        async with self._place(workspace_id):
            # Numbers go on over the forgetting of a workspace, as they do in the read model.
            events = await self._read(as_of._replace(begins=0), kinds=tally.counts, workspace_id=workspace_id)
            sums = dict.fromkeys(keys, 0)
            for each in events:
                for key, amount in tally.counted(each.event):
                    if key in sums:
                        sums[key] += amount
            return sums

    async def _documents(self, projection: Projection[Any], workspace_id: str, as_of: AsOf) -> dict[str, _Shown]:
        async with self._place(workspace_id):
            events = await self._read(as_of, kinds=projection.on, workspace_id=workspace_id)
            if projection.stream is not None and events:
                # What happened to them in the name of others belongs to them as well.
                concerned = {identity for each in events if (identity := projection.concerns(each.event)) is not None}
                events = await self._read(as_of, streams=[f"{projection.stream}-{each}" for each in concerned])
            return _folded(projection, events)

    async def _read(
        self,
        as_of: AsOf,
        *,
        streams: Sequence[str] | None = None,
        kinds: Iterable[type[Event]] = (),
        workspace_id: str = "",
    ) -> list[Recorded]:
        """Events up to there, of streams, or of some kinds in a workspace."""
        if streams is None:
            scanned = await self._ask(
                f"SELECT FROM {TABLE} WHERE workspace_id = %s AND notification_id > %s AND notification_id <= %s "
                "ORDER BY notification_id OFFSET %s LIMIT 1",
                (workspace_id, as_of.begins, as_of.position, SCANNED_MAX),
            )
            if scanned:
                raise TooMuchToFold(events_max=SCANNED_MAX)
        names = [name for kind in kinds for name in names_of(kind)]
        rows = await self._log.earlier(
            as_of.begins, as_of.position, FOLDED_MAX + 1, streams=streams, names=names, home=workspace_id
        )
        if len(rows) > FOLDED_MAX:
            raise TooMuchToFold(events_max=FOLDED_MAX)
        found: list[Recorded] = []
        for start in range(0, len(rows), PAGE_EVENTS):
            for each in await self._log.open(rows[start : start + PAGE_EVENTS]):
                if isinstance(each, Unreadable):
                    raise PastUnreadable(position=each.position)
                found.append(each)
            await asyncio.sleep(0)
        return found


def _has(body: bytes, all_of: Sequence[str], any_of: Sequence[str]) -> bool:
    facets = set(json.decode(body, type=_Faceted).facets)
    return facets.issuperset(all_of) and (not any_of or not facets.isdisjoint(any_of))


class _Faceted(Struct):
    facets: list[str] = []


def _folded(projection: Projection[Any], events: Iterable[Recorded]) -> dict[str, _Shown]:
    """The documents that these events make, each owned by whose event made it."""
    found: dict[str, _Shown] = {}
    for each in events:
        if (identity := projection.concerns(each.event)) is None:
            continue
        before = found.get(identity)
        try:
            document = projection.evolve(None if before is None else before.document, each.event)
        except Exception as problem:
            raise PastUnreadable(position=each.position) from problem
        if document is None:
            found.pop(identity, None)
        elif before is None:
            found[identity] = _Shown(each.position, each.workspace_id, document)
        else:
            found[identity] = before._replace(document=document)
    return found
