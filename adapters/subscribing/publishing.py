"""Published events as a stream of NATS, and in it the places of those who read there.

The stream holds CloudEvents on subjects `ledgerline.<workspace>.<context>.<event>`, and is filled from the log by a
relay, from when the first consumer is made. The log has the consumers and this database how far each is; NATS may
forget all of it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from uuid import UUID

import nats
import structlog
from msgspec import DecodeError, Struct, json
from msgspec.structs import replace
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy, StreamInfo, SubjectTransform
from nats.js.errors import APIError, NotFoundError
from psycopg import OperationalError
from psycopg_pool import PoolTimeout

from adapters.log.eventlog import EventLog
from adapters.log.recorder import StoredRow
from adapters.pausing import pause
from adapters.postgres.retrying import Pool
from adapters.postgres.settings import Postgres
from adapters.provides import provides
from adapters.published import Envelopes
from adapters.stream.bus import POSITION, Bus
from adapters.stream.relay import Carried, Message, Relay
from adapters.stream.settings import Nats
from domain.ledger import PUBLIC
from domain.published import matching

log = structlog.get_logger(__name__)

#: How often it is looked what readers want, and how far they are: so much they are told again after NATS was wiped.
KEEP_SECONDS = 0.5
#: What a reader has not acknowledged after so long is given out again.
ACK_SECONDS = 30.0
#: So many events a reader has in hand without having acknowledged them, and so many requests may wait.
ACK_PENDING_MAX = 1_000
WAITING_MAX = 64
_PUBLISHING = 0x1ED6E6

#: What may stand in a subject as it is; the rest has no readers.
_WORKSPACE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TYPE = re.compile(r"[A-Za-z0-9_]+\.[A-Za-z0-9_]+")


class Wish(Struct, frozen=True):
    """A consumer that there is to be: for whom, of what, and after which position it begins or goes on."""

    id: str
    workspace_id: str
    event_types: tuple[str, ...]
    after: int


class _Sent(Struct):
    id: UUID
    sequence: str


class _Type(Struct):
    type: str


def stream_name(bus: Bus) -> str:
    """The stream of published events."""
    return f"{bus.stream}-PUBLISHED"


async def wishes(pool: Pool, limit: int | None = None) -> list[Wish]:
    """The consumers that there are to be, each after the last event that its reader has acknowledged."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT d.body, n.position FROM checkpoints f "
            "JOIN documents d ON d.projection = f.name AND d.version = f.version "
            "LEFT JOIN nats_positions n ON n.consumer_id = d.id "
            "WHERE f.name = 'nats_consumers' AND f.live LIMIT %s",
            (limit,),
        )
        rows = await cursor.fetchall()
    found = ((json.decode(body, type=Wish), position) for body, position in rows)
    return [replace(wish, after=max(wish.after, position or 0)) for wish, position in found]


def published_events(bus: Bus, envelopes: Envelopes, is_wanted: Callable[[], Awaitable[bool]] | None = None) -> Carried:
    """What subscribers are told, one message for each published event of a workspace, its id that of the event."""
    # Subjects of the log itself begin as those of subscribers do, so that events come on others and are moved.
    subjects = f"{bus.prefix}-published"
    moved = ".".join(f"{{{{wildcard({number})}}}}" for number in (1, 2, 3))
    read_type = json.Decoder(_Type).decode
    read_sent = json.Decoder(_Sent).decode

    def message(row: StoredRow, _: int) -> Message | None:
        if row[7] == PUBLIC or not _WORKSPACE.fullmatch(row[7]):
            return None
        body = envelopes.write(row)
        if body is None:
            return None
        name = read_type(body).type
        if not _TYPE.fullmatch(name):
            return None
        return Message(f"{subjects}.{row[7]}.{name}", body, str(row[3]))

    def held(data: bytes) -> tuple[int, UUID] | None:
        try:
            sent = read_sent(data)
            return int(sent.sequence), sent.id
        except (DecodeError, ValueError):
            return None

    return Carried(
        stream=stream_name(bus),
        subjects=f"{subjects}.*.*.*",
        description="Published events as CloudEvents, in order of position",
        lock=_PUBLISHING,
        message=message,
        held=held,
        transform=SubjectTransform(f"{subjects}.*.*.*", f"{bus.prefix}.{moved}"),
        begins_anew=True,
        is_wanted=is_wanted,
    )


class Publisher:
    """Keeps the stream of published events, and the places of its readers."""

    def __init__(
        self, log: EventLog, bus: Bus, pool: Pool, envelopes: Envelopes, postgres_url: str, *, replicas: int = 1
    ) -> None:
        self._bus = bus
        self._pool = pool
        self._stream = stream_name(bus)
        carried = published_events(bus, envelopes, self._has_readers)
        self._relay = Relay(log, bus, postgres_url, replicas=replicas, carried=carried)
        #: The last message that each reader has acknowledged, as far as it has been written down.
        self._noted: dict[str, int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Publish, and keep places, until told to stop."""
        publishing = asyncio.create_task(self._relay.run(stop), name="publisher")
        try:
            while not stop.is_set() and not publishing.done():
                if self._relay.is_active:
                    try:
                        await self._keep()
                        await self._tell()
                    except (
                        nats.errors.Error,
                        APIError,
                        OSError,
                        TimeoutError,
                        OperationalError,
                        PoolTimeout,
                    ) as problem:
                        log.warning("publisher.interrupted", problem=repr(problem))
                await pause(stop, KEEP_SECONDS)
        finally:
            if not stop.is_set():
                publishing.cancel()
            await publishing

    async def _has_readers(self) -> bool:
        return bool(await wishes(self._pool, limit=1))

    async def _tell(self) -> None:
        """Write down how far the stream is, for whoever asks how everything is."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "INSERT INTO published_streams (stream, position) VALUES (%s, %s) ON CONFLICT (stream) DO UPDATE "
                "SET position = excluded.position, seen_at = excluded.seen_at",
                (self._stream, self._relay.position),
            )

    async def _keep(self) -> None:
        """Note how far each reader is, and make the consumers in NATS those that there are to be."""
        context = self._bus.client.jetstream()
        before = await context.stream_info(self._stream)
        wished = {each.id: each for each in await wishes(self._pool)}
        there_are = await self._consumers(before.state.consumer_count)
        # Those that end by themselves are of whoever looks at the stream at the moment, such as `verify`.
        found = {each.name: each for each in there_are if each.config.durable_name}
        await self._note(found, before)
        for name in found.keys() - wished.keys():
            with suppress(NotFoundError):
                await context.delete_consumer(self._stream, name)
        for wish in wished.values():
            there = found.get(wish.id)
            subjects = _subjects(self._bus.prefix, wish)
            if there is None:
                # What comes after a position is known once the stream has come to it.
                if self._relay.is_active and self._relay.position >= wish.after:
                    await self._make(wish, subjects, before)
            elif sorted(there.config.filter_subjects or [there.config.filter_subject or ""]) != sorted(subjects):
                # There are types now that there were not when it was made.
                there.config.filter_subject, there.config.filter_subjects = None, subjects
                await context.add_consumer(self._stream, there.config)

    async def _consumers(self, count: int) -> list[ConsumerInfo]:
        found: list[ConsumerInfo] = []
        while len(found) < count:
            page = await self._bus.client.jetstream().consumers_info(self._stream, len(found))
            if not page:
                break
            found += page
        return found

    async def _note(self, found: Mapping[str, ConsumerInfo], before: StreamInfo) -> None:
        """Write down the positions of the last events that were acknowledged, never an earlier one."""
        floors = {name: each.ack_floor.stream_seq for name, each in found.items() if each.ack_floor is not None}
        moved = {name: floor for name, floor in floors.items() if floor and self._noted.get(name) != floor}
        positions = {name: await self._position(floor) for name, floor in moved.items()}
        after = await self._bus.client.jetstream().stream_info(self._stream)
        if not moved or after.created != before.created:
            return  # numbers of a stream that is no more mean nothing in another one
        known = {name: position for name, position in positions.items() if position is not None}
        async with self._pool.connection() as connection:
            await connection.execute(
                "INSERT INTO nats_positions (consumer_id, position) "
                "SELECT * FROM unnest(%s::text[], %s::bigint[]) ON CONFLICT (consumer_id) DO UPDATE "
                "SET position = excluded.position WHERE nats_positions.position < excluded.position",
                (list(known), list(known.values())),
            )
        self._noted |= moved

    async def _position(self, sequence: int) -> int | None:
        """The position of the event in a message; None where the message is gone."""
        try:
            message = await self._bus.client.jetstream().get_msg(self._stream, sequence)
        except NotFoundError:
            return None
        return int((message.headers or {}).get(POSITION, "0"))

    async def _make(self, wish: Wish, subjects: Sequence[str], stream: StreamInfo) -> None:
        """Keep a place after the last message that is not after a position."""
        config = ConsumerConfig(
            durable_name=wish.id,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=await self._first_after(wish.after),
            filter_subjects=list(subjects),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_SECONDS,
            max_ack_pending=ACK_PENDING_MAX,
            max_waiting=WAITING_MAX,
        )
        await self._bus.client.jetstream().add_consumer(self._stream, config)
        now = await self._bus.client.jetstream().stream_info(self._stream)
        if now.created != stream.created:
            # It was found in one stream, and made in another one.
            await self._bus.client.jetstream().delete_consumer(self._stream, wish.id)
            return
        self._noted.pop(wish.id, None)
        log.info("publisher.consumer_made", consumer=wish.id, after=wish.after)

    async def _first_after(self, position: int) -> int:
        """The number of the first message after a position, by halves; messages are in order and without gaps."""
        state = (await self._bus.client.jetstream().stream_info(self._stream)).state
        low, high = max(state.first_seq, 1), state.last_seq + 1
        while low < high:
            middle = (low + high) // 2
            found = await self._position(middle)
            if found is not None and found > position:
                high = middle
            else:
                low = middle + 1
        return low


def _subjects(prefix: str, wish: Wish) -> list[str]:
    """The subjects of what a reader has chosen."""
    if not wish.event_types:
        return [f"{prefix}.{wish.workspace_id}.>"]
    return [f"{prefix}.{wish.workspace_id}.{each.type}" for each in matching(wish.event_types)]


@provides
def publisher(
    log: EventLog, bus: Bus, pool: Pool, envelopes: Envelopes, postgres: Postgres, settings: Nats
) -> Publisher:
    """What fills the stream of published events."""
    return Publisher(log, bus, pool, envelopes, postgres.postgres_url, replicas=settings.nats_replicas)
