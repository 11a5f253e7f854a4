"""An analysis: a recording somebody asked about, and what was heard in it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from msgspec.structs import replace

from domain.analyses.findings import Findings
from domain.analyses.settings import AnalysisLimits
from domain.billing.quotas import Meter
from domain.kernel import Category, Conflict, Event, NotFound, State, Upcasters, Value, personal, personal_since_then
from domain.objects import Kept, keeps, lets_go

Origin = Literal["url", "upload", "object"]


class AnalysisRequested(Event):
    """Somebody has handed in a recording, or the address of one. Addresses may hold secrets, so they are sealed."""

    schema_version: ClassVar[int] = 2
    upcasters: ClassVar[Upcasters] = {1: personal_since_then("source_url", "webhook_url")}

    analysis_id: str
    workspace_id: str
    origin: Origin
    source_url: Annotated[str, personal("workspace_id", address=True)]
    requested_at: datetime
    object_key: str | None = None
    webhook_url: Annotated[str, personal("workspace_id", address=True)] | None = None
    batch_id: str | None = None
    storage_object_id: str | None = None
    webhook_endpoint_id: str | None = None
    #: Whatever the client wants to find again with the job: a JSON object as text. It may name people, so it is sealed.
    metadata: Annotated[str, personal("workspace_id")] | None = None


class AnalysisStarted(Event):
    """A worker is listening."""

    analysis_id: str
    started_at: datetime


class AnalysisPutOff(Event):
    """We do not connect to the address of the recording any more, as an operator has set it; it is tried again then."""

    analysis_id: str
    #: How often it has been put off, this time among them.
    times: int
    put_off_at: datetime
    again_at: datetime


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


class AnalysisCancelled(Event):
    """Nobody wants to know any more."""

    analysis_id: str
    cancelled_at: datetime


#: The pictures that are drawn of what was heard.
PICTURES = ("overview.png", "waveform.png", "chromagram.png", "loudness.png")


class Artifact(Value):
    """A file that was made of what was heard, and where it is kept."""

    name: str
    object_key: str
    content_type: str
    size: int


class ReportDrawn(Event):
    """Pictures of what was heard lie beside the detail."""

    analysis_id: str
    artifacts: tuple[Artifact, ...]
    drawn_at: datetime


class ReportNotDrawn(Event):
    """There will be no pictures of what was heard, and why."""

    action: ClassVar[str] = "report.not_drawn"

    analysis_id: str
    reason: str
    given_up_at: datetime


class SourceDeleted(Event):
    """The uploaded recording is no longer kept."""

    analysis_id: str
    object_key: str
    deleted_at: datetime


class Analysis(State):
    """What rules need to know of an analysis."""

    workspace_id: str = ""
    status: Literal["absent", "requested", "running", "completed", "failed", "cancelled"] = "absent"
    put_off: int = 0
    source_deleted: bool = False
    report_drawn: bool = False
    report_given_up: bool = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be heard."""
        return self.status in ("completed", "failed", "cancelled")


def evolve(analysis: Analysis, event: Event) -> Analysis:  # noqa: PLR0911 - one for each event
    """An analysis after one more event."""
    match event:
        case AnalysisRequested():
            return replace(analysis, workspace_id=event.workspace_id, status="requested")
        case AnalysisStarted():
            return replace(analysis, status="running")
        case AnalysisPutOff():
            return replace(analysis, put_off=event.times)
        case AnalysisCompleted():
            return replace(analysis, status="completed")
        case AnalysisFailed():
            return replace(analysis, status="failed")
        case AnalysisCancelled():
            return replace(analysis, status="cancelled")
        case ReportDrawn():
            return replace(analysis, report_drawn=True)
        case ReportNotDrawn():
            return replace(analysis, report_given_up=True)
        case SourceDeleted():
            return replace(analysis, source_deleted=True)
    return analysis


class NoSuchAnalysis(NotFound):
    """There is no analysis with this id."""


class AnalysisIsOver(Conflict):
    """This analysis is over already, so it cannot be cancelled."""


class AnalysisIsNotOver(Conflict):
    """This analysis is not over yet, so there is nothing to tell. Wait until it has succeeded or failed."""


analyses = Category(name="analysis", initial=Analysis(), evolve=evolve, absent=NoSuchAnalysis)

ANALYSES = Meter(
    kind="analyses",
    on={AnalysisRequested: "requested_at"},
    limits=lambda settings: settings[AnalysisLimits].monthly_analysis_limits,
)

keeps(AnalysisRequested, lambda event: [Kept(key=key, until=event.analysis_id) for key in [event.object_key] if key])
keeps(AnalysisCompleted, lambda event: [Kept(key=key) for key in [event.detail_key] if key])
keeps(ReportDrawn, lambda event: [Kept(key=each.object_key, size=each.size) for each in event.artifacts])
lets_go(AnalysisCompleted, AnalysisFailed, AnalysisCancelled, what=lambda event: [event.analysis_id])
