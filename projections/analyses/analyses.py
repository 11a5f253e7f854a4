"""An analysis as version 1 of the analysis API shows it."""

from __future__ import annotations

from typing import Any, Literal

from msgspec.structs import replace

from domain.analyses.analyses import (
    AnalysisCancelled,
    AnalysisCompleted,
    AnalysisFailed,
    AnalysisRequested,
    NoSuchAnalysis,
)
from domain.analyses.findings import Findings
from domain.kernel import Event
from projections.kernel import Document, Projection, projection, seconds


class AnalysisV1(Document):
    """The answer of `GET /v1/analysis/{job_id}`."""

    job_id: str
    status: Literal["processing", "completed", "failed"]
    created_at: str
    result: Findings | None = None
    error: str | None = None
    completed_at: str | None = None


def evolve(analysis: AnalysisV1 | None, event: Event) -> AnalysisV1 | None:
    """The document after one more event."""
    match analysis, event:
        case _, AnalysisRequested():
            return AnalysisV1(job_id=event.analysis_id, status="processing", created_at=seconds(event.requested_at))
        case AnalysisV1(), AnalysisCompleted():
            return replace(
                analysis, status="completed", result=event.findings, completed_at=seconds(event.completed_at)
            )
        case AnalysisV1(), AnalysisFailed():
            return replace(analysis, status="failed", error=event.reason, completed_at=seconds(event.failed_at))
        case AnalysisV1(), AnalysisCancelled():
            # This version of the API has no word of its own for it.
            return replace(
                analysis,
                status="failed",
                error="The analysis was cancelled.",
                completed_at=seconds(event.cancelled_at),
            )
    return analysis


analyses: Projection[Any] = projection(
    "analyses",
    AnalysisV1,
    version=2,
    on={
        AnalysisRequested: "analysis_id",
        AnalysisCompleted: "analysis_id",
        AnalysisFailed: "analysis_id",
        AnalysisCancelled: "analysis_id",
    },
    evolve=evolve,
    begins=(AnalysisRequested,),
    absent=NoSuchAnalysis,
    stream="analysis",
)
