"""Imports: asked for, asked back about, over."""

from __future__ import annotations

from datetime import datetime

from commands.kernel import Command, decides
from domain.catalogue.imports import (
    Import,
    ImportAnswered,
    ImportCompleted,
    ImportPaused,
    ImportRefused,
    ImportRequested,
    NothingIsAsked,
    Options,
    Question,
    Reason,
    Report,
    imports,
)
from domain.kernel import Event


class RequestImport(Command):
    """Read a file into the books; or write down why nothing is read of it, where that is seen as it comes."""

    import_id: str
    workspace_id: str
    filename: str
    object_key: str
    size: int
    sha256: str
    options: Options
    refused: Reason | None = None
    detail: str = ""
    kept_size: int | None = None
    kept_sha256: str | None = None


class PauseImport(Command):
    """Ask something about a file."""

    import_id: str
    source: str
    question: Question
    detail: str


class AnswerImport(Command):
    """Say what was asked."""

    import_id: str
    workspace_id: str
    options: Options


class CompleteImport(Command):
    """Write down what was read."""

    import_id: str
    report: Report


class RefuseImport(Command):
    """Write down why nothing was read."""

    import_id: str
    reason: Reason
    detail: str


@decides(RequestImport, imports, creates=True)
def request(wish: RequestImport, found: Import, now: datetime) -> list[Event]:
    """A file is asked for once under one id."""
    if found.standing != "absent":
        return []
    requested = ImportRequested(
        import_id=wish.import_id,
        workspace_id=wish.workspace_id,
        filename=wish.filename,
        object_key=wish.object_key,
        size=wish.size,
        sha256=wish.sha256,
        options=wish.options,
        requested_at=now,
        kept_size=wish.kept_size,
        kept_sha256=wish.kept_sha256,
    )
    if wish.refused is None:
        return [requested]
    refused = ImportRefused(import_id=wish.import_id, reason=wish.refused, detail=wish.detail, refused_at=now)
    return [requested, refused]


@decides(PauseImport, imports)
def pause(wish: PauseImport, found: Import, now: datetime) -> list[Event]:
    """Only what is still to be read is asked about."""
    if found.standing != "waiting":
        return []
    return [
        ImportPaused(
            import_id=wish.import_id, source=wish.source, question=wish.question, detail=wish.detail, paused_at=now
        )
    ]


@decides(AnswerImport, imports)
def answer(wish: AnswerImport, found: Import, now: datetime) -> list[Event]:
    """What was asked is said, by whoever may; the same said again changes nothing."""
    if found.workspace_id != wish.workspace_id:
        raise imports.absent
    if found.standing != "needs_answer":
        if found.options == wish.options:
            return []
        raise NothingIsAsked
    return [ImportAnswered(import_id=wish.import_id, options=wish.options, answered_at=now)]


@decides(CompleteImport, imports)
def complete(wish: CompleteImport, found: Import, now: datetime) -> list[Event]:
    """An import is over once."""
    if found.is_over:
        return []
    return [
        ImportCompleted(import_id=wish.import_id, workspace_id=found.workspace_id, report=wish.report, completed_at=now)
    ]


@decides(RefuseImport, imports)
def refuse(wish: RefuseImport, found: Import, now: datetime) -> list[Event]:
    """An import is over once."""
    if found.is_over:
        return []
    return [ImportRefused(import_id=wish.import_id, reason=wish.reason, detail=wish.detail, refused_at=now)]
