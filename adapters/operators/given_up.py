"""Everything that was given up: jobs and streams, and what contexts declare that can be (`commands.parking`).

What becomes of theirs is asked for with their commands, like everything that is written into the log.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from adapters.log.recorder import TABLE
from adapters.operators import parked
from adapters.operators.parked import IS_MEANT, LIMIT_MAX, Filter, Parked, named, of_row
from commands.kernel import Command, Execute
from commands.parking import Parking, parkings
from domain.kernel import Invalid, Refusal, Unavailable, Value
from domain.ledger import Context
from projections.parking import GIVEN_UP

Connection = AsyncConnection[TupleRow]
Connections = Callable[[], AbstractAsyncContextManager[Connection]]
#: Asks for something in an operator's name, for a workspace; and what makes it, where there is something to ask for.
Ask = Callable[[Command, str], Awaitable[object]]
Asks = Callable[[], Awaitable[Ask]]

#: So many things are looked up at a time, and so many asked for together.
PAGE = 512
TOGETHER = 32


class NoSuchKind(Invalid):
    """Nothing of the kind {kind} is ever given up. Choose from {choices}."""


class Refused(Value):
    """Why so many things of a kind stay as they are."""

    kind: str
    code: str
    message: str
    number: int


class Done(Value):
    """How many of what was meant are done, by the plural of their kind, and what was refused."""

    numbers: Mapping[str, int]
    refused: tuple[Refused, ...]

    @property
    def plain(self) -> dict[str, Any]:
        """For machines: `{"jobs", "streams", ..., "refused": [{"kind", "code", "message", "number"}]}`."""
        refused = [{name: getattr(each, name) for name in each.__struct_fields__} for each in self.refused]
        return {**self.numbers, "refused": refused}


class _Thing(NamedTuple):
    """Something else than a job or a stream: its id, its workspace, and its place in the order of creation."""

    identity: str
    workspace_id: str
    created: int


# Of a read model those that are given up stand in an index of their own, oldest first. Where its version is looked up
# apart, Postgres reads them in that order, and no more of them than are wanted.
_THINGS = """
SELECT %(of_kind)s::text AS kind, b.body ->> 'name' AS name, b.body ->> 'about' AS about, b.body ->> 'stream' AS stream,
       d.position, d.workspace_id, (b.body ->> 'attempts')::integer AS attempts, b.body ->> 'problem' AS problem,
       NULL::text AS code_version, (b.body ->> 'since')::timestamptz AS parked_at, d.id, d.created
FROM documents d CROSS JOIN LATERAL (SELECT convert_from(d.body, 'UTF8')::jsonb AS body) AS b
WHERE d.projection = %(read_model)s AND d.parent = %(given_up)s
  AND d.version = (SELECT version FROM checkpoints WHERE name = %(read_model)s AND live)
  AND (
    %(owners)s::text IS NULL OR b.body ->> 'owner' IS NULL OR EXISTS (
        SELECT FROM documents o WHERE o.projection = %(owners)s AND o.id = b.body ->> 'owner'
        AND o.version = (SELECT version FROM checkpoints WHERE name = %(owners)s AND live)
    )
)
"""
_THINGS_MEANT = f"""
SELECT * FROM ({_THINGS}) AS a
WHERE {IS_MEANT} AND created > %(after)s AND created <= %(until)s ORDER BY created LIMIT %(limit)s
"""


def in_name_of_operators(execute: Execute, correlation_id: UUID) -> Ask:
    """What asks for something of workspaces, all of it under one correlation."""

    async def ask(wish: Command, workspace_id: str) -> int:
        return await execute(wish, Context(workspace_id=workspace_id, actor="operator", correlation_id=correlation_id))

    return ask


def kinds() -> tuple[str, ...]:
    """What is ever given up."""
    return ("job", "stream", *parkings())


def check_kind(kind: str | None, loc: tuple[str | int, ...] = ()) -> str | None:
    """The kind, if there is such a one; raises NoSuchKind."""
    if kind is not None and kind not in kinds():
        raise NoSuchKind(kind=kind[:64] if kind.isprintable() else "named", choices=", ".join(kinds()), loc=loc)
    return kind


async def look(connection: Connection, meant: Filter, limit: int = LIMIT_MAX) -> list[Parked]:
    """What was given up: jobs, then streams, then everything else, the oldest of a kind first."""
    found = await parked.parked(connection, meant, limit)
    for parking in _parkings(meant):
        rows = await _things(connection, parking, meant, limit=limit - len(found))
        found += [of_row(row) for row in rows]
    return found


async def retry(connections: Connections, meant: Filter, asks: Asks) -> Done:
    """Give what was given up another set of attempts, and have streams folded again from the event that failed."""
    async with connections() as connection:
        done = await parked.retry(connection, meant)
    return await _asked(connections, meant, asks, lambda parking: parking.retry, done)


async def skip(connections: Connections, meant: Filter, asks: Asks) -> Done:
    """Leave it out for good: a job is never done, an event never folded; what else was given up is let go of."""
    async with connections() as connection:
        done = await parked.skip(connection, meant)
    return await _asked(connections, meant, asks, lambda parking: parking.skip, done)


async def counted(connection: Connection, limit: int) -> dict[str, int]:
    """How many things there are of each kind that is no job or stream, by its plural, each counted up to a limit."""
    found = {}
    for parking in parkings().values():
        query = f"SELECT count(*) FROM (SELECT FROM ({_THINGS}) AS a LIMIT %(limit)s) AS n"
        cursor = await connection.execute(query.encode(), {**_read(parking), "limit": limit})
        [(found[parking.plural],)] = await cursor.fetchall()
    return found


async def _asked(
    connections: Connections,
    meant: Filter,
    asks: Asks,
    command: Callable[[Parking], type[Command]],
    done: parked.Done,
) -> Done:
    """Ask for each thing that is meant, after what was done to jobs and streams."""
    numbers = {"jobs": done.jobs, "streams": done.streams, **{each.plural: 0 for each in parkings().values()}}
    refused: Counter[tuple[str, str, str]] = Counter()
    ask: Ask | None = None
    for parking in _parkings(meant):
        async for things in _there_now(connections, parking, meant):
            ask = ask or await asks()
            outcomes = await asyncio.gather(*(_refusal(ask, command(parking), each) for each in things))
            numbers[parking.plural] += outcomes.count(None)
            refused.update((parking.kind, each.code, each.sentence) for each in outcomes if each is not None)
    return Done(
        numbers=numbers,
        refused=tuple(
            Refused(kind=kind, code=code, message=message, number=number)
            for (kind, code, message), number in sorted(refused.items())
        ),
    )


async def _there_now(connections: Connections, parking: Parking, meant: Filter) -> AsyncIterator[list[_Thing]]:
    """Some at a time, each once: what is given up again meanwhile, or for the first time, is not meant."""
    async with connections() as connection:
        cursor = await connection.execute(f"SELECT coalesce(max(notification_id), 0) FROM {TABLE}".encode())
        [(until,)] = await cursor.fetchall()
    after = 0
    while True:
        async with connections() as connection:
            rows = await _things(connection, parking, meant, after=after, until=until, limit=PAGE)
        things = [_Thing(identity=row[-2], workspace_id=row[5], created=row[-1]) for row in rows]
        for first in range(0, len(things), TOGETHER):
            yield things[first : first + TOGETHER]
        if len(things) < PAGE:
            return
        after = things[-1].created


async def _refusal(ask: Ask, command: type[Command], thing: _Thing) -> Refusal | None:
    """Why this cannot be; raises Unavailable, because then nothing else could be either."""
    [field] = command.__struct_fields__
    try:
        await ask(command(**{field: thing.identity}), thing.workspace_id)
    except Unavailable:
        raise
    except Refusal as refusal:
        return refusal
    return None


def _parkings(meant: Filter) -> list[Parking]:
    return [each for each in parkings().values() if meant.kind in (None, each.kind)]


async def _things(
    connection: Connection, parking: Parking, meant: Filter, *, after: int = 0, until: int = 2**62, limit: int
) -> list[TupleRow]:
    cursor = await connection.execute(
        _THINGS_MEANT.encode(),
        {**named(meant), **_read(parking), "after": after, "until": until, "limit": limit},
    )
    return await cursor.fetchall()


def _read(parking: Parking) -> dict[str, Any]:
    return {
        "of_kind": parking.kind,
        "read_model": parking.read_model,
        "owners": parking.owners,
        "given_up": GIVEN_UP,
    }
