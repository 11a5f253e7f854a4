"""How everything is that runs, in one look: roles, read models, queues, what carries and seals the log, and room.

Nothing here reads through a table: what is counted is counted up to `COUNTED_MAX`, and how many events there are is
what Postgres reckons. So it takes as long on a log of a million events as on one of a thousand.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import nats
from msgspec import json
from nats.js.errors import NotFoundError
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from adapters.log.recorder import TABLE
from adapters.operators.given_up import counted
from adapters.operators.heartbeat import SILENT_SECONDS_MAX
from adapters.readmodels.condition import BEHIND_SECONDS_MAX, Waiting, waiting
from adapters.readmodels.condition import SILENT_SECONDS_MAX as PROJECTOR_SILENT_SECONDS_MAX
from adapters.readmodels.writers import JobWriter
from adapters.storage.blobs import Blobs
from adapters.stream.bus import POSITION, Bus
from adapters.subscribing.publishing import stream_name
from commands.kernel import REACTIONS
from domain.kernel import Value

Connection = AsyncConnection[TupleRow]

#: More of one kind are not counted.
COUNTED_MAX = 10_000
#: Nor of what contexts have given up, each of which has to be looked into.
GIVEN_UP_COUNTED_MAX = 1_000
#: A seal comes after seconds; later than this nobody seals.
UNSEALED_SECONDS_MAX = 60.0
#: Less room than this on a disk is something to look after.
ROOM_SHARE_MIN = 0.05
#: How fast followers move is told since a reading of so long ago at most: a page of events more or less says little.
READINGS_KEPT_SECONDS = 15.0
ANSWER_SECONDS_MAX = 1.0


class Role(Value):
    """A process: `running`, `silent` (it should have shown itself), `stopped` or `failed`, and why."""

    role: str
    state: Literal["running", "silent", "stopped", "failed"]
    is_ready: bool
    host: str
    pid: int
    version: str
    started_at: datetime
    seen_seconds: float
    memory_bytes: int | None
    problem: str | None


Kind = Literal["read model", "jobs", "rebuild", "relay", "sealer"]


class Follower(Value):
    """What follows the log: its position, and how far it is behind in events (holes count) and seconds.

    `kind` is `read model`, `jobs` (the list of what reactions have to do), `rebuild` (of a read model, beside the live
    one), `relay` (`published` is the one that subscribers at NATS are told by, where there are any) or `sealer`.
    """

    name: str
    kind: Kind
    position: int
    behind_events: int
    behind_seconds: float
    #: When it was last seen at work or moved; null where nobody says.
    seen_seconds: float | None
    #: Positions it has gone in a second of late, while somebody keeps time (`tick`); null before, or if it went back.
    positions_per_second: float | None = None


class QueueStatus(Value):
    """Jobs by their state, each counted up to `COUNTED_MAX`, and how long the oldest ready one has waited."""

    queue: str
    ready: int
    running: int
    waiting: int
    parked: int
    oldest_seconds: float


class Store(Value):
    """A server that keeps something: `ok`, `away`, and what it holds as far as it says."""

    name: str
    state: str
    size_bytes: int | None = None
    version: str | None = None


class Disk(Value):
    """The disk of the data directory, where this machine has one."""

    path: str
    free_bytes: int
    total_bytes: int

    @property
    def is_short(self) -> bool:
        """Whether there is hardly room."""
        return self.free_bytes < self.total_bytes * ROOM_SHARE_MIN


class Status(Value):
    """Everything in one look; `problems` are sentences about what somebody should look after.

    `given_up` is how many things of contexts were, by their kinds, such as `deliveries`: whether a customer's server
    answers is for the customer to look after, so that it is no problem here. `waiting` are the workspaces with work
    that is due or under way, those with the most of it.
    """

    head: int
    events_estimate: int
    events_per_second: float | None
    roles: tuple[Role, ...]
    followers: tuple[Follower, ...]
    queues: tuple[QueueStatus, ...]
    waiting: tuple[Waiting, ...]
    parked_streams: int
    given_up: Mapping[str, int]
    stores: tuple[Store, ...]
    disk: Disk | None
    problems: tuple[str, ...]

    @property
    def is_well(self) -> bool:
        """Whether there is nothing to look after."""
        return not self.problems


async def status(connection: Connection, bus: Bus, blobs: Blobs, data_dir: Path | None = None) -> Status:
    """Look at everything once. Raises psycopg's errors where Postgres is away, since there is nothing to say then."""
    (carried, stream), objects = await asyncio.gather(_stream(bus), _objects(blobs))
    cursor = await connection.execute(
        f"SELECT coalesce((SELECT max(notification_id) FROM {TABLE}), 0), "
        f"(SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = '{TABLE}'::regclass), "
        "pg_database_size(current_database()), current_setting('server_version')"
    )
    [(head, estimate, size, server_version)] = await cursor.fetchall()
    followers, rate = await _followers(connection, head, carried, stream_name(bus))
    roles, queues = await _roles(connection), await _queues(connection)
    who = await waiting(connection)
    cursor = await connection.execute("SELECT count(*) FROM (SELECT FROM parked LIMIT %s) AS p", (COUNTED_MAX,))
    [(parked,)] = await cursor.fetchall()
    stores = (Store(name="postgres", state="ok", size_bytes=size, version=server_version), stream, objects)
    disk = _disk(data_dir)
    return Status(
        head=head,
        events_estimate=estimate,
        events_per_second=rate,
        roles=roles,
        followers=followers,
        queues=queues,
        waiting=tuple(who),
        parked_streams=parked,
        given_up=await counted(connection, GIVEN_UP_COUNTED_MAX),
        stores=stores,
        disk=disk,
        problems=tuple(_problems(roles, followers, queues, parked, stores, disk)),
    )


async def _roles(connection: Connection) -> tuple[Role, ...]:
    """Each running process; of those that have ended, the newest of its kind unless another one is at work."""
    cursor = await connection.execute(
        "SELECT role, state, is_ready, host, pid, version, started_at, "
        "greatest(extract(epoch FROM clock_timestamp() - seen_at), 0)::float8, memory_bytes, problem "
        "FROM roles ORDER BY role, seen_at DESC"
    )
    found: list[Role] = []
    at_work: set[str] = set()
    for role, state, is_ready, host, pid, version, started_at, seen, memory, problem in await cursor.fetchall():
        is_silent = state == "running" and seen > SILENT_SECONDS_MAX
        if state == "running" and not is_silent:
            at_work.add(role)
        elif role in at_work or any(each.role == role for each in found):
            continue
        found.append(
            Role(
                role=role,
                state="silent" if is_silent else state,
                is_ready=is_ready and not is_silent,
                host=host,
                pid=pid,
                version=version,
                started_at=started_at,
                seen_seconds=round(seen, 1),
                memory_bytes=memory,
                problem=problem,
            )
        )
    return tuple(found)


async def _followers(
    connection: Connection, head: int, carried: int, published: str
) -> tuple[tuple[Follower, ...], float | None]:
    cursor = await connection.execute(
        "SELECT name, version, live, position, extract(epoch FROM clock_timestamp() - "
        "greatest(moved_at, CASE WHEN live THEN (SELECT max(seen_at) FROM checkpoints WHERE live) END))::float8 "
        "FROM checkpoints ORDER BY live DESC, position, name"
    )
    rows: list[tuple[str, Kind, int, float | None]] = [
        (name if live else f"{name} v{version}", _kind(name, live), position, max(seen, 0.0))
        for name, version, live, position, seen in await cursor.fetchall()
    ]
    cursor = await connection.execute("SELECT last, statement FROM log_seals ORDER BY number DESC LIMIT 30")
    seals = [(last, _sealed_at(text)) for last, text in await cursor.fetchall()]
    cursor = await connection.execute("SELECT clock_timestamp()")
    [(now,)] = await cursor.fetchall()
    sealed, sealed_at = seals[0] if seals else (0, None)
    rows.append(("relay", "relay", carried, None))
    cursor = await connection.execute(
        "SELECT coalesce(p.position, 0), extract(epoch FROM clock_timestamp() - p.seen_at)::float8 FROM ("
        "    SELECT FROM documents d JOIN checkpoints f ON d.projection = f.name AND d.version = f.version "
        "    WHERE f.name = 'nats_consumers' AND f.live LIMIT 1"
        ") AS wanted LEFT JOIN published_streams p ON p.stream = %s",
        (published,),
    )
    rows += [("published", "relay", position, seen) for position, seen in await cursor.fetchall()]
    rows.append(("sealer", "sealer", sealed, None if sealed_at is None else (now - sealed_at).total_seconds()))
    ages = await _ages(connection, {position for _, _, position, _ in rows})
    before, seconds = await _reading(connection)
    followers = tuple(
        Follower(
            name=name,
            kind=kind,
            position=position,
            behind_events=max(head - position, 0),
            behind_seconds=round(ages.get(position, 0.0), 1),
            seen_seconds=None if seen is None else round(seen, 1),
            positions_per_second=_gone(before.get(name), position, seconds),
        )
        for name, kind, position, seen in rows
    )
    return followers, _rate(seals, head, now)


def _kind(name: str, is_live: bool) -> Kind:
    """What a checkpoint is of; jobs are written once and never folded again, and so are no read model."""
    if not is_live:
        return "rebuild"
    return "jobs" if name == JobWriter.name else "read model"


async def note_reading(connection: Connection, seen: Status) -> None:
    """Remember where every follower is, for whoever looks within the next seconds."""
    positions = {each.name: each.position for each in seen.followers}
    await connection.execute(
        "WITH gone AS (DELETE FROM follower_readings WHERE read_at < clock_timestamp() - make_interval(secs => %s)) "
        "INSERT INTO follower_readings (positions) VALUES (%s) ON CONFLICT DO NOTHING",
        (READINGS_KEPT_SECONDS, json.encode(positions).decode()),
    )


async def _reading(connection: Connection) -> tuple[dict[str, int], float]:
    """Where each follower was, and how many seconds ago that is; the oldest that still says how it is of late."""
    cursor = await connection.execute(
        "SELECT positions, extract(epoch FROM clock_timestamp() - read_at)::float8 FROM follower_readings "
        "WHERE read_at >= clock_timestamp() - make_interval(secs => %s) ORDER BY read_at LIMIT 1",
        (READINGS_KEPT_SECONDS,),
    )
    found = await cursor.fetchone()
    return found if found is not None else ({}, 0.0)


def _gone(before: int | None, position: int, seconds: float) -> float | None:
    return None if before is None or position < before or seconds <= 0 else round((position - before) / seconds, 1)


def _sealed_at(statement: str) -> datetime | None:
    from adapters.log.seals import read_statement

    with suppress(ValueError):
        return read_statement(statement).sealed_at
    return None


def _rate(seals: list[tuple[int, datetime | None]], head: int, now: datetime) -> float | None:
    """Events in a second since the oldest of the last seals; null where there is none."""
    if not seals or seals[-1][1] is None:
        return None
    seconds = (now - seals[-1][1]).total_seconds()
    return round(max(head - seals[-1][0], 0) / seconds, 2) if seconds > 0 else None


async def _ages(connection: Connection, positions: set[int]) -> dict[int, float]:
    """How old the first event after each position is."""
    cursor = await connection.execute(
        "SELECT p.position, extract(epoch FROM clock_timestamp() - e.recorded_at)::float8 "
        "FROM unnest(%s::bigint[]) AS p(position), LATERAL ("
        f"    SELECT recorded_at FROM {TABLE} WHERE notification_id > p.position ORDER BY notification_id LIMIT 1"
        ") AS e",
        (sorted(positions),),
    )
    return {position: max(age, 0.0) for position, age in await cursor.fetchall()}


async def _queues(connection: Connection) -> tuple[QueueStatus, ...]:
    cursor = await connection.execute(
        "SELECT r.reaction, s.state, c.n, c.oldest FROM unnest(%s::text[]) AS r(reaction), "
        "unnest(ARRAY['ready', 'running', 'waiting', 'parked']) AS s(state), LATERAL ("
        "    SELECT count(*) AS n, extract(epoch FROM clock_timestamp() - min(j.due_at))::float8 AS oldest FROM ("
        "        SELECT due_at FROM jobs WHERE reaction = r.reaction AND state = s.state LIMIT %s"
        "    ) AS j"
        ") AS c WHERE c.n > 0",
        (list(REACTIONS), COUNTED_MAX),
    )
    counted: dict[str, dict[str, int]] = {each.queue.name: {} for each in REACTIONS.values()}
    oldest: dict[str, float] = {}
    for reaction, state, number, seconds in await cursor.fetchall():
        queue = REACTIONS[reaction].queue.name
        counted[queue][state] = counted[queue].get(state, 0) + number
        if state == "ready":
            oldest[queue] = max(oldest.get(queue, 0.0), seconds)
    return tuple(
        QueueStatus(queue=name, oldest_seconds=round(oldest.get(name, 0.0), 1), **_of_all_states(states))
        for name, states in sorted(counted.items())
    )


def _of_all_states(states: Mapping[str, int]) -> dict[str, Any]:
    return {state: states.get(state, 0) for state in ("ready", "running", "waiting", "parked")}


async def _stream(bus: Bus) -> tuple[int, Store]:
    """The newest position in the stream, and the stream as a store."""
    away = Store(name="nats", state="away")
    if not bus.is_connected:
        return 0, away
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            info = await bus.client.jetstream().stream_info(bus.stream)
            state = Store(name="nats", state="ok", size_bytes=info.state.bytes, version=_version(bus))
            if not info.state.messages:
                return 0, state
            last = await bus.client.jetstream().get_last_msg(bus.stream, bus.events)
    except NotFoundError:
        return 0, Store(name="nats", state="ok", size_bytes=0, version=_version(bus))
    except (nats.errors.Error, TimeoutError, OSError):
        return 0, away
    return int((last.headers or {}).get(POSITION, "0")), state


def _version(bus: Bus) -> str | None:
    told = bus.client.connected_server_version
    return None if told is None else f"{told.major}.{told.minor}.{told.patch}"


async def _objects(blobs: Blobs) -> Store:
    try:
        is_there = await blobs.answers(ANSWER_SECONDS_MAX)
    except Exception:  # noqa: BLE001 - it is away, whatever the reason
        is_there = False
    return Store(name="objects", state="ok" if is_there else "away")


def _disk(data_dir: Path | None) -> Disk | None:
    if data_dir is None or not data_dir.is_dir():
        return None
    room = shutil.disk_usage(data_dir)
    return Disk(path=str(data_dir), free_bytes=room.free, total_bytes=room.total)


def _problems(
    roles: Iterable[Role],
    followers: Sequence[Follower],
    queues: Iterable[QueueStatus],
    parked: int,
    stores: Iterable[Store],
    disk: Disk | None,
) -> Iterator[str]:
    yield from filter(None, map(_of_role, roles))
    yield from filter(None, map(_of_follower, followers))
    written = [each for each in followers if each.kind in {"read model", "jobs"}]
    seen = [each.seen_seconds for each in written if each.seen_seconds is not None]
    if not seen or min(seen) > PROJECTOR_SILENT_SECONDS_MAX:
        yield "No projector is at work."
    yield from (
        f"{each.parked} jobs of {each.queue} are parked (`ledgerline parked`)." for each in queues if each.parked
    )
    if parked:
        yield f"{parked} streams are parked in read models (`ledgerline parked`)."
    yield from (f"{store.name} is away." for store in stores if store.state != "ok")
    if disk is not None and disk.is_short:
        yield f"{disk.free_bytes / 1e9:.1f} GB are free on the disk of {disk.path}."


def _of_role(role: Role) -> str | None:
    process = f"{role.role} (process {role.pid} on {role.host})"
    match role.state:
        case "silent":
            return f"{process} has not shown itself for {role.seen_seconds:.0f} s."
        case "failed":
            return f"{role.role} has failed: {role.problem}"
        case "stopped":
            return f"{role.role} was stopped, and none is at work."
    return None if role.is_ready else f"{process} is not ready."


def _of_follower(follower: Follower) -> str | None:
    most = UNSEALED_SECONDS_MAX if follower.kind == "sealer" else BEHIND_SECONDS_MAX
    if follower.kind == "rebuild" or not follower.behind_events or follower.behind_seconds <= most:
        return None
    behind = f"{follower.behind_events} positions and {follower.behind_seconds:.0f} s"
    called = follower.kind if follower.kind == follower.name else f"{follower.kind} {follower.name}"
    called = "list of jobs" if follower.kind == "jobs" else called
    return f"The {called} is {behind} behind."


encode_status = json.Encoder().encode
