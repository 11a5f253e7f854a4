"""Tells at the start whether the server's secret key is the one that the database was set up with."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from psycopg import AsyncConnection, OperationalError
from psycopg.errors import UndefinedColumn, UndefinedTable
from psycopg.rows import TupleRow

from adapters.log.data_keys import Cipher
from adapters.log.settings import Sealing
from adapters.postgres.settings import Postgres
from adapters.provides import provides
from domain.sections import CannotStart

_WORD = b"canary"


class WrongSecretKey(CannotStart):
    """The secret key is not the one that this database was set up with."""

    def __init__(self) -> None:
        super().__init__(
            "LEDGERLINE_SECRET_KEY is not the key that this database was set up with, so nothing that is sealed in it "
            "could be read. Give it that key; `up` keeps its own in the file secret_key of its data directory."
        )


class Canary:
    """A word in the database that only the right key opens; it is sealed there by whoever comes first."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = Cipher(secret, "canary")
        self._data_keys = Cipher(secret, "data keys")
        self._is_right = False

    async def admit(self, connection: AsyncConnection[TupleRow]) -> None:
        """Do nothing more once the key has proved right. Raises WrongSecretKey.

        A database that is yet to be migrated is admitted, and asked again by the next connection.
        """
        if self._is_right:
            return
        try:
            sealed = await self._sealed(connection)
        except (UndefinedTable, UndefinedColumn):
            return
        try:
            self._is_right = self._cipher.unwrap(sealed, "canary") == _WORD
        except InvalidTag as problem:
            raise WrongSecretKey from problem

    async def _sealed(self, connection: AsyncConnection[TupleRow]) -> bytes:
        row = await (await connection.execute("SELECT sealed FROM secret_canary")).fetchone()
        if row is None:
            await self._refuse_keys_of_another(connection)
            await connection.execute(
                "INSERT INTO secret_canary (sealed) VALUES (%s) ON CONFLICT DO NOTHING",
                (self._cipher.wrap(_WORD, "canary"),),
            )
            # Somebody else may have been quicker, and then it is their key that counts.
            row = await (await connection.execute("SELECT sealed FROM secret_canary")).fetchone()
        assert row is not None
        return bytes(row[0])

    async def _refuse_keys_of_another(self, connection: AsyncConnection[TupleRow]) -> None:
        """A database from before there was a canary has data keys, and they tell as much."""
        cursor = await connection.execute(
            "SELECT subject, wrapped FROM data_keys WHERE wrapped IS NOT NULL AND wrapping = 0 LIMIT 1"
        )
        if (row := await cursor.fetchone()) is not None:
            try:
                self._data_keys.unwrap(bytes(row[1]), row[0])
            except InvalidTag as problem:
                raise WrongSecretKey from problem


async def check_secret(postgres_url: str, secret: bytes) -> Canary:
    """A canary that has admitted the database now. Raises WrongSecretKey, and psycopg's errors where it is away."""
    canary = Canary(secret)
    async with await AsyncConnection.connect(postgres_url, autocommit=True, connect_timeout=3) as connection:
        await canary.admit(connection)
    return canary


@provides
async def canary(postgres: Postgres, sealing: Sealing) -> Canary:
    """One that has admitted the database, or will admit it when it is there. Raises WrongSecretKey."""
    secret = sealing.secret_key.reveal().encode()
    try:
        return await check_secret(postgres.postgres_url, secret)
    except OperationalError:
        return Canary(secret)
