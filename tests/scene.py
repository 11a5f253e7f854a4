"""A small world in memory for rules and reactions: a log, a clock, other people's servers, a postbox."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest

from adapters.log import codec
from adapters.log.memory import UNSEALED, MemoryLedger
from adapters.log.recorder import StoredRow
from adapters.published import Envelopes
from adapters.storage.memory import MemoryBlobs
from adapters.vault import Vault
from adapters.web.memory import MemoryOutbound
from commands.analyses.ports import Artist
from commands.analyses.ports import Ears as Listens
from commands.beats.ports import (
    Band,
    Declined,
    MusicProvider,
    Outcome,
    PlayedFile,
    PlayedTrack,
    RemoteTrack,
    Task,
    Tell,
)
from commands.identity.ports import Secrets
from commands.kernel import Chance, Command, Log, Now, Reaction, execute
from commands.ports import Blobs, Letter, Post, Published, PublishedEvent, Web
from commands.webhooks.ports import SigningSecrets
from domain.analyses.findings import Analysis, Detail, Findings
from domain.beats.beats import Brief
from domain.kernel import Category, Event, Refusal
from domain.ledger import Context, Recorded
from domain.published import by_stored_name
from infra.container import Container
from infra.settings import Settings

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
WORKSPACE = "workspace-1"

R = TypeVar("R", bound=Refusal)
T = TypeVar("T")


class Letters:
    """A postbox; a letter that comes twice under one id is one letter."""

    def __init__(self) -> None:
        self.sent: dict[str, Letter] = {}

    async def send(self, letter: Letter) -> None:
        """Keep it."""
        self.sent[letter.letter_id] = letter


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


class Painter:
    """Draws the detail it is shown."""

    async def draw(self, findings: Findings, detail: bytes) -> Mapping[str, bytes]:
        """One picture."""
        return {"overview.png": b"picture of " + detail}


class Players:
    """Play three bytes of anything, at once."""

    async def play(self, brief: Brief, track: int, folder: Path, tell: Tell) -> PlayedTrack:
        """One file."""
        del brief
        await tell("composing")
        await asyncio.to_thread((folder / "audio.mp3").write_bytes, b"mp3")
        file = PlayedFile(kind="audio", name="audio.mp3", ending=".mp3", content_type="audio/mpeg")
        return PlayedTrack(
            title=f"Take {track}",
            model_name="players",
            bpm=85,
            musical_key="C Major",
            duration_seconds=20.0,
            files=(file,),
        )

    async def stems(self, score: Path, folder: Path) -> Sequence[str]:
        """One part."""
        await asyncio.to_thread(shutil.copy, score, folder / "drums.wav")
        return ("drums",)

    async def to_wav(self, path: Path) -> AsyncIterator[bytes]:
        """What there is."""
        yield await asyncio.to_thread(path.read_bytes)


class Label:
    """A provider that has two tracks for every task."""

    async def submit(self, task: Task) -> str:
        """It takes everything."""
        return f"task of {task.generation_id}"

    async def look(self, task_id: str) -> Outcome:
        """All is there."""
        track = RemoteTrack(
            audio_id=task_id,
            audio_url="https://example.com/a.mp3",
            image_url=None,
            stream_url=None,
            model_name="label",
            duration_seconds=20.0,
        )
        return Outcome(status="done", tracks=(track, track))

    async def wav(self, task_id: str, audio_id: str) -> str:
        """None of them."""
        raise Declined(f"There is no WAV of {task_id}/{audio_id}.")


def stored(recorded: Recorded) -> StoredRow:
    """An event as its row in Postgres."""
    return (
        recorded.position,
        recorded.stream,
        recorded.version,
        recorded.event_id,
        recorded.name,
        recorded.schema_version,
        recorded.recorded_at,
        recorded.workspace_id,
        recorded.actor,
        recorded.correlation_id,
        recorded.causation_id,
        codec.encode(recorded.event, UNSEALED),
        recorded.traceparent,
    )


class PublishedLog(Published):
    """The published events of a log in memory."""

    def __init__(self, log: MemoryLedger) -> None:
        self._log = log
        self.envelopes = Envelopes("https://ledger.example")

    async def at(self, position: int) -> PublishedEvent | None:
        """The one at a position."""
        return next(iter(self._told(self._log.all[position - 1 : position])), None)

    async def between(
        self, workspace_id: str, after: int, until: int, types: Sequence[str], limit: int
    ) -> Sequence[PublishedEvent]:
        """Those of these types in a workspace."""
        found = [each for each in self._log.all[after:until] if each.workspace_id == workspace_id]
        return [each for each in self._told(found) if each.type in types][:limit]

    async def count(self, workspace_id: str, after: int, until: int, types: Sequence[str], limit: int) -> int:
        """How many."""
        return len(await self.between(workspace_id, after, until, types, limit))

    def _told(self, found: Sequence[Recorded]) -> list[PublishedEvent]:
        told = [(each, by_stored_name().get(each.name), self.envelopes.write(stored(each))) for each in found]
        return [
            PublishedEvent(position=each.position, event_id=str(each.event_id), type=published.type, body=body.decode())
            for each, published, body in told
            if published is not None and body is not None
        ]


@dataclass
class Scene:
    """Given what has happened, when something is wished or follows, then this is written down."""

    log: MemoryLedger = field(default_factory=lambda: MemoryLedger(lambda: NOON))
    web: MemoryOutbound = field(default_factory=MemoryOutbound)
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    letters: Letters = field(default_factory=Letters)
    vault: Vault = field(default_factory=lambda: Vault(b"a secret of the tests" * 2))
    ears: Any = field(default_factory=Ears)
    artist: Any = field(default_factory=Painter)
    band: Any = field(default_factory=Players)
    provider: Any = field(default_factory=Label)
    #: What else stands in, by its port: of contexts whose own tests have no use for it in others.
    more: dict[type, Any] = field(default_factory=dict)
    now: datetime = NOON
    settings: dict[str, Any] = field(default_factory=dict)
    context: Context = field(
        default_factory=lambda: Context(correlation_id=UUID(int=7), workspace_id=WORKSPACE, actor="person:ada")
    )
    _seen: int = 0

    def given(self, category: Category[Any], identity: str, *events: Event) -> Recorded:
        """These have happened; returns the last one."""
        for event in events:
            self.log.keep(category.stream(identity), event, self.context)
        self._seen = len(self.log.all)
        return self.log.all[-1]

    async def when(self, command: Command) -> Scene:
        """This is wished."""
        self._seen = len(self.log.all)
        await execute(command, self.log, self.now, self.context)
        return self

    def then(self, *events: Event) -> Scene:
        """These are written down, and nothing else."""
        assert [each.event for each in self.log.all[self._seen :]] == list(events)
        return self

    @property
    def news(self) -> list[Event]:
        """What was written down last."""
        return [each.event for each in self.log.all[self._seen :]]

    async def refused(self, command: Command, refusal: type[R]) -> R:
        """This is wished, and refused; nothing is written down."""
        before = len(self.log.all)
        with pytest.raises(refusal) as found:
            await execute(command, self.log, self.now, self.context)
        assert len(self.log.all) == before
        return found.value

    async def follows(self, reaction: Reaction, recorded: Recorded) -> Scene:
        """What follows from an event, done."""
        assert reaction.concerns(recorded.event)
        self._seen = len(self.log.all)
        await reaction.handler(recorded, await self.ports(reaction.ports))
        return self

    def last(self, kind: type[Event]) -> Recorded:
        """The newest event of a kind."""
        return next(each for each in reversed(self.log.all) if isinstance(each.event, kind))

    def later(self, **time: float) -> Scene:
        """Time passes."""
        self.now += timedelta(**time)
        return self

    async def ports(self, kind: type[T]) -> T:
        """What a reaction or a route asks for, all of it in memory."""
        async with AsyncExitStack() as stack:
            return await Container(stack, Settings(**self.settings), self.outside).get(kind)

    @property
    def outside(self) -> dict[type, Any]:
        """What stands in for the outside world."""
        return {
            Log: self.log,
            Now: lambda: self.now,
            Chance: lambda: 0.0,
            Blobs: self.blobs,
            Web: self.web,
            Listens: self.ears,
            Post: self.letters,
            Secrets: self.vault,
            SigningSecrets: self.vault,
            Published: PublishedLog(self.log),
            Artist: self.artist,
            Band: self.band,
            MusicProvider: self.provider,
            **self.more,
        }
