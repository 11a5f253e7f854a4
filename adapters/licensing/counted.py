"""States of things that are counted when they are asked about: count and state in one query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from psycopg.pq.abc import PGresult

from adapters.log import states as kept
from adapters.log.eventlog import EventLog
from adapters.log.states import Kept, Newer, States, newer_in, newer_than
from adapters.postgres.batch_loader import BatchLoader
from adapters.provides import provides
from adapters.web import rate_limits
from adapters.web.rate_limits import (
    DRAWING,
    DRAWING_TYPES,
    SILENT_SECONDS_MAX,
    Draw,
    Drawn,
    LimitsUnavailable,
    drawn_in,
)
from domain.kernel import Category, State

S = TypeVar("S", bound=State)

_BOTH = f"""
{DRAWING}, newer AS ({newer_than("$6", "$7")})
SELECT key, ends_at, used, drawn, null AS nth, null AS version, null AS topic, null AS schema_version, null AS state
FROM drawn
UNION ALL
SELECT null, null, null, null, nth, originator_version, topic, schema_version, state FROM newer
ORDER BY nth, version
"""


class _Question(NamedTuple):
    draw: Draw
    kept: Kept


_Answer = tuple[Drawn, Sequence[Newer]]
Loader = BatchLoader[_Question, _Answer]


class Asking(Generic[S]):
    """Somebody asks about a thing: its limit is drawn from with `draw`, which brings what is newer of it as well."""

    def __init__(self, loader: Loader, states: States, category: Category[S], identity: str) -> None:
        self._loader = loader
        self._states = states
        self._category = category
        self._identity = identity
        self._kept = states.kept(category, identity)
        self._newer: Sequence[Newer] | None = None

    async def draw(self, draw: Draw) -> Drawn:
        """Draw, and look for what is newer."""
        drawn, self._newer = await self._loader.ask(_Question(draw, self._kept))
        return drawn

    async def state(self) -> S:
        """The state of the thing, as new as the draw, or as now where nothing had to be drawn."""
        if self._newer is None:
            return await self._states.state(self._category, self._identity)
        return self._states.brought_up(self._category, self._kept, self._newer)


class CountedStates:
    """What things add up to, for those who are counted when they ask."""

    def __init__(self, log: EventLog, states: States) -> None:
        self._states = states
        self._loader: Loader = log.loader(
            _BOTH,
            [*DRAWING_TYPES, *kept.NEWER_TYPES],
            _asked,
            _answers,
            LimitsUnavailable,
            connections=1,
            patience_seconds=SILENT_SECONDS_MAX,
        )

    def about(self, category: Category[S], identity: str) -> Asking[S]:
        """A question about a thing."""
        return Asking(self._loader, self._states, category, identity)


def _asked(asked: Sequence[_Question]) -> list[bytes]:
    return [*rate_limits.asked_of([each.draw for each in asked]), *kept.asked_of([each.kept for each in asked])]


def _answers(result: PGresult, asked: Sequence[_Question]) -> list[_Answer]:
    drawn: dict[str, Drawn] = {}
    newer: list[list[Newer]] = [[] for _ in asked]
    for row in range(result.ntuples):
        key = result.get_value(row, 0)
        if key is None:
            nth, found = newer_in(result, row, first=4)
            newer[nth].append(found)
        else:
            drawn[key.decode()] = drawn_in(result, row)
    return [(drawn[each.draw.key], found) for each, found in zip(asked, newer, strict=True)]


@provides
def counted_states(log: EventLog, states: States) -> CountedStates:
    """States of things whose askers are counted."""
    return CountedStates(log, states)
