"""The tables of imports, made again from the originals in the object store, in the order of the log."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from hashlib import file_digest
from pathlib import Path

from msgspec.structs import replace

from adapters.catalogue.importing import Importer, Remaking
from adapters.catalogue.reading import Titles
from adapters.log.eventlog import EventLog, readable
from adapters.provides import provides
from adapters.storage.blobs import Blobs, NoSuchObject
from commands.catalogue.ports import Paused, Refused, Sent
from domain.catalogue.imports import ImportAnswered, ImportCompleted, ImportRequested, Report
from domain.catalogue.titles import TitleResolved
from domain.catalogue.tracks import TrackAdded, TrackChanged, TrackRemoved
from domain.identity.workspaces import WorkspaceForgotten
from domain.kernel import ERASED, Event, Value
from domain.ledger import Recorded

PAGE_EVENTS = 5_000
#: How far ahead of UTC the first place on earth is that a new day reaches.
_FIRST_PLACE = timedelta(hours=14)
_NEEDED = (
    ImportRequested, ImportAnswered, ImportCompleted, TitleResolved, TrackAdded, TrackChanged, TrackRemoved
)  # fmt: skip


class Problem(Value):
    """Why the tables of a workspace could not be made again: the import, its file, and what is wrong with it."""

    workspace_id: str
    import_id: str
    kind: str
    message: str


class Remade(Value):
    """A workspace whose tables were made again, or were left as they were because of `problems`."""

    workspace_id: str
    imports: int
    problems: tuple[Problem, ...] = ()


class Rebuilder:
    """Makes tables of imports again, a workspace at a time and each in one transaction."""

    def __init__(self, log: EventLog, blobs: Blobs, importer: Importer) -> None:
        self._log = log
        self._blobs = blobs
        self._importer = importer

    async def rebuild(
        self, only: str | None = None, *, anyway: bool = False, progress: Callable[[int, int], None] = lambda *_: None
    ) -> AsyncIterator[Remade]:
        """Make the tables of every workspace again, or of one.

        Where an original is missing or another one, nothing of its workspace is changed; `anyway` takes what is read
        otherwise by this version than when it was imported. `progress` is told how many imports have been read, and
        how many there are.
        """
        histories = await self._histories(only)
        total = sum(isinstance(each.event, ImportCompleted) for history in histories.values() for each in history)
        done = itertools.count(1)

        def one_more() -> None:
            progress(next(done), total)

        for workspace_id, history in histories.items():
            yield await self._remade(workspace_id, history, anyway=anyway, is_read=one_more)

    async def _histories(self, only: str | None) -> dict[str, list[Recorded]]:
        """What each workspace's tables follow from, oldest first; those without an import are left out."""
        found: dict[str, list[Recorded]] = {}
        position, head = 0, await self._log.head()
        while position < head and (page := await self._log.page(position, PAGE_EVENTS)):
            for each in readable(page):
                if isinstance(each.event, WorkspaceForgotten):
                    found.pop(each.event.workspace_id, None)
                elif isinstance(each.event, _NEEDED) and only in (None, each.workspace_id):
                    found.setdefault(each.workspace_id, []).append(each)
            position = page[-1].position
        return {
            workspace_id: history
            for workspace_id, history in found.items()
            if any(isinstance(each.event, ImportCompleted) for each in history)
        }

    async def _remade(
        self, workspace_id: str, history: list[Recorded], *, anyway: bool, is_read: Callable[[], None]
    ) -> Remade:
        done = {each.event.import_id for each in history if isinstance(each.event, ImportCompleted)}
        async with self._importer.remake(workspace_id) as remaking:
            replay = Replay(workspace_id, history, remaking, self._blobs, anyway=anyway)
            for import_id in sorted(remaking.there - done):
                replay.note(import_id, "still_going_on", "It is being imported just now. Run this again after that.")
            await replay.run(is_read)
            if not replay.problems:
                await remaking.commit()
        return Remade(workspace_id=workspace_id, imports=len(done), problems=tuple(replay.problems))


class _Moments:
    """What was known when imports were read, by the positions of the log up to which it was."""

    def __init__(self, reads: Iterable[tuple[int | None, str]]) -> None:
        self._ahead = deque(sorted((position, import_id) for position, import_id in reads if position is not None))
        self._known: dict[str, list[tuple[str, str, str]]] = {}

    def pass_by(self, position: int, known: Mapping[str, tuple[str, str, str]]) -> None:
        """Keep what is known for those that were read before the event at a position."""
        while self._ahead and self._ahead[0][0] < position:
            self._known[self._ahead.popleft()[1]] = list(known.values())

    def then(self, import_id: str, known: Mapping[str, tuple[str, str, str]]) -> list[tuple[str, str, str]]:
        """What was known when an import was read; what is known now where that was not written down."""
        found = self._known.pop(import_id, None)
        return list(known.values()) if found is None else found


class Replay:
    """What has happened to the books of a workspace, once more: with the tracks that there were at each moment."""

    def __init__(
        self, workspace_id: str, history: Sequence[Recorded], remaking: Remaking, blobs: Blobs, *, anyway: bool
    ) -> None:
        self.problems: list[Problem] = []
        self._workspace_id = workspace_id
        self._history = history
        self._remaking = remaking
        self._blobs = blobs
        self._anyway = anyway
        self._sent: dict[str, ImportRequested] = {}
        #: ISRC, artist and title.
        self._tracks: dict[str, tuple[str, str, str]] = {}
        #: What people have said that titles are: artist, title and ISRC.
        self._aliases: dict[str, tuple[str, str, str]] = {}
        #: Titles that were resolved when what brought them was in the books and not in the log.
        self._early: dict[str, str] = {}
        # An import was read before it was over, with the tracks and what was said of titles by then.
        completed = [each.event for each in history if isinstance(each.event, ImportCompleted)]
        self._read_tracks = _Moments((each.report.tracks_at, each.import_id) for each in completed)
        self._read_titles = _Moments((each.report.titles_at, each.import_id) for each in completed)

    def note(self, import_id: str, kind: str, message: str) -> None:
        self.problems.append(Problem(workspace_id=self._workspace_id, import_id=import_id, kind=kind, message=message))

    async def run(self, is_read: Callable[[], None] = lambda: None) -> None:
        """All of it, in the order of the log; `is_read` is told of each import."""
        for each in self._history:
            self._read_tracks.pass_by(each.position, self._tracks)
            self._read_titles.pass_by(each.position, self._aliases)
            await self._take(each.event)
            if isinstance(each.event, ImportCompleted):
                is_read()

    async def _take(self, event: Event) -> None:
        match event:
            case ImportRequested():
                self._sent[event.import_id] = event
            case ImportAnswered():
                self._sent[event.import_id] = replace(self._sent[event.import_id], options=event.options)
            case ImportCompleted():
                await self._again(self._sent[event.import_id], event)
            case TitleResolved():
                self._aliases[event.title_id] = (event.artist, event.title, event.isrc)
                self._early[event.title_id] = event.isrc
                await self._resolve()
            case _:
                self._take_track(event)

    async def _resolve(self) -> None:
        """Resolve the titles that have been brought by now."""
        for title_id, isrc in list(self._early.items()):
            if await self._remaking.resolve(title_id, isrc):
                del self._early[title_id]

    def _take_track(self, event: Event) -> None:
        match event:
            case TrackAdded():
                self._tracks[event.track_id] = (event.isrc, event.details.artist, event.details.title)
            case TrackChanged():
                isrc, *_ = self._tracks[event.track_id]
                self._tracks[event.track_id] = (isrc, event.details.artist, event.details.title)
            case TrackRemoved():
                self._tracks.pop(event.track_id, None)

    async def _again(self, asked: ImportRequested, completed: ImportCompleted) -> None:
        """Read an original once more."""
        name = f"The original {asked.object_key} of {asked.filename}"
        titles = Titles(
            self._read_tracks.then(asked.import_id, self._tracks),
            self._read_titles.then(asked.import_id, self._aliases),
        )
        try:
            async with self._blobs.fetch(asked.object_key) as path:
                expected = asked.kept_sha256 or asked.sha256
                if await asyncio.to_thread(_digest, path) != expected:
                    message = f"{name} is not what was sent: its SHA-256 is not {expected}."
                    self.note(asked.import_id, "original_differs", message)
                    return
                report = await self._remaking.run(_as_sent(asked), path, _latest(completed), titles)
        except NoSuchObject:
            self.note(asked.import_id, "original_missing", f"{name} is not in the object store.")
        except (Paused, Refused) as problem:
            self.note(asked.import_id, "read_otherwise", f"{name} cannot be read any more: {problem}")
        else:
            await self._resolve()
            # What comes after an original that is not there compares with other books than it did.
            is_alike = bool(self.problems) or _comparable(report) == _comparable(completed.report)
            if not self._anyway and not is_alike:
                message = f"{name} is read otherwise by this version than when it was imported."
                self.note(asked.import_id, "read_otherwise", message)


def _as_sent(asked: ImportRequested) -> Sent:
    return Sent(
        import_id=asked.import_id,
        workspace_id=asked.workspace_id,
        filename="file" if asked.filename == ERASED else asked.filename,
        options=asked.options,
    )


def _latest(completed: ImportCompleted) -> date:
    return (completed.completed_at + _FIRST_PLACE).date()


def _comparable(report: Report) -> Report:
    """What of a report does not depend on which tracks are in the catalogue today."""
    return replace(report, unknown_isrcs=(), unknown_isrcs_total=0, tracks_at=None, titles_at=None)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


@provides
def rebuilder(log: EventLog, blobs: Blobs, importer: Importer) -> Rebuilder:
    """What makes tables of imports again."""
    return Rebuilder(log, blobs, importer)
