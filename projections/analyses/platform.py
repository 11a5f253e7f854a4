"""An analysis as version 2 of the analysis API, the platform, shows it, and what was heard in it."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import DecodeError, json
from msgspec.structs import replace

from domain.analyses import keys
from domain.analyses.analyses import (
    PICTURES,
    AnalysisCancelled,
    AnalysisCompleted,
    AnalysisFailed,
    AnalysisRequested,
    AnalysisStarted,
    Artifact,
    NoSuchAnalysis,
    ReportDrawn,
    ReportNotDrawn,
)
from domain.analyses.findings import Findings
from domain.kernel import Event
from projections.kernel import Document, Projection, projection, seconds

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class AnalysisFacts(Document):
    """An analysis, as it was or as it is."""

    created_at: str
    id: str
    source_url: str
    status: Status
    updated_at: str
    completed_at: str | None = None
    error: str | None = None
    metadata: dict[str, Any] | None = None
    storage_object_id: str | None = None
    webhook_endpoint_id: str | None = None


class AnalysisV2(AnalysisFacts):
    """The answer of `GET /v1/analyses/{job_id}`."""

    idempotent_replay: bool = False


def evolve(analysis: AnalysisV2 | None, event: Event) -> AnalysisV2 | None:
    """The document after one more event."""
    match analysis, event:
        case _, AnalysisRequested():
            moment = seconds(event.requested_at)
            return AnalysisV2(
                created_at=moment,
                id=event.analysis_id,
                source_url=event.source_url,
                status="queued",
                updated_at=moment,
                metadata=_metadata(event.metadata),
                storage_object_id=event.storage_object_id,
                webhook_endpoint_id=event.webhook_endpoint_id,
            )
        case AnalysisV2(), AnalysisStarted():
            return replace(analysis, status="running", updated_at=seconds(event.started_at))
        case AnalysisV2(), AnalysisCompleted():
            return _ended(analysis, "succeeded", seconds(event.completed_at))
        case AnalysisV2(), AnalysisFailed():
            return replace(_ended(analysis, "failed", seconds(event.failed_at)), error=event.reason)
        case AnalysisV2(), AnalysisCancelled():
            return _ended(analysis, "cancelled", seconds(event.cancelled_at))
    return analysis


def _ended(analysis: AnalysisV2, status: Status, moment: str) -> AnalysisV2:
    return replace(analysis, status=status, updated_at=moment, completed_at=moment)


def _metadata(text: str | None) -> dict[str, Any] | None:
    """The client's own object; null when there is none, or when its workspace has been forgotten."""
    if text is None:
        return None
    try:
        return json.decode(text, type=dict[str, Any])
    except DecodeError:
        return None


platform_analyses: Projection[Any] = projection(
    "platform_analyses",
    AnalysisV2,
    on={
        AnalysisRequested: "analysis_id",
        AnalysisStarted: "analysis_id",
        AnalysisCompleted: "analysis_id",
        AnalysisFailed: "analysis_id",
        AnalysisCancelled: "analysis_id",
    },
    evolve=evolve,
    begins=(AnalysisRequested,),
    absent=NoSuchAnalysis,
    stream="analysis",
)


#: Whether a picture is still to be drawn, can be fetched, or will never be there.
Drawn = Literal["pending", "stored", "failed"]


class Outcome(Document):
    """What was heard in a recording, and the files that were made of it."""

    job_id: str
    status: Status = "queued"
    result: Findings | None = None
    artifacts: tuple[Artifact, ...] = ()
    pictures: Drawn = "pending"

    def drawn(self) -> dict[str, Drawn]:
        """Whether each picture is there, by its name; nothing where nothing was heard."""
        if self.result is None:
            return {}
        stored = {each.name for each in self.artifacts}
        # A picture that was left out of a report, or came with another one only, will not come any more.
        missing: Drawn = "pending" if self.pictures == "pending" else "failed"
        return {name: "stored" if name in stored else missing for name in PICTURES}


def evolve_outcome(outcome: Outcome | None, event: Event) -> Outcome | None:  # noqa: PLR0911 - one for each event
    """The document after one more event."""
    match outcome, event:
        case _, AnalysisRequested():
            return Outcome(job_id=event.analysis_id)
        case Outcome(), AnalysisStarted():
            return replace(outcome, status="running")
        case Outcome(), AnalysisCompleted():
            detail = () if event.detail_key is None else (_detail(event.detail_key),)
            return replace(outcome, status="succeeded", result=event.findings, artifacts=detail)
        case Outcome(), AnalysisFailed():
            return replace(outcome, status="failed")
        case Outcome(), AnalysisCancelled():
            return replace(outcome, status="cancelled")
        case Outcome(), ReportDrawn():
            return replace(outcome, artifacts=(*outcome.artifacts[:1], *event.artifacts), pictures="stored")
        case Outcome(), ReportNotDrawn():
            return replace(outcome, pictures="failed")
    return outcome


def _detail(key: str) -> Artifact:
    return Artifact(name=keys.DETAIL, object_key=key, content_type="application/json", size=0)


outcomes: Projection[Any] = projection(
    "outcomes",
    Outcome,
    version=3,
    on={
        AnalysisRequested: "analysis_id",
        AnalysisStarted: "analysis_id",
        AnalysisCompleted: "analysis_id",
        AnalysisFailed: "analysis_id",
        AnalysisCancelled: "analysis_id",
        ReportDrawn: "analysis_id",
        ReportNotDrawn: "analysis_id",
    },
    evolve=evolve_outcome,
    begins=(AnalysisRequested,),
    absent=NoSuchAnalysis,
    stream="analysis",
)
