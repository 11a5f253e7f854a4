"""Where a page of events goes: into documents, into sums, into work to be done. All in the caller's transaction."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from msgspec import json
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from adapters.log.recorder import TABLE
from adapters.postgres import arrays
from commands.kernel import Reaction
from domain.identity.workspaces import WorkspaceForgotten
from domain.kernel import Event
from domain.ledger import Recorded
from projections.kernel import Document, Projection, Tally

Connection = AsyncConnection[TupleRow]

#: How many documents a projection remembers between pages.
REMEMBERED_DOCUMENTS = 50_000
#: How many streams it is remembered of that they have begun.
REMEMBERED_STREAMS = 50_000
_NOTHING: frozenset[str] = frozenset()


class Poison(Exception):
    """A fold failed on one event."""

    def __init__(self, recorded: Recorded, problem: Exception) -> None:
        super().__init__(repr(problem))
        self.recorded = recorded


class Writer(Protocol):
    """Something that follows the log under a name, and is written in the same transaction as its position."""

    name: str
    fold: int
    version: int
    #: The kinds of events it looks at; it is handed no others.
    kinds: Collection[type[Event]]

    async def absorb(self, connection: Connection, page: Sequence[Recorded]) -> list[Poison]:
        """Fold a page and write what changed; events that cannot be folded are left out and returned."""

    def forget(self) -> None:
        """Drop what is remembered: the transaction did not happen, or somebody else wrote."""


class _Kept:
    """A document in memory, with what its row needs besides the body."""

    __slots__ = ("created", "document", "position", "workspace_id")

    def __init__(self, document: Document, workspace_id: str, created: int, position: int) -> None:
        self.document = document
        self.workspace_id = workspace_id
        self.created = created
        self.position = position


class DocumentWriter:
    """One projection's documents under one version."""

    def __init__(self, projection: Projection[Any], version: int) -> None:
        self.projection = projection
        self.name = projection.name
        self.fold = projection.version
        self.version = version
        self.kinds: Collection[type[Event]] = (
            {*projection.on} if projection.outlives_workspaces else {*projection.on, WorkspaceForgotten}
        )
        self._kept: OrderedDict[str, _Kept | None] = OrderedDict()
        self._decode = json.Decoder(projection.document).decode
        self._encode = json.Encoder().encode

    def forget(self) -> None:
        """Drop the remembered documents."""
        self._kept.clear()

    async def absorb(self, connection: Connection, page: Sequence[Recorded]) -> list[Poison]:
        """Fold a page: load the documents it touches with one query, write those that changed with one more."""
        find_in = self.projection.finds.get
        touched = [
            (identity, each)
            for each in page
            if (find := find_in(type(each.event))) is not None and (identity := find(each.event)) is not None
        ]
        forgotten = self._forgotten(page)
        if not touched and not forgotten:
            return []
        await self._load(connection, {identity for identity, each in touched if not self._is_born_with(each, identity)})
        poison: list[Poison] = []
        sick: set[str] = set()
        changed: dict[str, None] = {}
        for identity, each in touched:
            while forgotten and forgotten[0][0] < each.position:
                await self._drop(connection, forgotten.pop(0)[1])
            if each.stream in sick:
                continue
            kept = self._kept.get(identity)
            try:
                document = self.projection.evolve(kept.document if kept else None, each.event)
            except Exception as problem:  # noqa: BLE001 - whatever is wrong with one event, the others must flow
                poison.append(Poison(each, problem))
                sick.add(each.stream)
                continue
            if document is None:
                self._kept[identity] = None
            elif kept is None:
                self._kept[identity] = _Kept(document, each.workspace_id, each.position, each.position)
            else:
                kept.document, kept.position = document, max(kept.position, each.position)
            changed[identity] = None
        for _, workspace_id in forgotten:
            await self._drop(connection, workspace_id)
        await self._save(connection, list(changed))
        while len(self._kept) > REMEMBERED_DOCUMENTS:
            self._kept.popitem(last=False)
        return poison

    def _is_born_with(self, each: Recorded, identity: str) -> bool:
        """Whether an event is the first of all that make a document, so that there is nothing to load."""
        return each.version == 1 and each.stream == f"{self.projection.stream}-{identity}"

    def _forgotten(self, page: Sequence[Recorded]) -> list[tuple[int, str]]:
        """The positions at which workspaces end whose documents are to go."""
        if self.projection.outlives_workspaces:
            return []
        return [(each.position, each.event.workspace_id) for each in page if isinstance(each.event, WorkspaceForgotten)]

    async def _drop(self, connection: Connection, workspace_id: str) -> None:
        """Drop everything of a forgotten workspace, also from memory, or its next event would bring it back whole."""
        for identity, kept in self._kept.items():
            if kept is not None and kept.workspace_id == workspace_id:
                self._kept[identity] = None
        await connection.execute(
            "DELETE FROM documents WHERE projection = %s AND version = %s AND workspace_id = %s",
            (self.name, self.version, workspace_id),
        )

    async def _load(self, connection: Connection, identities: set[str]) -> None:
        missing = set()
        # One by one: to intersect with its keys goes through all that is remembered.
        for identity in identities:
            if identity in self._kept:
                self._kept.move_to_end(identity)
            else:
                missing.add(identity)
        if not missing:
            return
        self._kept.update(dict.fromkeys(missing))
        cursor = await connection.execute(
            "SELECT id, workspace_id, created, position, body FROM documents "
            "WHERE projection = %s AND version = %s AND id = ANY(%s)",
            (self.name, self.version, list(missing)),
            binary=True,
            # A plan made while there were few documents would be kept when there are many.
            prepare=False,
        )
        for identity, workspace_id, created, position, body in await cursor.fetchall():
            self._kept[identity] = _Kept(self._decode(body), workspace_id, created, position)

    async def _save(self, connection: Connection, identities: list[str]) -> None:
        rows = [(identity, kept) for identity in identities if (kept := self._kept[identity])]
        gone = [identity for identity in identities if self._kept[identity] is None]
        if gone:
            await connection.execute(
                "DELETE FROM documents WHERE projection = %s AND version = %s AND id = ANY(%s)",
                (self.name, self.version, gone),
            )
        if not rows:
            return
        parent = self.projection.parent
        parents = (parent(kept.document) for _, kept in rows)
        await connection.execute(
            "INSERT INTO documents (projection, version, id, workspace_id, parent, created, position, body) "
            "SELECT %s, %s, d.* FROM unnest(%s, %s, %s, %s, %s, %s) AS d "
            "ON CONFLICT (projection, version, id) DO UPDATE "
            "SET parent = excluded.parent, position = excluded.position, body = excluded.body",
            (
                self.name,
                self.version,
                arrays.TextColumn([arrays.text(identity) for identity, _ in rows]),
                arrays.TextColumn([arrays.text(kept.workspace_id) for _, kept in rows]),
                arrays.TextColumn([arrays.NULL if each is None else arrays.text(each) for each in parents]),
                arrays.Int8Column([arrays.int8(kept.created) for _, kept in rows]),
                arrays.Int8Column([arrays.int8(kept.position) for _, kept in rows]),
                arrays.BytesColumn([arrays.raw(self._encode(kept.document)) for _, kept in rows]),
            ),
        )


class TallyWriter:
    """One tally's sums under one version."""

    def __init__(self, tally: Tally, version: int) -> None:
        self.tally = tally
        self.name = tally.name
        self.fold = tally.version
        self.version = version
        self.kinds: Collection[type[Event]] = tally.counts.keys()

    def forget(self) -> None:
        """It remembers nothing."""

    async def absorb(self, connection: Connection, page: Sequence[Recorded]) -> list[Poison]:
        """Add what a page adds."""
        sums: dict[str, int] = defaultdict(int)
        poison: list[Poison] = []
        sick: set[str] = set()
        for each in page:
            counts = self.tally.counts.get(type(each.event))
            if counts is None or each.stream in sick:
                continue
            try:
                counted = list(counts(each.event))
            except Exception as problem:  # noqa: BLE001 - as in DocumentWriter
                poison.append(Poison(each, problem))
                sick.add(each.stream)
                continue
            for key, amount in counted:
                sums[key] += amount
        rows = sorted((key, amount) for key, amount in sums.items() if amount)
        if rows:
            await connection.execute(
                "INSERT INTO tallies (projection, version, key, amount) SELECT %s, %s, t.* FROM unnest(%s, %s) AS t "
                "ON CONFLICT (projection, version, key) DO UPDATE SET amount = tallies.amount + excluded.amount",
                (
                    self.name,
                    self.version,
                    arrays.TextColumn([arrays.text(key) for key, _ in rows]),
                    arrays.Int8Column([arrays.int8(amount) for _, amount in rows]),
                ),
            )
        return poison


class JobWriter:
    """What reactions have to do. Written once for each event and reaction, never on a replay: it has no versions."""

    name = "jobs"
    #: Raised whenever reactions, or the kinds of events they listen to, are others: software with a lower one lets go.
    fold = 5
    version = 1

    def __init__(self, reactions: Iterable[Reaction]) -> None:
        self._reactions: dict[type[Event], list[Reaction]] = defaultdict(list)
        for reaction in reactions:
            for kind in reaction.kinds:
                self._reactions[kind].append(reaction)
        self.kinds: Collection[type[Event]] = self._reactions.keys()
        self.queues: set[str] = set()
        #: Streams that some reactions ask for, and that are known to have begun: no stream ever ends.
        self._begun: set[str] = set()

    def forget(self) -> None:
        """It remembers only whom to wake, and that is not needed."""
        self.queues.clear()

    async def absorb(self, connection: Connection, page: Sequence[Recorded]) -> list[Poison]:
        """Write down the work that follows from a page; `queues` then also names who should be woken."""
        now = datetime.now(UTC)
        jobs = []
        begun = await self._learn(connection, page)
        for each in page:
            for reaction in self._reactions.get(type(each.event), ()):
                if reaction.only(each.event) and _needs(reaction, each) <= begun:
                    due = reaction.due(each.event)
                    jobs.append((reaction.name, each.position, reaction.line(each), each.workspace_id, due))
                    if due is None or due <= now:
                        self.queues.add(reaction.queue.name)
        if jobs:
            # By the clock of Postgres, by which they are claimed: ours may be ahead of it, and then what is to be done
            # at once would wait.
            await connection.execute(
                "INSERT INTO jobs (reaction, position, stream, workspace_id, due_at, state) "
                "SELECT reaction, position, stream, workspace_id, coalesce(due_at, now()), "
                "CASE WHEN due_at > now() THEN 'waiting' ELSE 'ready' END "
                "FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::text[], %s::timestamptz[]) "
                "AS t(reaction, position, stream, workspace_id, due_at) ON CONFLICT DO NOTHING",
                [list(column) for column in zip(*jobs, strict=True)],
            )
        return []

    async def _learn(self, connection: Connection, page: Sequence[Recorded]) -> set[str]:
        """Which of the streams have begun without which there are no jobs for a page."""
        needed = {
            stream for each in page for reaction in self._reactions.get(type(each.event), ())
            for stream in _needs(reaction, each)
        }  # fmt: skip
        unknown = needed - self._begun
        if not unknown:
            return needed
        cursor = await connection.execute(
            f"SELECT originator_id FROM {TABLE} WHERE originator_id = ANY(%s) AND originator_version = 1".encode(),
            (list(unknown),),
            prepare=True,
        )
        found = {row[0] for row in await cursor.fetchall()}
        begun = found | (needed & self._begun)
        if len(self._begun) > REMEMBERED_STREAMS:
            self._begun.clear()
        self._begun |= found
        return begun


def _needs(reaction: Reaction, recorded: Recorded) -> frozenset[str]:
    """The stream without which a reaction has nothing to do for an event."""
    if reaction.only_with is None:
        return _NOTHING
    return frozenset((reaction.only_with.stream(recorded.workspace_id),))
