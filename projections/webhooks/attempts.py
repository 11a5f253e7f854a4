"""The webhook log of an analysis as version 1 of the analysis API shows it."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from domain.analyses.analyses import AnalysisRequested, NoSuchAnalysis
from domain.kernel import Event, Value
from domain.webhooks.deliveries import DeliveryAttempted
from projections.kernel import Document, Projection, projection

#: The last so many attempts are shown; the counts tell of all.
ATTEMPTS_SHOWN_MAX = 100


class Attempt(Value):
    """One attempt to deliver."""

    attempt: int
    status_code: int | None
    success: bool
    error_detail: str | None


class WebhookLog(Document):
    """The answer of `GET /v1/analysis/{job_id}/webhooks`."""

    job_id: str
    webhook_configured: bool
    delivered: bool = False
    latest_attempt: int = 0
    success_count: int = 0
    deliveries: tuple[Attempt, ...] = ()


def evolve(log: WebhookLog | None, event: Event) -> WebhookLog | None:
    """The log after one more event."""
    match log, event:
        case _, AnalysisRequested():
            return WebhookLog(job_id=event.analysis_id, webhook_configured=event.webhook_url is not None)
        case WebhookLog(), DeliveryAttempted():
            attempt = Attempt(
                attempt=event.attempt,
                status_code=event.status_code,
                success=event.success,
                error_detail=event.error_detail,
            )
            return replace(
                log,
                delivered=log.delivered or event.success,
                latest_attempt=max(log.latest_attempt, event.attempt),
                success_count=log.success_count + event.success,
                deliveries=(*log.deliveries, attempt)[-ATTEMPTS_SHOWN_MAX:],
            )
    return log


webhook_logs: Projection[Any] = projection(
    "webhook_logs",
    WebhookLog,
    version=2,
    on={
        AnalysisRequested: "analysis_id",
        DeliveryAttempted: lambda event: event.subject_id if event.subject_kind == "analysis" else None,
    },
    evolve=evolve,
    begins=(AnalysisRequested,),
    absent=NoSuchAnalysis,
)
