"""Seals over the log: every event is chained to the one before it in its stream, and what is new is signed together.

Nothing of it is in the way of an append. A sealer follows the log, as a read model does, and writes into a table of its
own; so what it has not come to yet, a few seconds of the log, is not protected.

The digest of an event is SHA-256 over a zero byte, the digest of the event before it in its stream (32 zero bytes when
it is the first) and the event as it lies there, which is one row of Postgres' binary COPY of `COLUMNS`: the number of
fields in 16 bits, then each field as its length in 32 bits (-1: null) and its bytes; an event without a trace has none
for that, as all had once. A seal is a statement in JSON over
all events after the position of the seal before up to its own: their number, the root of the Merkle tree whose leaves
are their digests in order of position (RFC 9162, 2.1.1; the zero byte above is that of its leaves), the SHA-256 of the
statement before, and the time. It is signed with Ed25519, by a key that follows from the server's secret.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, LiteralString, NamedTuple

import psycopg
import structlog
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import json
from psycopg import Connection
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.rows import TupleRow

from adapters.log.recorder import COLUMNS, TABLE, WRITING
from adapters.log.settings import Sealing, Seals
from adapters.pausing import pause
from adapters.postgres.settings import Postgres
from adapters.provides import provides
from domain.kernel import Value

log = structlog.get_logger(__name__)

#: Stands where there is no digest before.
NOTHING = bytes(32)
DIGEST_BYTES = 32
#: So many events are under one seal at most.
SEALED_TOGETHER_MAX = 4_096
#: So many streams are remembered with their newest digest; some 200 bytes each.
REMEMBERED_STREAMS = 50_000
_SEALING = 0x1ED6E4
_HEADER_BYTES, _TRAILER, _NULL = 19, b"\xff\xff", b"\xff\xff\xff\xff"
#: Fields of an event with a trace; the last is that.
FIELDS = 13
_UNTRACED = (FIELDS - 1).to_bytes(2)


class Statement(Value):
    """What a seal says; the JSON of it is what is signed, byte by byte."""

    kind: str
    number: int
    after: int
    last: int
    events: int
    root: str
    previous: str
    sealed_at: datetime
    public_key: str


KIND = "ledgerline.seal.v2"
#: Seals of before covered no traces; during an update somebody may still write one over events that have them.
KIND_WITHOUT_TRACES = "ledgerline.seal.v1"
read_statement = json.Decoder(Statement).decode


class Row(NamedTuple):
    """An event as it lies there, and of it what the chain needs."""

    position: int
    stream: bytes
    version: int
    octets: bytes

    def untraced(self) -> Row:
        """The same without its trace."""
        if self.octets.startswith(_UNTRACED):
            return self
        end = 2
        for _ in range(FIELDS - 1):
            end += 4 + max(int.from_bytes(self.octets[end : end + 4], signed=True), 0)
        return self._replace(octets=_UNTRACED + self.octets[2:end])


def rows(
    connection: Connection[Any], after: int, *, until: int | None = None, limit: int | None = None
) -> Iterator[Row]:
    """The events after a position, in order, as Postgres copies them out."""
    query = f"SELECT {COLUMNS} FROM {TABLE} WHERE notification_id > {int(after)}"
    if until is not None:
        query += f" AND notification_id <= {int(until)}"
    query += " ORDER BY notification_id"
    if limit is not None:
        query += f" LIMIT {int(limit)}"
    # One call of libpq a row: the driver's own loop over the same rows takes three times as long.
    pgconn = connection.pgconn
    result = pgconn.exec_(f"COPY ({query}) TO STDOUT (FORMAT binary)".encode())
    if result.status != ExecStatus.COPY_OUT:
        raise error_from_result(result)
    read, skip = pgconn.get_copy_data, _HEADER_BYTES
    try:
        while True:
            size, data = read(0)
            if size < 0:
                break
            octets = bytes(data)[skip:] if skip else bytes(data)
            skip = 0
            if octets != _TRAILER:
                yield row_of(octets)
    finally:
        while size > 0:  # whoever has seen enough leaves the connection as it was
            size, _ = read(0)
        while (ended := pgconn.get_result()) is not None:
            if ended.status == ExecStatus.FATAL_ERROR:
                raise error_from_result(ended)


def row_of(octets: bytes) -> Row:
    """A copied row, and of it what the chain needs. That of an event without a trace has no field for one."""
    if octets.endswith(_NULL):  # no text ends like this
        octets = _UNTRACED + octets[2 : -len(_NULL)]
    end = 18 + int.from_bytes(octets[14:18])
    return Row(int.from_bytes(octets[6:14]), octets[18:end], int.from_bytes(octets[end + 4 : end + 12]), octets)


def digest(before: bytes, octets: bytes) -> bytes:
    """The digest of an event, chained to that of the one before it in its stream."""
    return sha256(b"\x00" + before + octets).digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The root of the tree of RFC 9162 over hashed leaves, which are not none."""
    level = list(leaves)
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        above = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


def seal_key(secret: bytes) -> Ed25519PrivateKey:
    """The key that seals are signed with: it follows from the server's secret, and so does not change."""
    return Ed25519PrivateKey.from_private_bytes(
        HKDF(hashes.SHA256(), 32, salt=None, info=b"ledgerline log seals").derive(secret)
    )


def as_sealed(kind: str, found: Sequence[Row]) -> Sequence[Row]:
    """Events as a seal of this kind covers them."""
    return [each.untraced() for each in found] if kind == KIND_WITHOUT_TRACES else found


class _Newest(NamedTuple):
    """The seal that the next one follows."""

    number: int
    last: int
    digest: bytes


class Sealer:
    """Seals what was appended, as one of any number of sealers of which one is at work."""

    def __init__(self, postgres_url: str, key: Ed25519PrivateKey, *, seconds: float) -> None:
        self._url = postgres_url
        self._key = key
        self._public_key = key.public_key().public_bytes_raw().hex()
        self._seconds = seconds
        self._known: OrderedDict[bytes, tuple[int, bytes]] = OrderedDict()

    async def run(self, stop: asyncio.Event) -> None:
        """Seal now and then until told to stop, over every interruption."""
        while not stop.is_set():
            try:
                await asyncio.to_thread(self._work, stop.is_set)
            except (psycopg.OperationalError, psycopg.errors.UndefinedTable, OSError) as problem:
                log.warning("sealer.interrupted", problem=str(problem).strip())
            await pause(stop, self._seconds)

    def _work(self, is_over: Callable[[], bool]) -> None:
        """Seal all that is there, unless another sealer is at it."""
        with psycopg.connect(self._url, autocommit=True, connect_timeout=5) as connection:
            [(is_ours,)] = connection.execute("SELECT pg_try_advisory_lock(%s)", (_SEALING,)).fetchall()
            while is_ours and not is_over() and self.seal(connection) is not None:
                pass

    def seal(self, connection: Connection[TupleRow]) -> Statement | None:
        """Seal what comes next, as much as fits under one seal; None when there is nothing new."""
        newest = self._newest(connection)
        found = self._final(connection, newest.last)
        if not found:
            return None
        digests = self._chained(connection, found)
        statement = Statement(
            kind=KIND,
            number=newest.number + 1,
            after=newest.last,
            last=found[-1].position,
            events=len(found),
            root=merkle_root(digests).hex(),
            previous=newest.digest.hex(),
            sealed_at=datetime.now(UTC),
            public_key=self._public_key,
        )
        text = json.encode(statement)
        connection.execute(
            "INSERT INTO log_seals (number, last, statement, signature, positions, digests) "
            "VALUES (%s, %s, %s, %s, %s, %s)",
            (statement.number, statement.last, text.decode(), self._key.sign(text),
             [each.position for each in found], b"".join(digests)),
        )  # fmt: skip
        # So that whoever collects our lines elsewhere has a witness that nobody here can change.
        log.info("log.sealed", number=statement.number, last=statement.last, digest=sha256(text).hexdigest())
        return statement

    def _newest(self, connection: Connection[TupleRow]) -> _Newest:
        row = connection.execute(
            "SELECT number, last, statement FROM log_seals ORDER BY number DESC LIMIT 1"
        ).fetchone()
        return _Newest(0, 0, NOTHING) if row is None else _Newest(row[0], row[1], sha256(row[2].encode()).digest())

    def _final(self, connection: Connection[TupleRow], after: int) -> list[Row]:
        """The next events, where nothing can come in between any more."""
        found = list(rows(connection, after, limit=SEALED_TOGETHER_MAX))
        if found and found[-1].position - after > len(found):
            # A hole may be a position that is drawn and not committed yet; see `EventLog.raw_page`.
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (WRITING,))
                cursor = connection.execute(f"SELECT last_value FROM {TABLE}_notification_id_seq")
                [(frontier,)] = cursor.fetchall()
            found = list(rows(connection, after, until=frontier, limit=SEALED_TOGETHER_MAX))
        return found

    def _chained(self, connection: Connection[TupleRow], found: Sequence[Row]) -> list[bytes]:
        self._recall(connection, found)
        digests = []
        for each in found:
            version, before = self._known.get(each.stream, (0, NOTHING))
            made = digest(before if version == each.version - 1 else NOTHING, each.octets)
            self._known[each.stream] = (each.version, made)
            self._known.move_to_end(each.stream)
            digests.append(made)
        while len(self._known) > REMEMBERED_STREAMS:
            self._known.popitem(last=False)
        return digests

    def _recall(self, connection: Connection[TupleRow], found: Sequence[Row]) -> None:
        """Look up the digests that the first of these events in each stream follow, where they are not remembered."""
        first: dict[bytes, int] = {}
        for each in found:
            first.setdefault(each.stream, each.version)
        missing = {
            stream.decode(): version - 1
            for stream, version in first.items()
            if version > 1 and self._known.get(stream, (0,))[0] != version - 1
        }
        if missing:
            for stream, version, before in connection.execute(_BEFORE, (list(missing), list(missing.values()))):
                if before is not None:
                    self._known[stream.encode()] = (version, before)


_BEFORE: LiteralString = f"""
SELECT q.stream, q.version,
       substring(s.digests FROM {DIGEST_BYTES} * (array_position(s.positions, e.notification_id) - 1) + 1
                 FOR {DIGEST_BYTES})
FROM unnest(%s::text[], %s::bigint[]) AS q(stream, version)
JOIN {TABLE} e ON e.originator_id = q.stream AND e.originator_version = q.version
CROSS JOIN LATERAL (
    SELECT positions, digests FROM log_seals WHERE last >= e.notification_id ORDER BY last LIMIT 1
) AS s
"""


@provides
def sealer(postgres: Postgres, sealing: Sealing, seals: Seals) -> Sealer:
    """What seals the log."""
    return Sealer(postgres.postgres_url, seal_key(sealing.secret_key.reveal().encode()), seconds=seals.seal_seconds)
