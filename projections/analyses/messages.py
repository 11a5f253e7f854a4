"""What other systems are told of analyses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import asdict

from domain.analyses import keys
from domain.analyses.analyses import (
    PICTURES,
    AnalysisCompleted,
    AnalysisFailed,
    AnalysisRequested,
    AnalysisStarted,
    Artifact,
    ReportDrawn,
)
from domain.analyses.findings import Findings
from domain.kernel import Event
from domain.webhooks.messages import Find, OwnAddress, Subject, message
from projections.analyses.analyses import AnalysisV1, analyses
from projections.analyses.platform import AnalysisFacts, Drawn, outcomes, platform_analyses
from projections.kernel import Projection


class AnalysisTold(AnalysisFacts, kw_only=True):
    """An analysis as the platform shows it, together with what was heard."""

    job_id: str
    result: Findings | None


class ArtifactsTold(AnalysisTold, kw_only=True):
    """An analysis whose pictures have been drawn; `pictures` says of each whether it can be fetched."""

    pictures: dict[str, Drawn]


def platform(subject: Subject, events: Sequence[Event]) -> AnalysisTold:
    """What endpoints are told."""
    return AnalysisTold(**_facts(subject, events))


def artifacts(subject: Subject, events: Sequence[Event]) -> ArtifactsTold:
    """What endpoints are told once there are pictures."""
    return ArtifactsTold(**_facts(subject, events), pictures=_as_of(outcomes, subject, events).drawn())


def version_1(subject: Subject, events: Sequence[Event]) -> AnalysisV1:
    """What the address left with a job is told: the answer of `GET /v1/analysis/{job_id}`."""
    document: AnalysisV1 = _as_of(analyses, subject, events)
    return document


async def left_with_the_job(subject: Subject, events: Sequence[Event], find: Find) -> str | None:
    """The address that somebody left with their job."""
    del subject, find  # the job itself says it
    return _requested(events).webhook_url


def chosen_for_the_job(events: Sequence[Event]) -> str | None:
    """The endpoint that somebody named in their job."""
    return _requested(events).webhook_endpoint_id


def _as_of(projection: Projection[Any], subject: Subject, events: Sequence[Event]) -> Any:
    return projection.fold(subject.id, events)


def _requested(events: Sequence[Event]) -> AnalysisRequested:
    return next(event for event in events if isinstance(event, AnalysisRequested))


def _facts(subject: Subject, events: Sequence[Event]) -> dict[str, Any]:
    facts = asdict(_as_of(platform_analyses, subject, events))
    del facts["idempotent_replay"]
    return {"job_id": subject.id, "result": _as_of(outcomes, subject, events).result} | facts


_NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
_BEGUN = (
    AnalysisRequested(
        analysis_id="0b9e9a5e-6f4c-4f0e-8d0c-3f1c7a1f5b1e",
        workspace_id="5f3c1f3e-8a55-4d9b-9b40-0d0f6a1c2d3e",
        origin="url",
        source_url="https://example.com/song.wav",
        webhook_url="https://example.com/hook",
        requested_at=_NOON,
    ),
    AnalysisStarted(analysis_id="0b9e9a5e-6f4c-4f0e-8d0c-3f1c7a1f5b1e", started_at=_NOON),
)
_COMPLETED = AnalysisCompleted(
    analysis_id="0b9e9a5e-6f4c-4f0e-8d0c-3f1c7a1f5b1e",
    findings=Findings(duration_seconds=184.2, bpm=122.0, key="A", scale="minor", loudness_lufs=-9.4),
    detail_key=keys.report("0b9e9a5e-6f4c-4f0e-8d0c-3f1c7a1f5b1e"),
    completed_at=_NOON,
)
_FAILED = AnalysisFailed(
    analysis_id="0b9e9a5e-6f4c-4f0e-8d0c-3f1c7a1f5b1e", reason="This is not an audio file.", failed_at=_NOON
)
_DRAWN = ReportDrawn(
    analysis_id="0b9e9a5e-6f4c-4f0e-8d0c-3f1c7a1f5b1e",
    artifacts=tuple(
        Artifact(name=name, object_key=f"analyses/{name}", content_type="image/png", size=1) for name in PICTURES
    ),
    drawn_at=_NOON,
)

_OWN = OwnAddress(url=left_with_the_job, body=version_1, schema=AnalysisV1)

analysis_completed = message(
    "analysis.completed",
    "An analysis has come to its end, and this is what was heard.",
    on=AnalysisCompleted,
    at="completed_at",
    body=platform,
    schema=AnalysisTold,
    example=(*_BEGUN, _COMPLETED),
    endpoint=chosen_for_the_job,
    own=_OWN,
)

analysis_failed = message(
    "analysis.failed",
    "Nothing could be heard in a recording, and why.",
    on=AnalysisFailed,
    at="failed_at",
    body=platform,
    schema=AnalysisTold,
    example=(*_BEGUN, _FAILED),
    endpoint=chosen_for_the_job,
    own=_OWN,
)

analysis_artifacts_ready = message(
    "analysis.artifacts_ready",
    "The pictures of an analysis have been drawn, seconds after it was completed.",
    on=ReportDrawn,
    at="drawn_at",
    body=artifacts,
    schema=ArtifactsTold,
    example=(*_BEGUN, _COMPLETED, _DRAWN),
    optional=True,
)
