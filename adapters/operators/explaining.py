"""One request from its first event to whatever followed: the chain of causes and effects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from msgspec import to_builtins

from adapters.log import codec
from adapters.log.recorder import TABLE
from adapters.operators.log import Connection, Line, Search, oldest
from commands.kernel import REACTIONS
from domain.kernel import Event, NotFound, Value
from domain.vocabulary import categories
from projections.kernel import PROJECTIONS

EVENTS_MAX = 10_000
TRACE_ID_LENGTH = 32


class NothingToExplain(NotFound):
    """No event, request, correlation, stream or thing goes by {name}."""

    name: str


class Origin(Value):
    """Where a request came from, while that is still kept."""

    request_id: str | None
    ip: str | None
    user_agent: str | None


class Job(Value):
    """What follows from an event by a reaction: where it stands, and why.

    `waiting` is for its time, and `ahead` means that nobody has looked yet at what follows from the event.
    """

    reaction: str
    state: Literal["waiting", "ready", "running", "parked", "done", "ahead"]
    attempts: int = 0
    due_at: datetime | None = None
    problem: str | None = None


class Effect(Value):
    """An event, the jobs and read models that concern it, and the events that it caused."""

    line: Line
    jobs: tuple[Job, ...]
    #: Read models that show it, and those that do not yet (`behind`) or cannot (`parked`).
    folded: tuple[str, ...]
    behind: tuple[str, ...]
    parked: tuple[str, ...]
    effects: tuple[Effect, ...]


class Explanation(Value):
    """All events of one correlation as trees, the oldest first."""

    correlation_id: UUID
    origin: Origin | None
    roots: tuple[Effect, ...]


def plain(found: Explanation) -> dict[str, Any]:
    """An explanation as JSON has it."""

    def effect(each: Effect) -> dict[str, Any]:
        return {
            **each.line.plain,
            "jobs": to_builtins(each.jobs),
            "read_models": {"folded": each.folded, "behind": each.behind, "parked": each.parked},
            "effects": [effect(further) for further in each.effects],
        }

    return {
        "correlation_id": str(found.correlation_id),
        "origin": to_builtins(found.origin),
        "events": [effect(each) for each in found.roots],
    }


async def explain(connection: Connection, name: str) -> Explanation:
    """What a position, an event, correlation, trace or request id, or the last event of a stream belongs to.

    A stream goes by its name, or by the id of the thing whose history it is: an analysis, a build, a beat.

    Raises NothingToExplain. There is no index by correlation, so the log is read through for its events.
    """
    correlation_id = await _correlation(connection, name)
    lines = await oldest(connection, Search(correlation_id=correlation_id), EVENTS_MAX)
    positions = [line.position for line in lines]
    cursor = await connection.execute(
        "SELECT position, reaction, state, attempts, due_at, problem FROM jobs WHERE position = ANY(%s)", (positions,)
    )
    jobs: dict[int, dict[str, Sequence[Any]]] = defaultdict(dict)
    for position, reaction, *rest in await cursor.fetchall():
        jobs[position][reaction] = rest
    cursor = await connection.execute("SELECT name, position FROM checkpoints WHERE live")
    checkpoints: dict[str, int] = dict(await cursor.fetchall())
    streams = list({line.stream for line in lines})
    cursor = await connection.execute(
        "SELECT subscription, stream, position FROM parked WHERE stream = ANY(%s)", (streams,)
    )
    parked = {(subscription, stream): position for subscription, stream, position in await cursor.fetchall()}
    return Explanation(
        correlation_id=correlation_id,
        origin=await _origin(connection, correlation_id),
        roots=_trees(lines, _Standing(jobs, checkpoints, parked)),
    )


async def _correlation(connection: Connection, name: str) -> UUID:
    """The correlation that a name leads to."""
    tries: list[tuple[str, Any]] = []
    if name.isdecimal() and len(name) <= 18:
        tries.append((f"SELECT correlation_id FROM {TABLE} WHERE notification_id = %s", int(name)))
    with suppress(ValueError):
        identity = UUID(name)
        tries += [
            (f"SELECT correlation_id FROM {TABLE} WHERE event_id = %s LIMIT 1", identity),
            (f"SELECT correlation_id FROM {TABLE} WHERE correlation_id = %s LIMIT 1", identity),
        ]
    if len(name) == TRACE_ID_LENGTH:
        traced = f"SELECT correlation_id FROM {TABLE} WHERE substring(traceparent FROM 4 FOR 32) = %s LIMIT 1"
        tries.append((traced, name))
    newest = f"SELECT correlation_id FROM {TABLE} WHERE originator_id = ANY(%s) ORDER BY notification_id DESC LIMIT 1"
    tries += [
        ("SELECT correlation_id FROM request_origins WHERE request_id = %s ORDER BY seen_at DESC LIMIT 1", name),
        (newest, [name]),
        (newest, [kind.stream(name) for kind in categories().values()]),
    ]
    for statement, value in tries:
        cursor = await connection.execute(statement.encode(), (value,))
        if row := await cursor.fetchone():
            found: UUID = row[0]
            return found
    raise NothingToExplain(name=name)


async def _origin(connection: Connection, correlation_id: UUID) -> Origin | None:
    cursor = await connection.execute(
        "SELECT request_id, ip, user_agent FROM request_origins WHERE correlation_id = %s LIMIT 1", (correlation_id,)
    )
    row = await cursor.fetchone()
    return Origin(request_id=row[0] or None, ip=row[1], user_agent=row[2]) if row else None


class _Standing:
    """How far everybody is with some events."""

    def __init__(
        self,
        jobs: Mapping[int, Mapping[str, Sequence[Any]]],
        checkpoints: Mapping[str, int],
        parked: Mapping[tuple[str, str], int],
    ) -> None:
        self._jobs = jobs
        self._checkpoints = checkpoints
        self._parked = parked

    def jobs(self, line: Line, event: Event | None) -> Iterable[Job]:
        """What follows from an event: jobs that are there, and those that are done or still to be made."""
        there = self._jobs.get(line.position, {})
        for name, (state, attempts, due_at, problem) in there.items():
            yield Job(reaction=name, state=state, attempts=attempts, due_at=due_at, problem=problem)
        is_done = line.position <= self._checkpoints.get("jobs", 0)
        for reaction in REACTIONS.values():
            # Of what only some workspaces have asked for, nobody knows here whether there was anything to do.
            if reaction.only_with is not None:
                continue
            if event is not None and reaction.name not in there and reaction.concerns(event):
                yield Job(reaction=reaction.name, state="done" if is_done else "ahead")

    def read_model(self, name: str, line: Line) -> str:
        """Whether a read model shows an event: folded, behind or parked."""
        since = self._parked.get((name, line.stream))
        if since is not None and since <= line.position:
            return "parked"
        return "folded" if line.position <= self._checkpoints.get(name, 0) else "behind"


def _trees(lines: Sequence[Line], standing: _Standing) -> tuple[Effect, ...]:
    known = {line.event_id for line in lines}
    caused: dict[UUID | None, list[Line]] = defaultdict(list)
    for line in lines:
        caused[line.causation_id if line.causation_id in known else None].append(line)

    # An effect is always later in the log than its cause, so from the newest to the oldest its own effects are made.
    made: dict[UUID, Effect] = {}
    for line in sorted(lines, key=lambda each: each.position, reverse=True):
        made[line.event_id] = _effect(line, standing, tuple(made[each.event_id] for each in caused[line.event_id]))
    return tuple(made[line.event_id] for line in caused[None])


def _effect(line: Line, standing: _Standing, effects: tuple[Effect, ...]) -> Effect:
    event = _event(line)
    by_state: dict[str, list[str]] = defaultdict(list)
    for projection in PROJECTIONS.values():
        if event is not None and projection.concerns(event) is not None:
            by_state[standing.read_model(projection.name, line)].append(projection.name)
    return Effect(
        line=line,
        jobs=tuple(standing.jobs(line, event)),
        folded=tuple(by_state["folded"]),
        behind=tuple(by_state["behind"]),
        parked=tuple(by_state["parked"]),
        effects=effects,
    )


def _event(line: Line) -> Event | None:
    try:
        return codec.decode(line.name, line.schema_version, line.state)
    except Exception:  # noqa: BLE001 - whatever cannot be read is shown as it lies there
        return None
