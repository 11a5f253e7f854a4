"""Cookies under two keys: each workspace has one of its own, which is wrapped with a master key of the server.

AES-256-GCM both times. What is sealed is bound to its workspace and profile, so that no row can stand for another; a
master key is replaced by wrapping the workspaces' keys anew, without touching what they seal.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime

from cryptography.exceptions import InvalidTag
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from adapters.catalogue.settings import Cookies
from adapters.log.data_keys import Cipher, KeysUnavailable
from adapters.postgres.retrying import RETRY_SECONDS, Pool, retrying
from adapters.provides import provides
from commands.catalogue.ports import CookieJars
from domain.catalogue.browser_profiles import EncryptionNotConfigured, NoSuchBrowserProfile

Connection = AsyncConnection[TupleRow]
_PURPOSE = "browser profiles"


class SealedCookies(CookieJars):
    """Keeps cookies so that only whoever holds a master key and the database can read them."""

    def __init__(self, pool: Pool, keys: Mapping[str, bytes]) -> None:
        self._pool = pool
        self._masters = {name: Cipher(key, _PURPOSE) for name, key in keys.items()}

    @property
    def is_configured(self) -> bool:
        """Whether there is a master key."""
        return bool(self._masters)

    async def keep(self, workspace_id: str, cookies: bytes) -> int:
        """Seal cookies and keep them: the id of the profile. Raises EncryptionNotConfigured."""
        key = Cipher(await self._key(workspace_id), _PURPOSE)

        async def write(connection: Connection) -> int:
            [profile_id] = await (await connection.execute("SELECT nextval('browser_profile_ids')")).fetchone() or [0]
            sealed = key.wrap(cookies, _about(workspace_id, profile_id))
            await connection.execute(
                "INSERT INTO browser_profiles (profile_id, workspace_id, sealed) VALUES (%s, %s, %s)",
                (profile_id, workspace_id, sealed),
            )
            return int(profile_id)

        return await retrying(self._pool, write, seconds=RETRY_SECONDS, refusal=KeysUnavailable)

    async def open(self, workspace_id: str, profile_id: int) -> bytes:
        """The cookies of a profile, for whoever has written down that they use them; NoSuchBrowserProfile."""

        async def read(connection: Connection) -> bytes | None:
            cursor = await connection.execute(
                "SELECT sealed FROM browser_profiles WHERE profile_id = %s AND workspace_id = %s",
                (profile_id, workspace_id),
            )
            row = await cursor.fetchone()
            return None if row is None else bytes(row[0])

        sealed = await retrying(self._pool, read, seconds=RETRY_SECONDS, refusal=KeysUnavailable)
        if sealed is None:
            raise NoSuchBrowserProfile
        try:
            return Cipher(await self._key(workspace_id), _PURPOSE).unwrap(sealed, _about(workspace_id, profile_id))
        except InvalidTag as problem:
            raise EncryptionNotConfigured from problem

    async def forget(self, workspace_id: str, profile_id: int | None = None) -> None:
        """Delete a profile's cookies, or those of all profiles and the key that opened them."""

        async def delete(connection: Connection) -> None:
            async with connection.transaction():
                await connection.execute(
                    "DELETE FROM browser_profiles WHERE workspace_id = %s AND (%s::bigint IS NULL OR profile_id = %s)",
                    (workspace_id, profile_id, profile_id),
                )
                if profile_id is None:
                    await connection.execute(
                        "DELETE FROM browser_profile_keys WHERE workspace_id = %s", (workspace_id,)
                    )

        await retrying(self._pool, delete, seconds=RETRY_SECONDS, refusal=KeysUnavailable)

    async def kept(self, before: datetime) -> list[tuple[str, int]]:
        """The workspaces and profiles of which cookies were kept before a moment."""

        async def read(connection: Connection) -> list[tuple[str, int]]:
            cursor = await connection.execute(
                "SELECT workspace_id, profile_id FROM browser_profiles WHERE kept_at <= %s", (before,)
            )
            return [(row[0], int(row[1])) for row in await cursor.fetchall()]

        return await retrying(self._pool, read, seconds=RETRY_SECONDS, refusal=KeysUnavailable)

    async def of(self, workspace_id: str) -> list[int]:
        """The profiles that a workspace has cookies of."""

        async def read(connection: Connection) -> list[int]:
            cursor = await connection.execute(
                "SELECT profile_id FROM browser_profiles WHERE workspace_id = %s", (workspace_id,)
            )
            return [int(row[0]) for row in await cursor.fetchall()]

        return await retrying(self._pool, read, seconds=RETRY_SECONDS, refusal=KeysUnavailable)

    async def rewrap(self) -> int:
        """Wrap every workspace's key with the newest master key; how many were not."""
        newest = self._newest()

        async def read(connection: Connection) -> list[str]:
            cursor = await connection.execute(
                "SELECT workspace_id FROM browser_profile_keys WHERE master_key <> %s", (newest,)
            )
            return [row[0] for row in await cursor.fetchall()]

        found = await retrying(self._pool, read, seconds=RETRY_SECONDS, refusal=KeysUnavailable)
        for workspace_id in found:
            await self._key(workspace_id)
        return len(found)

    def _newest(self) -> str:
        if not self._masters:
            raise EncryptionNotConfigured(retry_after_seconds=3600)
        return next(iter(self._masters))

    async def _key(self, workspace_id: str) -> bytes:
        """The key of a workspace, made on first use, and wrapped with the newest master key from now on."""
        newest = self._newest()
        fresh = self._masters[newest].wrap(os.urandom(32), workspace_id)

        async def read(connection: Connection) -> tuple[str, bytes]:
            await connection.execute(
                "INSERT INTO browser_profile_keys VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (workspace_id, newest, fresh),
            )
            cursor = await connection.execute(
                "SELECT master_key, wrapped FROM browser_profile_keys WHERE workspace_id = %s", (workspace_id,)
            )
            row = await cursor.fetchone()
            assert row is not None
            return row[0], bytes(row[1])

        name, wrapped = await retrying(self._pool, read, seconds=RETRY_SECONDS, refusal=KeysUnavailable)
        if name not in self._masters:
            raise EncryptionNotConfigured(retry_after_seconds=3600)
        try:
            key = self._masters[name].unwrap(wrapped, workspace_id)
        except InvalidTag as problem:
            raise EncryptionNotConfigured(retry_after_seconds=3600) from problem
        if name != newest:
            again = self._masters[newest].wrap(key, workspace_id)

            async def write(connection: Connection) -> None:
                await connection.execute(
                    "UPDATE browser_profile_keys SET master_key = %s, wrapped = %s "
                    "WHERE workspace_id = %s AND master_key = %s",
                    (newest, again, workspace_id, name),
                )

            await retrying(self._pool, write, seconds=RETRY_SECONDS, refusal=KeysUnavailable)
        return key


def _about(workspace_id: str, profile_id: int) -> str:
    return f"{workspace_id}/{profile_id}"


@provides
def cookies(pool: Pool, settings: Cookies) -> SealedCookies:
    """What keeps cookies."""
    return SealedCookies(pool, settings.keys())
