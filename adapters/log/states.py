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


def newer_than(streams: str, versions: str) -> str:
    """The query for what is newer in each of some streams than a version, given the names of its two parameters."""
    return f"""
    SELECT q.nth, e.originator_version, e.topic, e.schema_version, e.state
    FROM unnest({streams}, {versions}) WITH ORDINALITY AS q(stream, version, nth) CROSS JOIN LATERAL (
        SELECT originator_version, topic, schema_version, state FROM {TABLE}
        WHERE originator_id = q.stream AND originator_version > q.version OFFSET 0
    ) AS e
    ORDER BY q.nth, e.originator_version
    """


#: The types of its parameters.
NEWER_TYPES = (arrays.TextColumn.array_oid, arrays.Int8Column.array_oid)


class Kept(NamedTuple):
    """What is known of a stream: its state up to a version."""

    stream: str
    version: int
    state: Any


class Newer(NamedTuple):
    """An event that is not in a known state yet."""

    version: int
    name: str
    schema_version: int
    facts: bytes


class States:
    """States of things by their category and id. Personal fields stay sealed, as the log has them."""

    def __init__(self, ledger: EventLog, *, kept_max: int = KEPT_MAX) -> None:
        self._kept: OrderedDict[str, tuple[int, Any]] = OrderedDict()
        self._kept_max = kept_max
        self._newer: BatchLoader[Kept, list[Newer]] = ledger.loader(
            newer_than("$1", "$2"), NEWER_TYPES, asked_of, _found, LedgerUnavailable, connections=1
        )

    async def state(self, category: Category[S], identity: str) -> S:
        """What a thing's events add up to: the empty state where there are none."""
        if not is_text(identity):
            return category.initial
        kept = self.kept(category, identity)
        return self.brought_up(category, kept, await self._newer.ask(kept))

    def kept(self, category: Category[S], identity: str) -> Kept:
        """What this process knows of a thing."""
        stream = category.stream(identity)
        return Kept(stream, *self._kept.get(stream, (0, category.initial)))

    def brought_up(self, category: Category[S], kept: Kept, newer: Sequence[Newer]) -> S:
        """The state of a thing with what is newer; kept from now on."""
        stream, version, state = kept
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


def asked_of(asked: Sequence[Kept]) -> list[bytes]:
    """The parameters of `newer_than`."""
    return [
        arrays.TextColumn([arrays.text(each.stream) for each in asked]).data,
        arrays.Int8Column([arrays.int8(each.version) for each in asked]).data,
    ]


def newer_in(result: PGresult, row: int, first: int = 0) -> tuple[int, Newer]:
    """Which stream a row is about, and what it says, in columns that begin with the `first`."""
    value = result.get_value
    return int.from_bytes(value(row, first) or b"", "big") - 1, Newer(
        int.from_bytes(value(row, first + 1) or b"", "big"),
        (value(row, first + 2) or b"").decode(),
        int.from_bytes(value(row, first + 3) or b"", "big"),
        value(row, first + 4) or b"",
    )


def _found(result: PGresult, asked: Sequence[Kept]) -> list[list[Newer]]:
    found: list[list[Newer]] = [[] for _ in asked]
    for row in range(result.ntuples):
        nth, newer = newer_in(result, row)
        found[nth].append(newer)
    return found


@provides
def states(log: EventLog) -> States:
    """What streams add up to, kept in this process."""
    return States(log)
