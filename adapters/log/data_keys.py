"""Data keys of people and workspaces: what seals their personal fields, and what is destroyed to forget them.

Each subject has a random 256-bit key, kept outside the ledger and wrapped with a key that is derived from the
server's secret. Destroying it makes every sealed field of that subject unreadable, in backups and replays too.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from psycopg import AsyncConnection, Connection
from psycopg.errors import ForeignKeyViolation
from psycopg.rows import TupleRow

from adapters.log.settings import Sealing
from adapters.postgres.retrying import RETRY_SECONDS, Pool, retrying
from adapters.provides import provides
from domain.kernel import PLAIN, Conflict, Unavailable

#: How long a process may go on using a key that another one has destroyed.
CACHE_SECONDS = 5.0

T = TypeVar("T")

SEALED = "sealed:v1:"
#: So many keys are wrapped anew in one transaction.
REWRAPPED_TOGETHER = 500
_ROTATING = 0x1ED6E5
_NONCE_BYTES = 12


class SubjectIsForgotten(Conflict):
    """This person or workspace has been erased for good and cannot be written about any more."""


class KeysUnavailable(Unavailable):
    """The keys of personal data cannot be reached at the moment. Try again shortly."""


class _Key(NamedTuple):
    cipher: AESGCM | None
    known_at: float


class Cipher:
    """AES-256-GCM over texts, bound to what they are about (`about` is authenticated, not stored)."""

    def __init__(self, secret: bytes, purpose: str) -> None:
        derived = HKDF(hashes.SHA256(), 32, salt=None, info=f"ledgerline {purpose}".encode()).derive(secret)
        self._cipher = AESGCM(derived)

    def wrap(self, data: bytes, about: str) -> bytes:
        """Nonce and ciphertext."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, about.encode())

    def unwrap(self, wrapped: bytes, about: str) -> bytes:
        """The data; raises InvalidTag when the secret or `about` is another one."""
        return self._cipher.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], about.encode())


class DataKeys:
    """Keys by subject, fetched many at a time and remembered for a few seconds."""

    def __init__(self, pool: Pool, secret: bytes, *, retry_seconds: float = 10.0) -> None:
        self._pool = pool
        self._secret = secret
        #: The keys that data keys are wrapped with, by their numbers: the highest wraps new ones.
        self._wrappings: dict[int, Cipher] = {}
        self._retry_seconds = retry_seconds
        self._known: dict[str, _Key] = {}

    async def ensure(self, subjects: set[str]) -> None:
        """See to it that these subjects have keys; raises SubjectIsForgotten for one whose key was destroyed."""
        if not subjects:
            return
        if missing := self._stale(subjects):
            fresh = [os.urandom(32) for _ in missing]

            async def make(connection: AsyncConnection[TupleRow]) -> None:
                if not self._wrappings:
                    await self._learn_wrappings(connection)
                newest = max(self._wrappings)
                wrapping = self._wrappings[newest]
                wrapped = [wrapping.wrap(key, subject) for key, subject in zip(fresh, missing, strict=True)]
                await connection.execute(
                    "INSERT INTO data_keys (subject, wrapped, wrapping) "
                    "SELECT *, %s FROM unnest(%s::text[], %s::bytea[]) ON CONFLICT (subject) DO NOTHING",
                    (newest, missing, wrapped),
                )

            try:
                await self._retrying(make)
            except ForeignKeyViolation:
                # Keys were rotated since we looked, and what we would wrap with has gone.
                self._wrappings = {}
                await self._retrying(make)
            await self.load(set(missing))
        if not all((key := self._known.get(subject)) and key.cipher for subject in subjects):
            raise SubjectIsForgotten

    async def load(self, subjects: set[str]) -> None:
        """Fetch the keys of these subjects, as far as they exist."""
        missing = self._stale(subjects)
        if not missing:
            return

        async def fetch(connection: AsyncConnection[TupleRow]) -> list[tuple[str, bytes | None]]:
            cursor = await connection.execute(
                "SELECT subject, wrapped, wrapping FROM data_keys WHERE subject = ANY(%s)",
                (missing,),
                prepare=True,
                binary=True,
            )
            found = await cursor.fetchall()
            if any(wrapping not in self._wrappings for _, _, wrapping in found):
                await self._learn_wrappings(connection)
                if any(wrapped and wrapping not in self._wrappings for _, wrapped, wrapping in found):
                    # Rotated between the two questions, and wrapped anew since.
                    return await fetch(connection)
            return [
                (subject, self._wrappings[wrapping].unwrap(wrapped, subject) if wrapped else None)
                for subject, wrapped, wrapping in found
            ]

        asked_at = monotonic()
        rows = await self._retrying(fetch)
        for subject in missing:
            self._known.pop(subject, None)
        for subject, key in rows:
            self._known[subject] = _Key(AESGCM(key) if key else None, asked_at)

    async def destroy(self, subject: str) -> None:
        """Erase a subject for good. The row stays, empty, so that no new key can take its place."""

        async def empty(connection: AsyncConnection[TupleRow]) -> None:
            await connection.execute(
                "INSERT INTO data_keys (subject, wrapped, wrapping, destroyed_at) "
                "VALUES (%s, NULL, (SELECT max(number) FROM wrapping_keys), now()) "
                "ON CONFLICT (subject) DO UPDATE SET wrapped = NULL, "
                "destroyed_at = coalesce(data_keys.destroyed_at, now())",
                (subject,),
            )

        await self._retrying(empty)
        self._known[subject] = _Key(None, monotonic())

    async def _learn_wrappings(self, connection: AsyncConnection[TupleRow]) -> None:
        cursor = await connection.execute("SELECT number, wrapped FROM wrapping_keys")
        self._wrappings = _wrappings(self._secret, await cursor.fetchall())

    async def _retrying(self, ask: Callable[[AsyncConnection[TupleRow]], Awaitable[T]]) -> T:
        return await retrying(self._pool, ask, seconds=self._retry_seconds, refusal=KeysUnavailable)

    def seal(self, subject: str, field: str, text: str) -> str:
        """The sealed form of a personal text; its subject's key must be loaded."""
        known = self._known.get(subject)
        if known is None or known.cipher is None:
            raise SubjectIsForgotten
        cipher = known.cipher
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + cipher.encrypt(nonce, text.encode(), f"{subject}/{field}".encode())
        return SEALED + base64.b64encode(sealed).decode()

    def unseal(self, subject: str, field: str, sealed: str) -> str | None:
        """The text, or None when its subject has been forgotten."""
        known = self._known.get(subject)
        if sealed.startswith(PLAIN):
            # Stored before such fields were sealed: to be read by all, until its subject has been forgotten.
            return sealed.removeprefix(PLAIN) if known is None or known.cipher is not None else None
        if known is None or known.cipher is None or not sealed.startswith(SEALED):
            return None
        data = base64.b64decode(sealed[len(SEALED) :])
        try:
            return known.cipher.decrypt(
                data[:_NONCE_BYTES], data[_NONCE_BYTES:], f"{subject}/{field}".encode()
            ).decode()
        except InvalidTag:
            # Sealed by another key than the one we hold: as unreadable as if there were none.
            return None

    def _stale(self, subjects: Iterable[str]) -> list[str]:
        oldest = monotonic() - CACHE_SECONDS
        if len(self._known) > 100_000:
            self._known = {subject: key for subject, key in self._known.items() if key.known_at >= oldest}
        return [subject for subject in subjects if (key := self._known.get(subject)) is None or key.known_at < oldest]


def _wrappings(secret: bytes, rows: Iterable[tuple[int, bytes | None]]) -> dict[int, Cipher]:
    """What data keys are wrapped with: the first follows from the secret, the others are wrapped with one that does."""
    outer = Cipher(secret, "wrapping keys")
    return {
        number: Cipher(secret if wrapped is None else outer.unwrap(bytes(wrapped), str(number)), "data keys")
        for number, wrapped in rows
    }


def export_keys(connection: Connection[Any], secret: bytes) -> dict[str, str | None]:
    """The data key of every subject in base64, for a backup that encrypts them; null: destroyed for good."""
    wrappings = _wrappings(secret, connection.execute("SELECT number, wrapped FROM wrapping_keys").fetchall())
    rows = connection.execute("SELECT subject, wrapped, wrapping FROM data_keys").fetchall()
    return {
        subject: None
        if wrapped is None
        else base64.b64encode(wrappings[number].unwrap(bytes(wrapped), subject)).decode()
        for subject, wrapped, number in rows
    }


def rotate(connection: Connection[Any], secret: bytes, tell: Callable[[int, int], None] = lambda *_: None) -> int:
    """Wrap every data key anew, with a key that is made for it, and destroy those before; how many there were.

    Everybody goes on meanwhile: who would wrap with a key that has gone is refused by the database, and looks again.
    A second rotation at the same time waits for the first. `connection` commits by itself.
    """
    connection.execute("SELECT pg_advisory_lock(%s)", (_ROTATING,))
    rows = connection.execute("SELECT number, wrapped FROM wrapping_keys").fetchall()
    number = max(row[0] for row in rows) + 1
    made = os.urandom(32)
    connection.execute(
        "INSERT INTO wrapping_keys (number, wrapped) VALUES (%s, %s)",
        (number, Cipher(secret, "wrapping keys").wrap(made, str(number))),
    )
    wrappings = _wrappings(secret, rows)
    newest = Cipher(made, "data keys")
    [(total,)] = connection.execute("SELECT count(*) FROM data_keys").fetchall()
    done = 0
    while True:
        with connection.transaction():
            old = connection.execute(
                "SELECT subject, wrapped, wrapping FROM data_keys WHERE wrapping <> %s LIMIT %s FOR UPDATE",
                (number, REWRAPPED_TOGETHER),
            ).fetchall()
            again = [
                None if wrapped is None else newest.wrap(wrappings[by].unwrap(bytes(wrapped), subject), subject)
                for subject, wrapped, by in old
            ]
            connection.execute(
                "UPDATE data_keys k SET wrapped = n.wrapped, wrapping = %s "
                "FROM unnest(%s::text[], %s::bytea[]) AS n(subject, wrapped) WHERE k.subject = n.subject",
                (number, [subject for subject, _, _ in old], again),
            )
        done += len(old)
        tell(done, max(total, done))
        if not old:
            try:
                connection.execute("DELETE FROM wrapping_keys WHERE number <> %s", (number,))
            except ForeignKeyViolation:
                continue  # somebody has just used an old one
            return done


@provides
def data_keys(pool: Pool, settings: Sealing) -> DataKeys:
    """The keys that seal personal fields, sealed themselves with the server's secret."""
    return DataKeys(pool, settings.secret_key.reveal().encode(), retry_seconds=RETRY_SECONDS)
