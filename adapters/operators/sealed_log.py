"""Whether the log is what was sealed: each event, its place, and that none is missing or was put in.

Everything is read once, in order of position, beside the seals: what was sealed is computed again and compared. Where
an event differs, the others of its stream are compared by what was sealed before them: each change is named for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple

import psycopg
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import DecodeError
from psycopg import Connection

from adapters.log.recorder import TABLE
from adapters.log.seals import (
    DIGEST_BYTES,
    KIND,
    KIND_WITHOUT_TRACES,
    NOTHING,
    Row,
    Statement,
    as_sealed,
    digest,
    merkle_root,
    read_statement,
    rows,
)
from adapters.operators.findings import Finding, Progress, nobody
from domain.kernel import Value

#: What waits for its seal for longer is found: nobody seals any more.
UNSEALED_MAX = timedelta(minutes=5)
#: So many changes of one seal are looked at for what has become of them, each against each.
EXPLAINED_MAX = 64


class Witness(NamedTuple):
    """A seal that somebody noted elsewhere: its number, and the SHA-256 of its statement in hex."""

    number: int
    digest: str


class Checked(Value):
    """What was looked at: events, seals, and what lies behind the last seal."""

    events: int
    seals: int
    sealed_until: int
    unsealed: int
    findings: tuple[Finding, ...]


class _Seal(NamedTuple):
    number: int
    last: int
    text: str
    signature: bytes
    positions: Sequence[int]
    digests: bytes


class _Changed(NamedTuple):
    """An event that is not what was sealed at its position, and the newest digest of its stream until then."""

    row: Row
    newest: bytes
    sealed: bytes


_NO_CHAIN = (0, NOTHING)


def check_log(
    postgres_url: str,
    public_key: bytes,
    *,
    witnesses: Sequence[Witness] = (),
    progress: Progress = nobody,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Checked:
    """Compare the log with its seals; `public_key` is whose signature counts."""
    with (
        psycopg.connect(postgres_url, autocommit=True) as for_seals,
        psycopg.connect(postgres_url, autocommit=True) as for_events,
    ):
        return _Check(for_seals, for_events, public_key, witnesses, progress).run(now())


class _Check:
    def __init__(
        self,
        for_seals: Connection[Any],
        for_events: Connection[Any],
        public_key: bytes,
        witnesses: Sequence[Witness],
        progress: Progress,
    ) -> None:
        self._for_seals = for_seals
        self._for_events = for_events
        self._public_key = Ed25519PublicKey.from_public_bytes(public_key)
        self._witnesses = {each.number: each.digest for each in witnesses}
        self._progress = progress
        self._findings: list[Finding] = []
        #: The newest version and its digest as it was sealed, of every stream.
        self._chains: dict[bytes, tuple[int, bytes]] = {}
        self._changed: list[_Changed] = []
        #: What was sealed at positions where nothing is, and whose it was where that is known.
        self._missing: dict[int, bytes] = {}
        self._owners: dict[int, str] = {}
        self._previous = NOTHING

    def run(self, now: datetime) -> Checked:
        [(seals, sealed_until)] = self._for_seals.execute(
            "SELECT count(*), coalesce(max(last), 0) FROM log_seals"
        ).fetchall()
        [(total, head)] = self._for_seals.execute(
            f"SELECT coalesce((SELECT reltuples FROM pg_class WHERE oid = '{TABLE}'::regclass), 0)::bigint, "
            f"coalesce((SELECT max(notification_id) FROM {TABLE}), 0)"
        ).fetchall()
        total, events = max(total, 1), 0
        self._check_head(head, sealed_until)
        ahead = _Ahead(rows(self._for_events, 0))
        after = number = 0
        for seal in self._seals():
            found = ahead.up_to(seal.last)
            events += len(found)
            self._check_seal(seal, number + 1, after, found)
            after, number = seal.last, seal.number
            self._progress("log", events, max(total, events))
        unsealed = ahead.rest()
        self._explain()
        self._check_unsealed(unsealed, now)
        for missing in sorted(each for each in self._witnesses if each > number):
            self._find("seal_missing", f"Seal {missing} was noted elsewhere, and the last one here is {number}.")
        self._progress("log", events + len(unsealed), events + len(unsealed))
        return Checked(
            events=events + len(unsealed),
            seals=seals,
            sealed_until=after,
            unsealed=len(unsealed),
            findings=tuple(sorted(self._findings, key=lambda each: each.position or 0)),
        )

    def _seals(self) -> Iterator[_Seal]:
        with self._for_seals.transaction(), self._for_seals.cursor(name="seals") as cursor:
            cursor.itersize = 64
            cursor.execute(
                "SELECT number, last, statement, signature, positions, digests FROM log_seals ORDER BY number"
            )
            for row in cursor:
                yield _Seal(*row)

    def _find(self, kind: str, message: str, at: Row | int | None = None) -> None:
        position = at.position if isinstance(at, Row) else at
        self._findings.append(Finding(part="log", kind=kind, message=message, position=position))

    # -- a seal by itself

    def _check_seal(self, seal: _Seal, number: int, after: int, found: Sequence[Row]) -> None:
        statement = self._statement(seal)
        if statement is not None:
            found = as_sealed(statement.kind, found)
        if seal.number != number:
            self._find("seal_missing", f"Seals {number} to {seal.number - 1} are missing.", after + 1)
            if statement is not None:
                found = self._skip(found, statement.after)
        if statement is not None:
            if (statement.number, statement.last) != (seal.number, seal.last):
                self._find("seal_altered", f"Seal {seal.number} is kept in the place of another one.", after + 1)
            if seal.number == number and (statement.previous, statement.after) != (self._previous.hex(), after):
                self._find("seal_altered", f"Seal {seal.number} does not follow the one before it.", after + 1)
        self._previous = sha256(seal.text.encode()).digest()
        if self._witnesses.get(seal.number, self._previous.hex()) != self._previous.hex():
            self._find("seal_altered", f"Seal {seal.number} is not the one that was noted elsewhere.", after + 1)
        digests = [seal.digests[at : at + DIGEST_BYTES] for at in range(0, len(seal.digests), DIGEST_BYTES)]
        is_whole = len(digests) == len(seal.positions) > 0
        if statement is not None and not (
            is_whole and statement.events == len(digests) and statement.root == merkle_root(digests).hex()
        ):
            self._find(
                "seal_altered",
                f"The digests of seal {seal.number}, positions {after + 1} to {seal.last}, are not what was signed.",
                after + 1,
            )
        if not self._is_as_sealed(seal, found):
            self._compare(dict(zip(seal.positions, digests, strict=False)), found)

    def _statement(self, seal: _Seal) -> Statement | None:
        """What a seal says, if it is signed and can be read."""
        try:
            self._public_key.verify(seal.signature, seal.text.encode())
            statement = read_statement(seal.text)
        except (InvalidSignature, DecodeError):
            statement = None
        if statement is None or statement.kind not in (KIND, KIND_WITHOUT_TRACES):
            self._find("seal_not_signed", f"Seal {seal.number} is not signed by the key of this log.")
            return None
        return statement

    # -- the events under a seal

    def _is_as_sealed(self, seal: _Seal, found: Sequence[Row]) -> bool:
        """Whether all of it is what was sealed, which is nearly always so; the chains go on only then."""
        chains, digests = self._chains, []
        before: dict[bytes, tuple[int, bytes]] = {}
        for _, stream, version, octets in found:
            last = chains.get(stream, _NO_CHAIN)
            before.setdefault(stream, last)
            made = sha256(b"\x00" + (last[1] if last[0] == version - 1 else NOTHING) + octets).digest()
            chains[stream] = (version, made)
            digests.append(made)
        if b"".join(digests) == seal.digests and [each[0] for each in found] == list(seal.positions):
            return True
        chains.update(before)
        return False

    def _compare(self, sealed: dict[int, bytes], found: Sequence[Row]) -> None:
        chains, missing = self._chains, self._missing
        for row in found:
            version, newest = chains.get(row.stream, _NO_CHAIN)
            expected = sealed.get(row.position)
            made = digest(newest if version == row.version - 1 else NOTHING, row.octets)
            if made != expected:
                if expected is None:
                    self._find("inserted", f"{_named(row)} was not there when its surroundings were sealed.", row)
                    continue
                missing |= {each: made for each, made in sealed.items() if each < row.position}
                self._differs(row, newest, expected)
                made = expected
            chains[row.stream] = (row.version, made)
            sealed.pop(row.position, None)
        missing |= sealed

    def _skip(self, found: Sequence[Row], until: int) -> Sequence[Row]:
        """What is left of rows after those whose seal is missing, which are taken as they are."""
        for row in found:
            if row.position <= until:
                version, newest = self._chains.get(row.stream, _NO_CHAIN)
                made = digest(newest if version == row.version - 1 else NOTHING, row.octets)
                self._chains[row.stream] = (row.version, made)
        return [row for row in found if row.position > until]

    def _differs(self, row: Row, newest: bytes, sealed: bytes) -> None:
        """Whether it is this event that was changed, or what it was chained to."""
        others = {each.sealed: 0 for each in self._changed[-EXPLAINED_MAX:]}
        gone = {made: position for position, made in list(self._missing.items())[-EXPLAINED_MAX:]}
        for before, position in {newest: 0, **others, **gone}.items():
            if digest(before, row.octets) == sealed:
                if position:
                    self._owners[position] = f"version {row.version - 1} of {_text(row.stream)}"
                return
        self._changed.append(_Changed(row, newest, sealed))

    def _explain(self) -> None:
        """Say what has become of each event that is not as it was sealed."""
        exchanged: dict[int, int] = {}
        some = self._changed[:EXPLAINED_MAX]
        known = [NOTHING, *(each.newest for each in some), *(each.sealed for each in some)]
        for each in some:
            for other in some:
                if other is not each and _was_here(each, other.row, known):
                    exchanged[each.row.position] = other.row.position
        for each in self._changed:
            position, other_position = each.row.position, exchanged.get(each.row.position)
            if other_position is None:
                self._find("altered", f"{_named(each.row)} is not what was sealed.", each.row)
            elif exchanged.get(other_position) != position or position < other_position:
                self._find("reordered", f"The events at {position} and {other_position} have changed places.", each.row)
        for run in _runs(sorted(each for each in self._missing if each not in self._owners)):
            if len(run) > 1:
                self._find("missing", f"{len(run)} events are missing, {run[0]} to {run[-1]}.", run[0])
            else:
                self._find("missing", f"The event at {run[0]} is missing.", run[0])
        for position, whose in self._owners.items():
            self._find("missing", f"The event at {position} is missing: {whose}.", position)

    # -- the end of the log

    def _check_head(self, head: int, sealed_until: int) -> None:
        reached = {"a seal": sealed_until}
        for name, position in self._for_seals.execute("SELECT name, position FROM checkpoints WHERE live"):
            reached[f"the read model {name}"] = position
        who, furthest = max(reached.items(), key=lambda each: each[1])
        if furthest > head:
            self._find(
                "truncated",
                f"The log ends at {head}, and {who} has seen it up to {furthest}: its end is missing.",
                head,
            )

    def _check_unsealed(self, unsealed: Sequence[Row], now: datetime) -> None:
        if not unsealed:
            return
        row = self._for_seals.execute(
            f"SELECT recorded_at FROM {TABLE} WHERE notification_id = %s", (unsealed[0].position,)
        ).fetchone()
        if row is not None and now - row[0] > UNSEALED_MAX:
            waits = f"{len(unsealed)} events from {unsealed[0].position} on wait for their seal"
            self._find(
                "not_sealed", f"{waits}, since {row[0]:%Y-%m-%d %H:%M}: no sealer is at work.", unsealed[0].position
            )


class _Ahead:
    """Rows in order, taken as far as wanted."""

    def __init__(self, found: Iterator[Row]) -> None:
        self._found = found
        self._next = next(found, None)

    def up_to(self, position: int) -> list[Row]:
        taken = []
        upcoming = self._next
        while upcoming is not None and upcoming.position <= position:
            taken.append(upcoming)
            upcoming = next(self._found, None)
        self._next = upcoming
        return taken

    def rest(self) -> list[Row]:
        return self.up_to(1 << 63)


def _was_here(here: _Changed, other: Row, known: Sequence[bytes]) -> bool:
    """Whether what was sealed here lies at another place now: as it was, under its version, or under its envelope."""
    mine, theirs = here.row.octets, other.octets
    candidates = [theirs[:6] + mine[6:14] + theirs[14:]]
    if here.row.stream == other.stream:
        start = 22 + len(other.stream)
        end = start + 8
        candidates += [mine[:start] + theirs[start:end] + mine[end:], mine[:end] + theirs[end:]]
    return any(digest(before, octets) == here.sealed for octets in candidates for before in known)


def _runs(positions: Sequence[int]) -> Iterator[list[int]]:
    """Positions that follow one another, together."""
    run: list[int] = []
    for position in positions:
        if run and position != run[-1] + 1:
            yield run
            run = []
        run.append(position)
    if run:
        yield run


def _named(row: Row) -> str:
    return f"The event at {row.position}, version {row.version} of {_text(row.stream)},"


def _text(stream: bytes) -> str:
    return stream.decode(errors="replace")
