"""What the catalogue needs of the outside, and how its things are named."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from commands.kernel import Execute, Log, Now, derived_id
from commands.ports import Blobs
from domain.catalogue.imports import Options, Question, Reason, Report
from domain.catalogue.tables import Kind, Tables
from domain.kernel import Value


def track_id(workspace_id: str, isrc: str) -> str:
    """The id of the track with an ISRC in a workspace: it follows from both, so that there is one at most."""
    return derived_id("track", workspace_id, isrc)


class Sent(Value):
    """A file as it was sent, and what was said about it."""

    import_id: str
    workspace_id: str
    filename: str
    options: Options


class Paused(Exception):
    """Something must be asked before a file can be read."""

    def __init__(self, source: str, question: Question, detail: str) -> None:
        super().__init__(detail)
        self.source = source
        self.question = question
        self.detail = detail


class Refused(Exception):
    """A file cannot be imported, and why."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Importing(Protocol):
    """What reads files into the books."""

    async def run(self, sent: Sent, path: Path, today: date) -> Report:
        """Read a file once, all of it or nothing; raises Paused, Refused."""

    async def forget(self, workspace_id: str) -> None:
        """Delete all rows of a workspace."""

    async def resolve(self, workspace_id: str, title_id: str, isrc: str) -> None:
        """Put what waits for a title under the recording that it is; nothing happens when that is so already."""


class CookieJars(Protocol):
    """What keeps the cookies of browser profiles."""

    async def forget(self, workspace_id: str, profile_id: int | None = None) -> None:
        """Delete the cookies of a profile, or of all."""

    async def kept(self, before: datetime) -> Sequence[tuple[str, int]]:
        """The workspaces and profiles of which cookies were kept before a moment."""

    async def of(self, workspace_id: str) -> Sequence[int]:
        """The profiles that a workspace has cookies of."""


class TypedRow(NamedTuple):
    """What a person has typed into a row, by the names of our fields, with the id of its track or release.

    A row of which nothing was known yet has no id, and all that it says.
    """

    kind: Kind
    row: Mapping[str, Any]


class Pushed(NamedTuple):
    """How many rows were made, changed, or were so already; and what was typed there, which was left as it is."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    typed: tuple[TypedRow, ...] = ()

    def and_then(self, other: Pushed) -> Pushed:
        """These and others."""
        return Pushed(
            self.created + other.created,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
            self.typed + other.typed,
        )


#: What a person has typed into the row of a thing with an id, of which nothing else has been said here since.
Typed = Callable[[Kind, str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class TablesFailed(Exception):
    """Tables cannot be pushed into or read, and why; what is `final` waits for a person.

    Where it is us who do not connect there, it is not final, and `setting` is what an operator allows it by.
    """

    def __init__(self, sentence: str, *, final: bool, setting: str | None = None) -> None:
        super().__init__(sentence)
        self.final = final
        self.setting = setting


class WorkspaceTables(Protocol):
    """Tables of a workspace's people elsewhere."""

    async def push(self, tables: Tables, workspace_id: str, typed: Typed) -> Pushed:
        """Bring them to what the catalogue has, but for what people have typed there; raises TablesFailed.

        Of the rows that the tables are `reading`, those of which nothing is known here are among what was typed.
        """

    async def rows(
        self, tables: Tables, workspace_id: str, kind: Kind, numbers: Sequence[int]
    ) -> Sequence[Mapping[str, Any]]:
        """Rows as they are there now, by the names of our fields; raises TablesFailed."""


@dataclass(frozen=True)
class Ports:
    """The log, the books, and where the originals are."""

    execute: Execute
    log: Log
    now: Now
    blobs: Blobs
    importing: Importing
    cookies: CookieJars
    tables: WorkspaceTables
