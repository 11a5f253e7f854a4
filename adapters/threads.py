"""How blocking work leaves the event loop and comes back, also when the one who waits for it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

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


async def _finished(outcome: asyncio.Future[T]) -> None:
    while not outcome.done():
        try:
            await asyncio.wait({outcome})
        except asyncio.CancelledError:  # the caller is on its way out already
            continue
    if not outcome.cancelled():
        outcome.exception()  # asked for, so that nobody logs it as never retrieved
