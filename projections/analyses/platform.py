"""An analysis as version 2 of the analysis API, the platform, shows it, and what was heard in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import DecodeError, json, to_builtins
from msgspec.structs import replace

from domain.analyses.analyses import (
    AnalysisCancelled,
    AnalysisCompleted,
    AnalysisFailed,
    AnalysisRequested,
    AnalysisStarted,
    Artifact,
    NoSuchAnalysis,
    ReportDrawn,
)
from domain.analyses.findings import Findings
from domain.kernel import Event
from projections.kernel import Document, Projection, projection, seconds

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class AnalysisV2(Document):
    """The answer of `GET /v1/analyses/{job_id}`."""

    created_at: str
    id: str
    source_url: str
    status: Status
    updated_at: str
    idempotent_replay: bool = False
    completed_at: str | None = None
    error: str | None = None
    metadata: dict[str, Any] | None = None
    storage_object_id: str | None = None
    webhook_endpoint_id: str | None = None


def concerns(event: Event) -> str | None:
    """The analysis an event is about."""
    match event:
        case AnalysisRequested() | AnalysisStarted() | AnalysisCompleted() | AnalysisFailed() | AnalysisCancelled():
            return event.analysis_id
    return None


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
        found: dict[str, Any] = json.decode(text)
    except DecodeError:
        return None
    return found


platform_analyses: Projection[Any] = projection(
    "platform_analyses", AnalysisV2, concerns=concerns, evolve=evolve, absent=NoSuchAnalysis, stream="analysis"
)


class Outcome(Document):
    """What was heard in a recording, and the files that were made of it."""

    job_id: str
    status: Status = "queued"
    result: Findings | None = None
    artifacts: tuple[Artifact, ...] = ()


def concerns_outcome(event: Event) -> str | None:
    """The analysis an event is about."""
    return event.analysis_id if isinstance(event, ReportDrawn) else concerns(event)


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
            return replace(outcome, artifacts=(*outcome.artifacts[:1], *event.artifacts))
    return outcome


def _detail(key: str) -> Artifact:
    return Artifact(name="detail.json", object_key=key, content_type="application/json", size=0)


outcomes: Projection[Any] = projection(
    "outcomes", Outcome, concerns=concerns_outcome, evolve=evolve_outcome, absent=NoSuchAnalysis, stream="analysis"
)


def told(analysis_id: str, events: Sequence[Event]) -> bytes:
    """What webhook endpoints are told of an analysis with these events: the job with its result, as JSON."""
    body: dict[str, Any] = {"job_id": analysis_id}
    for each in (outcomes, platform_analyses):
        body |= to_builtins(each.fold(analysis_id, events)) or {}
    del body["artifacts"], body["idempotent_replay"]
    return json.encode(body)
