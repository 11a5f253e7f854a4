"""Places for what is expensive, one at a time for each holder: whoever asks much waits for themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

from domain.kernel import Unavailable


class Places:
    """So many at once in a process."""

    def __init__(self, count: int) -> None:
        self._places = asyncio.Semaphore(count)
        #: The line of each holder in which those that are asked for wait.
        self._lines: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def place(self, holder: str, seconds_max: float, refusal: type[Unavailable]) -> AsyncIterator[None]:
        """A place, when it is the holder's turn; raises `refusal` where it does not come within so many seconds."""
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(seconds_max):
                    await held.enter_async_context(self._lines.setdefault(holder, asyncio.Lock()))
                    await held.enter_async_context(self._places)
            except TimeoutError:
                raise refusal from None
            yield
