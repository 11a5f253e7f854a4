"""Asking for analyses, one or several at once, and writing down what was heard."""

from __future__ import annotations

from datetime import datetime, timedelta

from commands.billing.quotas import count
from commands.idempotency import Once, claim
from commands.kernel import Command, Transaction, decides, handles
from domain.analyses.analyses import (
    ANALYSES,
    Analysis,
    AnalysisCancelled,
    AnalysisCompleted,
    AnalysisFailed,
    AnalysisIsOver,
    AnalysisPutOff,
    AnalysisRequested,
    AnalysisStarted,
    Artifact,
    NoSuchAnalysis,
    Origin,
    ReportDrawn,
    ReportNotDrawn,
    SourceDeleted,
    analyses,
)
from domain.analyses.findings import Findings
from domain.analyses.objects import (
    NoSuchStorageObject,
    ObjectUsed,
    StorageObjectHasExpired,
    StorageObjectIsUsed,
    storage_objects,
)
from domain.identity.workspaces import workspaces
from domain.kernel import Event, Value
from domain.webhooks.endpoints import NoSuchEndpoint, endpoint_books


class Item(Value):
    """One recording to analyse."""

    analysis_id: str
    origin: Origin
    source_url: str
    object_key: str | None = None
    webhook_url: str | None = None
    storage_object_id: str | None = None
    webhook_endpoint_id: str | None = None
    metadata: str | None = None


class RequestAnalyses(Command):
    """Ask for analyses, all or none. `monthly_limit` is null where the plan sets none.

    The subject of a claimed key is `subject_id`: the analysis, or the batch.
    """

    subject_id: str
    workspace_id: str
    items: tuple[Item, ...]
    once: Once | None = None
    monthly_limit: int | None = None
    is_batch: bool = False


@handles(RequestAnalyses)
async def request(wish: RequestAnalyses, transaction: Transaction) -> None:
    """Each analysis is asked for once, under a key at most once, and within the month's quota."""
    if not await claim(transaction, wish.once, wish.subject_id):
        return
    fresh = []
    for item in wish.items:
        analysis = await transaction.expect_new(analyses, item.analysis_id)
        if analysis.status == "absent":
            fresh.append(item)
    for item in fresh:
        await _take_object(wish, item, transaction)
        await _know_endpoint(wish, item, transaction)
    ids = [item.analysis_id for item in fresh]
    await count(transaction, ANALYSES, wish.workspace_id, ids, wish.monthly_limit)
    for item in fresh:
        transaction.record(
            analyses,
            item.analysis_id,
            AnalysisRequested(
                analysis_id=item.analysis_id,
                workspace_id=wish.workspace_id,
                origin=item.origin,
                source_url=item.source_url,
                object_key=item.object_key,
                webhook_url=item.webhook_url,
                batch_id=wish.subject_id if wish.is_batch else None,
                storage_object_id=item.storage_object_id,
                webhook_endpoint_id=item.webhook_endpoint_id,
                metadata=item.metadata,
                requested_at=transaction.now,
            ),
        )


async def _take_object(wish: RequestAnalyses, item: Item, transaction: Transaction) -> None:
    """An uploaded object belongs to one analysis, because it is deleted after it.

    What was offered before the workspace began anew is nobody's: the store's own links cannot be taken back, so
    whoever had one may have put anything there since.
    """
    if item.storage_object_id is None:
        return
    stored = await transaction.load(storage_objects, item.storage_object_id)
    tenancy = (await transaction.find(workspaces, wish.workspace_id)).tenancy
    if (stored.workspace_id, stored.tenancy) != (wish.workspace_id, tenancy):
        raise NoSuchStorageObject
    if stored.analysis_id is not None:
        raise StorageObjectIsUsed
    if not stored.is_kept(transaction.now):
        raise StorageObjectHasExpired
    transaction.record(
        storage_objects,
        item.storage_object_id,
        ObjectUsed(storage_object_id=item.storage_object_id, analysis_id=item.analysis_id, used_at=transaction.now),
    )


async def _know_endpoint(wish: RequestAnalyses, item: Item, transaction: Transaction) -> None:
    if item.webhook_endpoint_id is None:
        return
    book = await transaction.find(endpoint_books, wish.workspace_id)
    if item.webhook_endpoint_id not in book.endpoints:
        raise NoSuchEndpoint


class StartAnalysis(Command):
    """Note that a worker is listening."""

    analysis_id: str


@decides(StartAnalysis, analyses)
def start(wish: StartAnalysis, analysis: Analysis, now: datetime) -> list[Event]:
    """An analysis starts once; a second worker after a crash is not another start."""
    if analysis.status != "requested":
        return []
    return [AnalysisStarted(analysis_id=wish.analysis_id, started_at=now)]


#: When an analysis that was put off is tried again: twice as late each time, 17 hours in all.
PUT_OFF, PUT_OFF_MAX = timedelta(minutes=1), 10


class PutOffAnalysis(Command):
    """Try again later what we do not connect to for now, and end it where that was tried often enough."""

    analysis_id: str
    reason: str
    #: How often it had been put off when it was tried.
    times: int


@decides(PutOffAnalysis, analyses)
def put_off(wish: PutOffAnalysis, analysis: Analysis, now: datetime) -> list[Event]:
    """What was put off since is not put off twice."""
    if analysis.is_over or analysis.put_off != wish.times:
        return []
    if wish.times >= PUT_OFF_MAX:
        return [AnalysisFailed(analysis_id=wish.analysis_id, reason=wish.reason, failed_at=now)]
    again = now + PUT_OFF * 2**wish.times
    return [AnalysisPutOff(analysis_id=wish.analysis_id, times=wish.times + 1, put_off_at=now, again_at=again)]


class CompleteAnalysis(Command):
    """Write down what was heard."""

    analysis_id: str
    findings: Findings
    detail_key: str | None


@decides(CompleteAnalysis, analyses)
def complete(wish: CompleteAnalysis, analysis: Analysis, now: datetime) -> list[Event]:
    """An analysis ends once."""
    if analysis.is_over:
        return []
    return [
        AnalysisCompleted(
            analysis_id=wish.analysis_id, findings=wish.findings, detail_key=wish.detail_key, completed_at=now
        )
    ]


class FailAnalysis(Command):
    """Write down why nothing was heard."""

    analysis_id: str
    reason: str


@decides(FailAnalysis, analyses)
def fail(wish: FailAnalysis, analysis: Analysis, now: datetime) -> list[Event]:
    """An analysis ends once."""
    if analysis.is_over:
        return []
    return [AnalysisFailed(analysis_id=wish.analysis_id, reason=wish.reason, failed_at=now)]


class CancelAnalysis(Command):
    """Ask no more."""

    analysis_id: str
    workspace_id: str


@decides(CancelAnalysis, analyses)
def cancel(wish: CancelAnalysis, analysis: Analysis, now: datetime) -> list[Event]:
    """What is not over yet can be cancelled; what has been cancelled stays so."""
    if analysis.workspace_id != wish.workspace_id:
        raise NoSuchAnalysis
    if analysis.status == "cancelled":
        return []
    if analysis.is_over:
        raise AnalysisIsOver
    return [AnalysisCancelled(analysis_id=wish.analysis_id, cancelled_at=now)]


class NoteReport(Command):
    """Note that pictures have been drawn."""

    analysis_id: str
    artifacts: tuple[Artifact, ...]


@decides(NoteReport, analyses)
def note_report(wish: NoteReport, analysis: Analysis, now: datetime) -> list[Event]:
    """A report is drawn once, of what was heard."""
    if analysis.report_drawn or analysis.status != "completed":
        return []
    return [ReportDrawn(analysis_id=wish.analysis_id, artifacts=wish.artifacts, drawn_at=now)]


class GiveUpReport(Command):
    """Note that no pictures will be drawn, and why."""

    analysis_id: str
    reason: str


@decides(GiveUpReport, analyses)
def give_up_report(wish: GiveUpReport, analysis: Analysis, now: datetime) -> list[Event]:
    """What has been drawn is there, and what was never heard has no pictures."""
    if analysis.report_drawn or analysis.report_given_up or analysis.status != "completed":
        return []
    return [ReportNotDrawn(analysis_id=wish.analysis_id, reason=wish.reason, given_up_at=now)]


class NoteSourceDeleted(Command):
    """Note that the uploaded recording is gone."""

    analysis_id: str
    object_key: str


@decides(NoteSourceDeleted, analyses)
def note_source_deleted(wish: NoteSourceDeleted, analysis: Analysis, now: datetime) -> list[Event]:
    """It goes once."""
    if analysis.source_deleted:
        return []
    return [SourceDeleted(analysis_id=wish.analysis_id, object_key=wish.object_key, deleted_at=now)]
