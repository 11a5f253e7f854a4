"""Baskets, which are kept beside the log and put away when nobody comes back for them."""

from __future__ import annotations

from datetime import datetime

from adapters.postgres.retrying import Pool
from commands.sweeping import sweeps


@sweeps("baskets")
async def put_away(pool: Pool, before: datetime) -> int:
    """Put away what was left so long ago."""
    async with pool.connection() as connection:
        cursor = await connection.execute("DELETE FROM orchard_baskets WHERE left_at < %s", (before,))
        return cursor.rowcount
