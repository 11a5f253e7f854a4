"""An import: one file of a seller or a store, and what came of reading it. Its rows are in tables, not in events."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from msgspec import field
from msgspec.structs import replace

from domain.catalogue.mappings import DateOrder, Mapping
from domain.kernel import Category, Conflict, Event, Invalid, NotFound, State, Value, personal
from domain.objects import Kept, keeps, lets_go

Question = Literal["currency", "date_order", "period", "track"]
Reason = Literal["html", "empty_file", "unknown_format", "date_inconsistent", "rows_rejected", "broken"]


class Options(Value):
    """What whoever sends a file says about it, because the file does not."""

    #: The kind of report, where it was said or is a saved mapping's.
    source: str | None = None
    currency: str | None = None
    date_order: DateOrder | None = None
    period_start: date | None = None
    period_end: date | None = None
    #: The one track that the file is about.
    isrc: str | None = None
    artist: str | None = None
    #: Rows that a statement had before and has no more are taken out.
    replace: bool = False
    #: One bad row and nothing is imported.
    strict: bool = False
    encoding: str | None = None
    #: The mapping by which it is read, as it was when the file was sent.
    mapping: Mapping | None = None


class Counts(Value):
    """How many rows were what; `new`, `changed`, `unchanged` and `missing` compare with what was imported before."""

    total: int = 0
    accepted: int = 0
    rejected: int = 0
    queued: int = 0
    ignored: dict[str, int] = field(default_factory=dict)
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    #: Rows that the statement had before and has no more.
    missing: int = 0


class Resolved(Value):
    """A title without ISRC that exactly one track of its artist has."""

    title: str
    artist: str
    isrc: str
    rows: int


class Report(Value):
    """What was read: the digest is that of all rows, in whatever order."""

    source: str
    counts: Counts
    digest: str
    warnings: tuple[str, ...] = ()
    #: Money by currency, exact, of all rows that were accepted or wait for a person.
    totals: dict[str, str] = field(default_factory=dict)
    #: Months (or days, of plays the first and the last) that the rows are about.
    periods: tuple[str, ...] = ()
    statements: tuple[str, ...] = ()
    unknown_columns: tuple[str, ...] = ()
    #: Codes that are not in the catalogue, the first of them, and how many there are.
    unknown_isrcs: tuple[str, ...] = ()
    unknown_isrcs_total: int = 0
    resolved: tuple[Resolved, ...] = ()
    #: Up to which event the tracks were known, and up to which what people have said of titles, that its titles were
    #: looked up among; None: it needed none.
    tracks_at: int | None = None
    titles_at: int | None = None


class ImportRequested(Event):
    """Somebody sent a file, which is kept without what it says about buyers; without a key, nothing of it is."""

    import_id: str
    workspace_id: str
    filename: Annotated[str, personal("workspace_id")]
    object_key: str
    size: int
    sha256: str
    options: Options
    requested_at: datetime
    #: Of the file that is kept, where it is not the one that was sent: what it said about buyers is left out.
    kept_size: int | None = None
    kept_sha256: str | None = None


class ImportPaused(Event):
    """Something has to be asked before the file can be read."""

    import_id: str
    source: str
    question: Question
    detail: str
    paused_at: datetime


class ImportAnswered(Event):
    """What was asked has been said."""

    import_id: str
    options: Options
    answered_at: datetime


class ImportCompleted(Event):
    """The file was read and its rows are in the books, all of them in one transaction."""

    import_id: str
    workspace_id: str
    report: Report
    completed_at: datetime


class ImportRefused(Event):
    """The file cannot be imported, and nothing of it is in the books."""

    import_id: str
    reason: Reason
    detail: str
    refused_at: datetime


Standing = Literal["absent", "waiting", "needs_answer", "imported", "refused"]


class Import(State):
    """What rules know of an import."""

    workspace_id: str = ""
    standing: Standing = "absent"
    options: Options = Options()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.standing in ("imported", "refused")


def evolve(found: Import, event: Event) -> Import:
    """An import after one more event."""
    match event:
        case ImportRequested():
            return Import(workspace_id=event.workspace_id, standing="waiting", options=event.options)
        case ImportPaused():
            return replace(found, standing="needs_answer")
        case ImportAnswered():
            return replace(found, standing="waiting", options=event.options)
        case ImportCompleted():
            return replace(found, standing="imported")
        case ImportRefused():
            return replace(found, standing="refused")
    return found


class NoSuchImport(NotFound):
    """There is no import with this id."""


class NothingIsAsked(Conflict):
    """Nothing is asked about this import."""


class BadOption(Invalid):
    """{problem}"""


imports = Category(name="import", initial=Import(), evolve=evolve, absent=NoSuchImport)


def object_key(workspace_id: str, import_id: str) -> str:
    """Under which key the original of an import lies in the object store."""
    return f"{objects_of(workspace_id)}{import_id}"


def objects_of(workspace_id: str | None = None) -> str:
    """What the keys of all originals begin with, or of those of one workspace."""
    return "imports/" if workspace_id is None else f"imports/{workspace_id}/"


def _original(event: ImportRequested) -> list[Kept]:
    if not event.object_key:
        return []
    size = event.size if event.kept_size is None else event.kept_size
    return [Kept(key=event.object_key, size=size, sha256=event.kept_sha256 or event.sha256, until=event.import_id)]


keeps(ImportRequested, _original)
lets_go(ImportRefused, what=lambda event: [event.import_id])
