"""The history of one analysis, told in sentences, from its own events."""

from __future__ import annotations

from typing import Any

from domain.analyses.analyses import (
    AnalysisCancelled,
    AnalysisCompleted,
    AnalysisFailed,
    AnalysisRequested,
    AnalysisStarted,
    ReportDrawn,
    ReportNotDrawn,
    SourceDeleted,
)
from domain.kernel import Event, Value
from domain.ledger import Recorded
from projections.audit.actions import action_of, particulars
from projections.kernel import seconds


class JobEvent(Value):
    """One thing that happened to a job."""

    created_at: str
    event_type: str
    id: str
    message: str
    metadata: dict[str, Any]


def told(recorded: Recorded) -> JobEvent:
    """An event of an analysis as people read it."""
    metadata = particulars(recorded.event)
    metadata.pop("analysis_id", None)
    return JobEvent(
        created_at=seconds(recorded.recorded_at),
        event_type=action_of(recorded.name),
        id=str(recorded.event_id),
        message=sentence(recorded.event),
        metadata={**metadata, "actor": recorded.actor, "position": recorded.position},
    )


def sentence(event: Event) -> str:  # noqa: C901, PLR0911 - one for each event
    """What happened, in one sentence."""
    match event:
        case AnalysisRequested(origin="url"):
            return "The address of a recording was handed in."
        case AnalysisRequested(origin="object"):
            return "A recording that had been uploaded to the object store was handed in."
        case AnalysisRequested():
            return "A recording was uploaded."
        case AnalysisStarted():
            return "A worker has begun to listen."
        case AnalysisCompleted():
            return _heard(event)
        case AnalysisFailed():
            return f"Nothing could be heard: {event.reason}"
        case AnalysisCancelled():
            return "The analysis was cancelled."
        case ReportDrawn():
            return f"Pictures of it have been drawn: {', '.join(each.name for each in event.artifacts)}."
        case ReportNotDrawn():
            return f"No pictures of it could be drawn: {event.reason}"
        case SourceDeleted():
            return "The uploaded recording has been deleted."
    return f"{action_of(f'analyses.{type(event).__name__}')}."


def _heard(event: AnalysisCompleted) -> str:
    findings = event.findings
    facts = [
        f"{findings.duration_seconds:.1f} s",
        f"{findings.bpm:.1f} BPM" if findings.bpm is not None else "",
        findings.key_notation or "",
        f"{findings.loudness_lufs:.1f} LUFS" if findings.loudness_lufs is not None else "",
    ]
    return f"The recording was heard to its end: {', '.join(fact for fact in facts if fact)}."
