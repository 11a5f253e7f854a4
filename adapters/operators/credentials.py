"""The operator's own credential: a token that no workspace has anything to do with, kept here as a digest only."""

from __future__ import annotations

from datetime import timedelta

from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow

from adapters import secrets
from adapters.postgres.retrying import RETRY_SECONDS, Pool, retrying
from adapters.provides import provides
from domain.kernel import Unavailable

#: What tokens of operators begin with, so that scanners and our own logs recognise them.
PREFIX = "bzo_"
TOKEN_LENGTH_MAX = 256
#: The file of the data directory of `up` that has it.
OPERATOR_TOKEN = "operator_token"  # noqa: S105 - a name


class OperatorsUnavailable(Unavailable):
    """Whether this token is an operator's cannot be looked up at the moment. Try again shortly."""


class Operators:
    """Knows the tokens of operators."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def knows(self, token: str) -> bool:
        """Whether this is an operator's token now."""
        if not token.startswith(PREFIX) or len(token) > TOKEN_LENGTH_MAX:
            return False

        async def ask(connection: AsyncConnection[TupleRow]) -> bool:
            return await _is_known(connection, token)

        return await retrying(self._pool, ask, seconds=RETRY_SECONDS, refusal=OperatorsUnavailable)


def new_token() -> str:
    """A token of 256 random bits."""
    return secrets.new_api_key(PREFIX)


async def rotate(
    connection: AsyncConnection[TupleRow], token: str, *, grace: timedelta = timedelta(), asked_with: str | None = None
) -> bool:
    """From now on it is this token; those before it are good for so long still.

    Whether it is: not where `asked_with` is no operator's token any more, since another rotation came before this one.
    """
    async with connection.transaction():
        # Two rotations in the same moment would not see each other's token, and both would be good from then on.
        await connection.execute("LOCK TABLE operator_credentials IN SHARE ROW EXCLUSIVE MODE")
        if asked_with is not None and not await _is_known(connection, asked_with):
            return False
        await connection.execute("UPDATE operator_credentials SET expires_at = least(expires_at, now() + %s)", (grace,))
        await connection.execute("DELETE FROM operator_credentials WHERE expires_at <= now()")
        await connection.execute("INSERT INTO operator_credentials (digest) VALUES (%s)", (secrets.digest(token),))
    return True


async def _is_known(connection: AsyncConnection[TupleRow], token: str) -> bool:
    cursor = await connection.execute(
        "SELECT FROM operator_credentials WHERE digest = %s AND (expires_at IS NULL OR expires_at > now())",
        (secrets.digest(token),),
    )
    return await cursor.fetchone() is not None


def begin(connection: Connection[TupleRow], token: str) -> bool:
    """Take this token where there is none at all yet; whether it is one now."""
    digest = secrets.digest(token)
    connection.execute(
        "INSERT INTO operator_credentials (digest) SELECT %s WHERE NOT EXISTS (SELECT FROM operator_credentials)",
        (digest,),
    )
    return connection.execute("SELECT FROM operator_credentials WHERE digest = %s", (digest,)).fetchone() is not None


@provides
def operators(pool: Pool) -> Operators:
    """Who knows the tokens of operators."""
    return Operators(pool)
