"""How blocking work leaves the event loop and comes back, also when the one who waits for it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import ParamSpec, TypeVar
from weakref import WeakValueDictionary

P = ParamSpec("P")
T = TypeVar("T")


async def run_in(pool: Executor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run the function in the pool; a cancelled caller still waits for a call that has begun.

    The call may be holding a file or a socket that the caller closes on its way out, and a thread cannot be stopped.
    A call that is still queued is dropped at once.
    """
    submitted = pool.submit(function, *args, **kwargs)
    outcome = asyncio.wrap_future(submitted)
    try:
        return await asyncio.shield(outcome)
    except asyncio.CancelledError:
        if not submitted.cancel():
            await _finished(outcome)
        raise


class Turns:
    """Threads for work that takes long, one for each holder at a time: whoever brings much waits for themselves."""

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def run(self, holder: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the function when it is the holder's turn; a cancelled caller waits as `run_in` says."""
        turn = self._turns.setdefault(holder, asyncio.Lock())
        async with turn:
            return await run_in(self._pool, function, *args, **kwargs)


async def _finished(outcome: asyncio.Future[T]) -> None:
    while not outcome.done():
        try:
            await asyncio.wait({outcome})
        except asyncio.CancelledError:  # the caller is on its way out already
            continue
    if not outcome.cancelled():
        outcome.exception()  # asked for, so that nobody logs it as never retrieved
