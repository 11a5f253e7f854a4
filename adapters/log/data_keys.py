"""Data keys of people and workspaces: what seals their personal fields, and what is destroyed to forget them.

Each subject has a random 256-bit key, kept outside the ledger and wrapped with a key that is derived from the
server's secret. Destroying it makes every sealed field of that subject unreadable, in backups and replays too.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic
from typing import NamedTuple, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from adapters.identity.settings import Sealing
from adapters.postgres.retrying import RETRY_SECONDS, Pool, retrying
from adapters.provides import provides
from domain.kernel import PLAIN, Conflict, Unavailable

#: How long a process may go on using a key that another one has destroyed.
CACHE_SECONDS = 5.0

T = TypeVar("T")

SEALED = "sealed:v1:"
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
        self._wrapping = Cipher(secret, "data keys")
        self._retry_seconds = retry_seconds
        self._known: dict[str, _Key] = {}

    async def ensure(self, subjects: set[str]) -> None:
        """See to it that these subjects have keys; raises SubjectIsForgotten for one whose key was destroyed."""
        if not subjects:
            return
        if missing := self._stale(subjects):
            fresh = [self._wrapping.wrap(os.urandom(32), subject) for subject in missing]

            async def make(connection: AsyncConnection[TupleRow]) -> None:
                await connection.execute(
                    "INSERT INTO data_keys (subject, wrapped) SELECT * FROM unnest(%s::text[], %s::bytea[]) "
                    "ON CONFLICT (subject) DO NOTHING",
                    (missing, fresh),
                )

            await self._patiently(make)
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
                "SELECT subject, wrapped FROM data_keys WHERE subject = ANY(%s)", (missing,), prepare=True, binary=True
            )
            return [(row[0], row[1]) for row in await cursor.fetchall()]

        asked_at = monotonic()
        rows = await self._patiently(fetch)
        for subject in missing:
            self._known.pop(subject, None)
        for subject, wrapped in rows:
            cipher = AESGCM(self._wrapping.unwrap(wrapped, subject)) if wrapped else None
            self._known[subject] = _Key(cipher, asked_at)

    async def destroy(self, subject: str) -> None:
        """Erase a subject for good. The row stays, empty, so that no new key can take its place."""

        async def empty(connection: AsyncConnection[TupleRow]) -> None:
            await connection.execute(
                "INSERT INTO data_keys (subject, wrapped, destroyed_at) VALUES (%s, NULL, now()) "
                "ON CONFLICT (subject) DO UPDATE SET wrapped = NULL, "
                "destroyed_at = coalesce(data_keys.destroyed_at, now())",
                (subject,),
            )

        await self._patiently(empty)
        self._known[subject] = _Key(None, monotonic())

    async def _patiently(self, ask: Callable[[AsyncConnection[TupleRow]], Awaitable[T]]) -> T:
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


@provides
def data_keys(pool: Pool, settings: Sealing) -> DataKeys:
    """The keys that seal personal fields, sealed themselves with the server's secret."""
    return DataKeys(pool, settings.secret_key.reveal().encode(), retry_seconds=RETRY_SECONDS)
