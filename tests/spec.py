"""Rules as sentences on a scene: given what has happened, when somebody asks, then this follows (or it is refused)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from adapters.log.memory import MemoryLedger
from commands.kernel import Command
from domain.kernel import Event, Refusal
from domain.ledger import Context
from domain.vocabulary import categories
from tests.scene import Scene

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CONTEXT = Context(correlation_id=UUID(int=1), workspace_id="w1", actor="tester")


class Given:
    """Events that have happened, each in its stream."""

    def __init__(self, past: Sequence[tuple[str, Event]]) -> None:
        self._past = past

    def when(self, *wishes: Command, now: datetime = NOW) -> Asked:
        """Somebody asks, one wish after the other; the last one is what it is about."""
        return Asked(self._past, wishes, now)


class Asked:
    """What came of asking."""

    def __init__(self, past: Sequence[tuple[str, Event]], wishes: Sequence[Command], now: datetime) -> None:
        self.events, self.refusal = asyncio.run(_ask(past, wishes, now))

    def then(self, *expected: Event) -> None:
        """Exactly these facts follow, in this order; none: it was so already."""
        assert self.refusal is None, f"refused: {self.refusal!r}"
        assert list(self.events) == list(expected)

    def refused(self, refusal: type[Refusal], **facts: Any) -> None:
        """The rule says no, for this reason and with these particulars, and nothing follows."""
        assert type(self.refusal) is refusal, f"not {refusal.__name__} but {self.refusal!r} and {self.events}"
        assert {name: self.refusal.facts.get(name) for name in facts} == facts
        assert not self.events


def given(*events: Event | tuple[str, Event]) -> Given:
    """What has happened. An event belongs to the stream of the thing whose id is its first field.

    Where that does not say which stream, give it as a pair: `("email-1f3a", EmailClaimed(...))`.
    """
    return Given([each if isinstance(each, tuple) else (_stream_of(each), each) for each in events])


def _stream_of(event: Event) -> str:
    """The stream named after the module's one category, or the one whose name is in the first field's."""
    first = event.__struct_fields__[0]
    own = [category for category in categories().values() if category.evolve.__module__ == type(event).__module__]
    named = [category for category in own if category.name.replace("-", "_") == first.removesuffix("_id")] or own
    assert len(named) == 1, f"which stream does {type(event).__name__} belong to? Say it with a pair."
    return named[0].stream(getattr(event, first))


async def _ask(
    past: Sequence[tuple[str, Event]], wishes: Sequence[Command], now: datetime
) -> tuple[list[Event], Refusal | None]:
    scene = Scene(MemoryLedger(lambda: now), now=now, context=CONTEXT)
    for stream, event in past:
        scene.log.keep(stream, event, CONTEXT)
    try:
        for wish in wishes:
            await scene.when(wish)
    except Refusal as refusal:
        return scene.news, refusal
    return scene.news, None
