"""An analysis: a recording somebody asked about, and what was heard in it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec.structs import replace

from domain.analyses.findings import Findings
from domain.kernel import Category, Event, NotFound, State

Origin = Literal["url", "upload", "object"]


class AnalysisRequested(Event):
    """Somebody has handed in a recording, or the address of one."""

    analysis_id: str
    workspace_id: str
    origin: Origin
    source_url: str
    requested_at: datetime
    object_key: str | None = None
    webhook_url: str | None = None
    batch_id: str | None = None


class AnalysisStarted(Event):
    """A worker is listening."""

    analysis_id: str
    started_at: datetime


class AnalysisCompleted(Event):
    """This is what was heard; the long detail is an object beside the log."""

    analysis_id: str
    findings: Findings
    detail_key: str | None
    completed_at: datetime


class AnalysisFailed(Event):
    """Nothing could be heard, and why."""

    analysis_id: str
    reason: str
    failed_at: datetime


class SourceDeleted(Event):
    """The uploaded recording is no longer kept."""

    analysis_id: str
    object_key: str
    deleted_at: datetime


class Analysis(State):
    """What rules need to know of an analysis."""

    workspace_id: str = ""
    status: Literal["absent", "requested", "running", "completed", "failed"] = "absent"
    source_deleted: bool = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be heard."""
        return self.status in ("completed", "failed")


def evolve(analysis: Analysis, event: Event) -> Analysis:
    """An analysis after one more event."""
    match event:
        case AnalysisRequested():
            return replace(analysis, workspace_id=event.workspace_id, status="requested")
        case AnalysisStarted():
            return replace(analysis, status="running")
        case AnalysisCompleted():
            return replace(analysis, status="completed")
        case AnalysisFailed():
            return replace(analysis, status="failed")
        case SourceDeleted():
            return replace(analysis, source_deleted=True)
    return analysis


class NoSuchAnalysis(NotFound):
    """There is no analysis with this id."""


analyses = Category(name="analysis", initial=Analysis(), evolve=evolve, absent=NoSuchAnalysis)
