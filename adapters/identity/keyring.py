"""Finds what a key or a session token opens, and remembers it for less than a second.

What is found is as new as the log, not as the read models: a revocation counts from the moment it is written, however
far behind the projector is. It is forgotten with the next event of any stream it relies on: what this process writes is
heard at once, what others write by a bell, and without the bell it is forgotten in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable
from datetime import datetime
from time import monotonic
from typing import Any, NamedTuple

from msgspec import json

from adapters.identity.directory import Directory
from adapters.log.eventlog import GROWN
from adapters.provides import provides
from adapters.readmodels.views import Reads, ReadsBehind, ReadsUnavailable, Seen
from adapters.stream.bus import Bus
from commands.identity.settings import Identity
from domain.identity.people import identities
from domain.identity.people import people as person_streams
from domain.identity.sessions import sessions
from domain.identity.workspaces import workspaces as workspace_streams
from domain.vocabulary import remembered
from projections.identity.credentials import Access, Credential, credentials
from projections.identity.people import people
from projections.identity.workspaces import workspaces

REMEMBER_SECONDS = 0.8
REMEMBERED_MAX = 100_000


# `parent` is the stream the credential is folded from.
_FIND = """
SELECT f.position, (SELECT coalesce(max(notification_id), 0) FROM ledger_events), d.position, d.body, d.parent, (
    SELECT e.notification_id FROM ledger_events e WHERE e.originator_id = d.parent
    ORDER BY e.originator_version DESC LIMIT 1
)
FROM checkpoints f
LEFT JOIN documents d ON d.projection = f.name AND d.version = f.version AND d.id = %s
WHERE f.name = 'credentials' AND f.live
"""


_NEWEST = """
SELECT s.stream, (
    SELECT e.notification_id FROM ledger_events e WHERE e.originator_id = s.stream
    ORDER BY e.originator_version DESC LIMIT 1
)
FROM unnest(%s::text[]) AS s(stream)
"""


class _Known(NamedTuple):
    access: Access
    at: float


class Keyring:
    """Access by the digest of what was presented."""

    def __init__(
        self,
        reads: Reads,
        directory: Directory,
        bus: Bus,
        *,
        remembers_unverified: bool = True,
    ) -> None:
        self._reads = reads
        self._ledger = reads.log
        self._directory = directory
        self._bus = bus
        self._remembers_unverified = remembers_unverified
        self._known: dict[str, _Known] = {}
        self._relying: dict[str, set[str]] = {}
        self._looking: dict[str, asyncio.Future[Access | None]] = {}
        self._forgot_at = 0.0
        self._starting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen for what is written, here and elsewhere."""
        self._ledger.listeners.append(self._written)
        self._starting = asyncio.create_task(self._bus.on(f"{self._bus.prefix}.{GROWN}", self._hear), name="keyring")

    async def close(self) -> None:
        """Stop looking."""
        if self._written in self._ledger.listeners:
            self._ledger.listeners.remove(self._written)
        for task in (self._starting, *self._looking.values()):
            if task is not None:
                task.cancel()
        await asyncio.gather(*self._looking.values(), return_exceptions=True)

    def known(self, digest: str) -> Access | None:
        """What a key or token is known to open without asking anybody: the answer to most requests."""
        known = self._known.get(digest)
        return known.access if known is not None and monotonic() - known.at < REMEMBER_SECONDS else None

    async def find(self, digest: str) -> Access | None:
        """What the key or token with this digest opens; None when nothing."""
        return await self._once(digest, lambda: self._look(digest))

    async def outsider(
        self, digest: str, identity_id: str, workspace_id: str | None, refused_id: str, expires_at: datetime
    ) -> Access | None:
        """What another service's token opens; None when nobody here is that identity, or the token was refused.

        `refused_id` is the session that the token would be, which is closed when somebody has signed out with it.
        """
        wish = f"{digest}/{workspace_id}"
        return await self._once(
            wish, lambda: self._look_outside(wish, identity_id, workspace_id, refused_id, expires_at)
        )

    def _written(self, _position: int, streams: Collection[str]) -> None:
        begins = remembered()
        for stream in streams:
            if stream.startswith(begins):
                self._drop(stream)

    async def _hear(self, data: bytes) -> None:
        self._drop(data.decode())

    def doubt(self, access: Access) -> None:
        """What this relies on has grown: look anew, whether or not a bell has told."""
        for stream, _ in access.relies_on:
            self._drop(stream)

    async def outdated(self, found: Iterable[Access]) -> set[str]:
        """The digests of those that rely on a stream that has grown since they were found, asked for in one query."""
        relying = list(found)
        streams = {stream for access in relying for stream, _ in access.relies_on}
        newest: dict[str, int] = dict(await self._reads.ask(_NEWEST, (sorted(streams),))) if streams else {}
        return {
            access.digest
            for access in relying
            if any((newest[stream] or 0) > position for stream, position in access.relies_on)
        }

    def _drop(self, stream: str) -> None:
        """Look anew at everything that relies on a stream."""
        # Whatever was asked before now is not remembered, and nobody new waits for its answer.
        self._forgot_at = monotonic()
        self._looking.clear()
        for wish in self._relying.pop(stream, ()):
            self._known.pop(wish, None)

    async def _once(self, wish: str, look: Callable[[], Coroutine[Any, Any, Access | None]]) -> Access | None:
        """What is remembered, or what one look finds for all who ask at the same time."""
        known = self._known.get(wish)
        if known is not None and monotonic() - known.at < REMEMBER_SECONDS:
            return known.access
        looking = self._looking.get(wish)
        if looking is None:
            looking = self._looking[wish] = asyncio.ensure_future(self._remembering(wish, look))
        return await asyncio.shield(looking)

    async def _remembering(self, wish: str, look: Callable[[], Coroutine[Any, Any, Access | None]]) -> Access | None:
        asked = monotonic()
        try:
            access = await look()
        finally:
            if self._looking.get(wish) is asyncio.current_task():
                del self._looking[wish]
        if len(self._known) >= REMEMBERED_MAX:
            self._known.clear()
            self._relying.clear()
        if access is None:
            self._known.pop(wish, None)
        elif asked > self._forgot_at and (access.verified or self._remembers_unverified):
            self._known[wish] = _Known(access, asked)
            for stream, _ in access.relies_on:
                self._relying.setdefault(stream, set()).add(wish)
        return access

    # --- keys and sessions of our own

    async def _look(self, digest: str) -> Access | None:
        found = await self._credential(digest)
        return await self._access(found[0], digest, found[1]) if found is not None else None

    async def _credential(self, digest: str) -> tuple[Credential, tuple[str, int]] | None:
        """A key nobody knows may have been made a moment ago: believe that only of a read model that is up to date."""

        async def look() -> Seen[tuple[Credential, tuple[str, int]] | None]:
            rows = await self._reads.ask(_FIND, (digest,))
            if not rows:
                raise ReadsUnavailable
            reached, head, position, body, stream, newest = rows[0]
            if body is None:
                return Seen(reached, head, None)
            credential: Any = json.decode(body, type=Credential)
            if position < newest:
                credential = await self._directory.caught_up(credentials, digest, stream, position, credential)
            return Seen(head, head, None if credential is None else (credential, (stream, newest)))

        try:
            return await self._reads.caught_up(look)
        except ReadsBehind as behind:
            raise ReadsUnavailable from behind

    async def _access(self, credential: Credential, digest: str, proof: tuple[str, int]) -> Access | None:
        """What somebody may do in a workspace right now: nothing if it is gone, or if they do not belong to it.

        `proof` is the stream of the credential, and the position of the newest event in it that was seen.
        """
        (workspace, workspace_at), (person, person_at) = await asyncio.gather(
            self._directory.standing(workspaces, credential.workspace_id),
            self._directory.standing(people, credential.person_id),
        )
        if workspace is None or workspace.forgotten:
            return None
        is_key = credential.kind == "api_key"
        role = None if is_key else workspace.members.get(credential.person_id)
        if not is_key and (role is None or person is None or person.forgotten):
            return None
        # Removed and invited again, somebody signs in again: what was open before was closed when they went.
        if credential.kind == "session" and credential.membership != workspace.memberships.get(credential.person_id, 1):
            return None
        return Access(
            credential=credential,
            digest=digest,
            role=role,
            email=person.email if person is not None else "",
            verified=person is not None and person.verified,
            tenancy=workspace.tenancy,
            relies_on=(
                proof,
                (workspace_streams.stream(credential.workspace_id), workspace_at),
                (person_streams.stream(credential.person_id), person_at),
            ),
        )

    # --- tokens of another service

    async def _look_outside(
        self, wish: str, identity_id: str, workspace_id: str | None, refused_id: str, expires_at: datetime
    ) -> Access | None:
        refused = sessions.stream(refused_id)
        if (await self._ledger.read(refused)).version:
            return None
        identity = await self._ledger.state(identities, identity_id)
        if identity.person_id is None:
            return None
        person = await self._directory.find(people, identity.person_id)
        if person is None or person.forgotten or not person.workspaces:
            return None
        credential = Credential(
            kind="outside",
            subject_id=refused_id,
            workspace_id=workspace_id or person.workspaces[0],
            person_id=person.person_id,
            expires_at=expires_at,
        )
        return await self._access(credential, wish.split("/", 1)[0], (refused, 0))


@provides
def keyring(reads: Reads, directory: Directory, bus: Bus, identity: Identity) -> Keyring:
    """Who may come in."""
    made = Keyring(
        reads,
        directory,
        bus,
        # Where an address must be proved, that it has been must count at once.
        remembers_unverified=not identity.email_verification_required,
    )
    made.start()
    return made
