"""Upload sessions as their people see them: every step with what was last reported, and how many sessions there are."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from domain.catalogue.uploads import (
    NoSuchUploadSession,
    UploadSessionAbandoned,
    UploadSessionCompleted,
    UploadSessionExpired,
    UploadSessionStarted,
    UploadStepReported,
)
from domain.kernel import Event, Value
from projections.kernel import Document, Projection, milliseconds, projection, tally


class StepDocument(Value):
    """One step: how far it is, what was said about it, and when."""

    name: str
    status: Literal["pending", "running", "done", "failed"] = "pending"
    note: str = ""
    reported_at: str | None = None


class UploadSessionDocument(Document):
    """One session; while it is `open`, it is over at `expires_at` unless something is reported before."""

    session_id: str
    release_id: str
    release_version: int
    account_id: str
    profile_id: int | None
    status: Literal["open", "completed", "abandoned", "expired"]
    steps: tuple[StepDocument, ...]
    started_at: str
    expires_at: str
    ended_at: str | None = None
    reference: str | None = None
    reason: str | None = None


def evolve(session: UploadSessionDocument | None, event: Event) -> UploadSessionDocument | None:
    """A session after one more event."""
    match session, event:
        case _, UploadSessionStarted():
            return UploadSessionDocument(
                session_id=event.session_id,
                release_id=event.release_id,
                release_version=event.release_version,
                account_id=event.account_id,
                profile_id=event.profile_id,
                status="open",
                steps=tuple(StepDocument(name=each) for each in event.steps),
                started_at=milliseconds(event.started_at),
                expires_at=milliseconds(event.expires_at),
            )
        case UploadSessionDocument(), UploadStepReported():
            told = StepDocument(
                name=event.step, status=event.status, note=event.note, reported_at=milliseconds(event.reported_at)
            )
            steps = tuple(told if each.name == event.step else each for each in session.steps)
            return replace(session, steps=steps, expires_at=milliseconds(event.expires_at))
        case UploadSessionDocument(), UploadSessionCompleted(reference=said):
            return replace(session, status="completed", reference=said, ended_at=milliseconds(event.completed_at))
        case UploadSessionDocument(), UploadSessionAbandoned():
            return replace(session, status="abandoned", reason=event.reason, ended_at=milliseconds(event.abandoned_at))
        case UploadSessionDocument(), UploadSessionExpired():
            return replace(session, status="expired", ended_at=milliseconds(event.expired_at))
    return session


upload_session_documents: Projection[UploadSessionDocument] = projection(
    "upload_sessions",
    UploadSessionDocument,
    on={
        UploadSessionStarted: "session_id",
        UploadStepReported: "session_id",
        UploadSessionCompleted: "session_id",
        UploadSessionAbandoned: "session_id",
        UploadSessionExpired: "session_id",
    },
    evolve=evolve,
    begins=(UploadSessionStarted,),
    absent=NoSuchUploadSession,
    parent=lambda session: session.release_id,
    stream="uploadsession",
)

#: How many sessions a workspace has had.
upload_session_counts = tally(
    "upload_session_counts",
    {
        UploadSessionStarted: lambda event: [
            (event.workspace_id, 1),
            (f"{event.workspace_id}/{event.release_id}", 1),
        ]
    },
)
