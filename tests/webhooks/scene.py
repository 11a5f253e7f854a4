"""A small world in memory for rules and reactions: a log, a clock, other people's servers, a postbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from msgspec import json

from adapters.identity.vault import Vault
from adapters.storage.memory import MemoryBlobs
from adapters.web.memory import MemoryOutbound
from commands.kernel import Command, Reaction, execute
from commands.ports import World
from domain.analyses.findings import Analysis, Detail, Findings
from domain.kernel import Category, Event, Refusal
from domain.ledger import Change, Context, History, Recorded, StaleVersion
from domain.vocabulary import name_of
from infra.settings import Settings

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
WORKSPACE = "workspace-1"

R = TypeVar("R", bound=Refusal)


class MemoryLog:
    """Streams in a dictionary, with the ledger's one rule: nobody writes over what they have not read."""

    def __init__(self) -> None:
        self.recorded: list[Recorded] = []

    async def read(self, stream: str) -> History:
        """All events of a stream, oldest first."""
        events = [each.event for each in self.recorded if each.stream == stream]
        return History(events=events, version=len(events))

    async def last(self, stream: str) -> History:
        """The last event of a stream."""
        history = await self.read(stream)
        return History(events=history.events[-1:], version=history.version)

    async def append(self, changes: Sequence[Change], context: Context) -> int:
        """Write all changes or none."""
        for change in changes:
            if (await self.read(change.stream)).version != change.after:
                raise StaleVersion(change.stream)
        for change in changes:
            for version, event in enumerate(change.events, change.after + 1):
                self.put(change.stream, version, event, context)
        return len(self.recorded)

    def put(self, stream: str, version: int, event: Event, context: Context) -> Recorded:
        """Write one event down."""
        recorded = Recorded(
            position=len(self.recorded) + 1,
            stream=stream,
            version=version,
            event_id=uuid4(),
            name=name_of(type(event)),
            schema_version=1,
            recorded_at=NOON,
            workspace_id=context.workspace_id,
            actor=context.actor,
            correlation_id=context.correlation_id,
            causation_id=context.causation_id,
            event=event,
        )
        self.recorded.append(recorded)
        return recorded


class Letters:
    """A postbox; a letter that comes twice under one id is one letter."""

    def __init__(self) -> None:
        self.sent: dict[str | None, tuple[str, str, str]] = {}

    async def send(self, to: str, subject: str, text: str, *, letter_id: str | None = None) -> None:
        """Keep it."""
        self.sent[letter_id] = (to, subject, text)


class Notes:
    """What is written into the log of the process; put it in the place of a module's `log`."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def info(self, event: str, **facts: Any) -> None:
        """Keep it."""
        self.lines.append({"event": event, **facts})


class Ears:
    """Hears the same in everything."""

    async def listen(self, path: Path) -> Analysis:
        """Two seconds of something."""
        return Analysis(findings=Findings(duration_seconds=2.0), detail=Detail())


@dataclass
class Scene:
    """Given what has happened, when something is wished or follows, then this is written down."""

    log: MemoryLog = field(default_factory=MemoryLog)
    web: MemoryOutbound = field(default_factory=MemoryOutbound)
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    letters: Letters = field(default_factory=Letters)
    vault: Vault = field(default_factory=lambda: Vault(b"a secret of the tests" * 2))
    ears: Any = field(default_factory=Ears)
    payments: Any = None
    now: datetime = NOON
    settings: dict[str, Any] = field(default_factory=dict)
    context: Context = field(
        default_factory=lambda: Context(correlation_id=UUID(int=7), workspace_id=WORKSPACE, actor="person:ada")
    )
    _seen: int = 0

    def given(self, category: Category[Any], identity: str, *events: Event) -> Recorded:
        """These have happened; returns the last one."""
        stream = category.stream(identity)
        version = sum(1 for each in self.log.recorded if each.stream == stream)
        for number, event in enumerate(events, version + 1):
            last = self.log.put(stream, number, event, self.context)
        self._seen = len(self.log.recorded)
        return last

    async def when(self, command: Command) -> Scene:
        """This is wished."""
        self._seen = len(self.log.recorded)
        await execute(command, self.log, self.now, self.context)
        return self

    def then(self, *events: Event) -> Scene:
        """These are written down, and nothing else."""
        assert [each.event for each in self.log.recorded[self._seen :]] == list(events)
        return self

    @property
    def news(self) -> list[Event]:
        """What was written down last."""
        return [each.event for each in self.log.recorded[self._seen :]]

    async def refused(self, command: Command, refusal: type[R]) -> R:
        """This is wished, and refused; nothing is written down."""
        before = len(self.log.recorded)
        with pytest.raises(refusal) as found:
            await execute(command, self.log, self.now, self.context)
        assert len(self.log.recorded) == before
        return found.value

    async def follows(self, reaction: Reaction, recorded: Recorded) -> Scene:
        """What follows from an event, done."""
        assert reaction.concerns(recorded.event)
        self._seen = len(self.log.recorded)
        await reaction.handler(recorded, self.world)
        return self

    def last(self, kind: type[Event]) -> Recorded:
        """The newest event of a kind."""
        return next(each for each in reversed(self.log.recorded) if isinstance(each.event, kind))

    def later(self, **time: float) -> Scene:
        """Time passes."""
        self.now += timedelta(**time)
        return self

    @property
    def world(self) -> World:
        """Everything reactions reach for, in memory."""

        async def body(analysis_id: str) -> bytes:
            return json.encode({"job_id": analysis_id})

        async def platform_body(analysis_id: str) -> bytes:
            return json.encode({"id": analysis_id})

        async def draw(findings: Findings, detail: bytes) -> Mapping[str, bytes]:
            return {"overview.png": b"picture of " + detail}

        return World(
            log=self.log,
            now=lambda: self.now,
            blobs=self.blobs,
            web=self.web,
            ears=self.ears,
            mail=self.letters,
            secrets=self.vault,
            limits=Settings(**self.settings),
            chance=lambda: 0.0,
            analysis_body=body,
            platform_body=platform_body,
            draw=draw,
            directory=None,  # type: ignore[arg-type]  # nothing here looks anybody up
            payments=self.payments,
        )
