"""What streams add up to, as of this moment, without reading them from the beginning each time.

A process keeps the last states it was asked for, each with the version it is at, and asks the log only for what is
newer: one look into an index for a stream that has not grown, together with whatever others ask at the same time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from psycopg.pq.abc import PGresult

from adapters.log import codec
from adapters.log.eventlog import EventLog, LedgerUnavailable
from adapters.log.recorder import TABLE
from adapters.postgres import arrays
from adapters.postgres.batch_loader import BatchLoader
from adapters.provides import provides
from domain.keeping import is_text
from domain.kernel import Category, State

S = TypeVar("S", bound=State)

#: A state of a licence with two machines takes some 2 kB, so all of them some 100 MB at most.
KEPT_MAX = 50_000

_NEWER = f"""
SELECT q.nth, e.originator_version, e.topic, e.schema_version, e.state
FROM unnest($1, $2) WITH ORDINALITY AS q(stream, version, nth)
JOIN {TABLE} e ON e.originator_id = q.stream AND e.originator_version > q.version
ORDER BY q.nth, e.originator_version
"""


class _Question(NamedTuple):
    stream: str
    version: int


class _Newer(NamedTuple):
    version: int
    name: str
    schema_version: int
    facts: bytes


class States:
    """States of things by their category and id. Personal fields stay sealed, as the log has them."""

    def __init__(self, ledger: EventLog, *, kept_max: int = KEPT_MAX) -> None:
        self._kept: OrderedDict[str, tuple[int, Any]] = OrderedDict()
        self._kept_max = kept_max
        self._newer: BatchLoader[_Question, list[_Newer]] = ledger.loader(
            _NEWER,
            [arrays.TextColumn.array_oid, arrays.Int8Column.array_oid],
            lambda questions: [
                arrays.TextColumn([arrays.text(each.stream) for each in questions]).data,
                arrays.Int8Column([arrays.int8(each.version) for each in questions]).data,
            ],
            _found,
            LedgerUnavailable,
            connections=1,
        )

    async def state(self, category: Category[S], identity: str) -> S:
        """What a thing's events add up to: the empty state where there are none."""
        if not is_text(identity):
            return category.initial
        stream = category.stream(identity)
        version, state = self._kept.get(stream, (0, category.initial))
        newer = await self._newer.ask(_Question(stream, version))
        if newer:
            events = (codec.decode(each.name, each.schema_version, each.facts) for each in newer)
            version, state = newer[-1].version, category.fold(events, state)
            if version > self._kept.get(stream, (0, None))[0]:
                self._kept[stream] = (version, state)
        if stream in self._kept:
            self._kept.move_to_end(stream)
            if len(self._kept) > self._kept_max:
                self._kept.popitem(last=False)
        found: S = state
        return found


def _found(result: PGresult, questions: Sequence[_Question]) -> list[list[_Newer]]:
    value = result.get_value
    found: list[list[_Newer]] = [[] for _ in questions]
    for row in range(result.ntuples):
        found[int.from_bytes(value(row, 0) or b"", "big") - 1].append(
            _Newer(
                int.from_bytes(value(row, 1) or b"", "big"),
                (value(row, 2) or b"").decode(),
                int.from_bytes(value(row, 3) or b"", "big"),
                value(row, 4) or b"",
            )
        )
    return found


@provides
def states(log: EventLog) -> States:
    """What streams add up to, kept in this process."""
    return States(log)
