"""Changes to one licence one after the other, so that a crowd before one code does not decide everything twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Turns:
    """Queues by id, in this process; what other processes do meanwhile the append finds out."""

    _locks: dict[str, tuple[asyncio.Lock, list[None]]] = field(default_factory=dict, init=False)

    @asynccontextmanager
    async def of(self, identity: str) -> AsyncIterator[None]:
        """Wait for one's turn, and have it."""
        lock, waiting = self._locks.setdefault(identity, (asyncio.Lock(), []))
        waiting.append(None)
        try:
            async with lock:
                yield
        finally:
            waiting.pop()
            if not waiting:
                del self._locks[identity]
