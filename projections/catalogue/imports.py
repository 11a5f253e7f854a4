"""Imports as their people see them."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import field
from msgspec.structs import asdict, replace

from domain.catalogue.imports import (
    Counts,
    ImportAnswered,
    ImportCompleted,
    ImportPaused,
    ImportRefused,
    ImportRequested,
    NoSuchImport,
    Options,
    Resolved,
)
from domain.kernel import Event
from projections.kernel import Document, Projection, milliseconds, projection, tally


class ImportDocument(Document):
    """One import: `outcome` is null while it is not over and nothing is asked."""

    id: str
    filename: str
    size: int
    sha256: str
    options: Options
    created_at: str
    outcome: Literal["imported", "needs_answer", "refused"] | None = None
    source: str | None = None
    question: str | None = None
    reason: str | None = None
    detail: str | None = None
    counts: Counts | None = None
    warnings: tuple[str, ...] = ()
    totals: dict[str, str] = field(default_factory=dict)
    periods: tuple[str, ...] = ()
    statements: tuple[str, ...] = ()
    unknown_columns: tuple[str, ...] = ()
    unknown_isrcs: tuple[str, ...] = ()
    unknown_isrcs_total: int = 0
    resolved: tuple[Resolved, ...] = ()
    digest: str | None = None
    finished_at: str | None = None
    progress: dict[str, Any] | None = None


def evolve(found: ImportDocument | None, event: Event) -> ImportDocument | None:
    """An import after one more event."""
    match found, event:
        case None, ImportRequested():
            return ImportDocument(
                id=event.import_id,
                filename=event.filename,
                size=event.size,
                sha256=event.sha256,
                options=event.options,
                created_at=milliseconds(event.requested_at),
            )
        case ImportDocument(), ImportPaused():
            return replace(
                found, outcome="needs_answer", source=event.source, question=event.question, detail=event.detail
            )
        case ImportDocument(), ImportAnswered():
            return replace(found, outcome=None, question=None, detail=None, options=event.options)
        case ImportDocument(), ImportCompleted():
            report = asdict(event.report)
            del report["tracks_at"], report["titles_at"]
            return replace(found, outcome="imported", finished_at=milliseconds(event.completed_at), **report)
        case ImportDocument(), ImportRefused():
            return replace(
                found,
                outcome="refused",
                reason=event.reason,
                detail=event.detail,
                finished_at=milliseconds(event.refused_at),
            )
    return found


import_documents: Projection[ImportDocument] = projection(
    "imports",
    ImportDocument,
    on={
        ImportRequested: "import_id",
        ImportPaused: "import_id",
        ImportAnswered: "import_id",
        ImportCompleted: "import_id",
        ImportRefused: "import_id",
    },
    evolve=evolve,
    begins=(ImportRequested,),
    absent=NoSuchImport,
    stream="import",
)

#: How many imports a workspace has asked for.
import_counts = tally("import_counts", {ImportRequested: lambda event: [(event.workspace_id, 1)]})
