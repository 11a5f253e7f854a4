"""What is removed now and then: what was kept beside the log and is named by no event, since a process died in between.

A context declares it; who keeps time does it, every half hour.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, get_type_hints

from commands.kernel import Reaction, reacts_to
from commands.ports import Blobs
from domain.keeping import EARLIEST
from domain.kernel import Value

#: What was kept for ever is looked at as long as this; each look would take longer and longer otherwise.
LOOKED_BACK = timedelta(days=8)


class Sweep(Value):
    """Removes what is older than a moment and not named, and says how much it was."""

    name: str
    handler: Callable[[Any, datetime], Awaitable[int]]

    @property
    def ports(self) -> type[Any]:
        """What the handler asks for: the type of its first parameter, which whoever runs it makes."""
        ports, *_ = get_type_hints(self.handler).values()
        found: type[Any] = ports
        return found


#: Every sweep by its name.
SWEEPS: dict[str, Sweep] = {}


def sweeps(name: str) -> Callable[[Callable[[Any, datetime], Awaitable[int]]], Sweep]:
    """Register what removes what was left behind."""

    def register(handler: Callable[[Any, datetime], Awaitable[int]]) -> Sweep:
        assert name not in SWEEPS, f"two sweeps are called {name}"
        SWEEPS[name] = Sweep(name=name, handler=handler)
        return SWEEPS[name]

    return register


def once_more(reaction: Reaction, name: str) -> Reaction:
    """Forget a workspace once more when nothing can be on its way to it: what came meanwhile, nobody names."""
    register = reacts_to(
        *reaction.kinds, name=name, queue=reaction.queue, due=lambda forgotten: forgotten.stragglers_until
    )
    return register(reaction.handler)


async def delete_below(blobs: Blobs, prefix: str) -> None:
    """Delete all objects whose keys begin like this."""
    async for stored in blobs.list(prefix):
        await blobs.delete(stored.key)


async def sweep_objects(
    blobs: Blobs,
    prefix: str,
    before: datetime,
    is_named: Callable[[Sequence[str]], Awaitable[bool]],
    *,
    after: datetime = EARLIEST,
) -> int:
    """Delete objects that were stored between two moments and are not named, given what is between the slashes."""
    swept = 0
    async for stored in blobs.list(prefix):
        if after < stored.modified_at <= before and not await is_named(stored.key.split("/")):
            await blobs.delete(stored.key)
            swept += 1
    return swept
