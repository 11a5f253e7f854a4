"""Upload sessions: started, reported on, ended."""

from __future__ import annotations

from datetime import datetime, timedelta

from commands.catalogue.accounts import check_own
from commands.kernel import Command, Transaction, decides, handles
from domain.catalogue.accounts import UploadReleased, UploadReserved, accounts
from domain.catalogue.releases import releases
from domain.catalogue.uploads import (
    REPORTS_MAX,
    NoSuchStep,
    Standing,
    Step,
    StepsAreLeft,
    StepStatus,
    TooManyReports,
    UploadIsOver,
    UploadIsUnderWay,
    UploadSession,
    UploadSessionAbandoned,
    UploadSessionCompleted,
    UploadSessionExpired,
    UploadSessionStarted,
    UploadStepReported,
    check_steps,
    upload_sessions,
)
from domain.kernel import Event


class StartUpload(Command):
    """Begin to hand in a release under an account."""

    session_id: str
    workspace_id: str
    release_id: str
    account_id: str
    steps: tuple[str, ...]
    timeout: timedelta


class ReportStep(Command):
    """Say how far a step is."""

    session_id: str
    workspace_id: str
    step: str
    status: StepStatus
    note: str
    timeout: timedelta


class CompleteUpload(Command):
    """Say that the release has been handed in."""

    session_id: str
    workspace_id: str
    reference: str


class AbandonUpload(Command):
    """Give up handing it in."""

    session_id: str
    workspace_id: str
    reason: str


class ExpireUpload(Command):
    """End a session of which nothing has been heard."""

    session_id: str


@handles(StartUpload)
async def start(wish: StartUpload, transaction: Transaction) -> None:
    """A release is handed in under an account by one session at a time."""
    check_steps(wish.steps)
    session = await transaction.expect_new(upload_sessions, wish.session_id)
    if session.standing != "absent":
        return
    release = await transaction.load(releases, wish.release_id)
    if release.workspace_id != wish.workspace_id:
        raise releases.absent
    account = await transaction.load(accounts, wish.account_id)
    check_own(account, wish.workspace_id)
    if wish.release_id in account.under_way:
        raise UploadIsUnderWay(session_id=account.under_way[wish.release_id])
    reserved = UploadReserved(
        account_id=wish.account_id,
        release_id=wish.release_id,
        session_id=wish.session_id,
        reserved_at=transaction.now,
    )
    transaction.record(accounts, wish.account_id, reserved)
    started = UploadSessionStarted(
        session_id=wish.session_id,
        workspace_id=wish.workspace_id,
        release_id=wish.release_id,
        release_version=release.version,
        account_id=wish.account_id,
        profile_id=account.profile_id,
        steps=wish.steps,
        started_at=transaction.now,
        expires_at=transaction.now + wish.timeout,
    )
    transaction.record(upload_sessions, wish.session_id, started)


@decides(ReportStep, upload_sessions)
def report(wish: ReportStep, session: UploadSession, now: datetime) -> list[Event]:
    """An open session hears of its own steps, in whatever order they come.

    The same once more is nothing new, but a sign of life: written down when a quarter of the time has gone by, it keeps
    the session of whoever waits for a step.
    """
    _check_own(session, wish.workspace_id)
    if wish.step not in [each.name for each in session.steps]:
        raise NoSuchStep(step=wish.step, steps=", ".join(each.name for each in session.steps))
    is_known = Step(name=wish.step, status=wish.status, note=wish.note) in session.steps
    if is_known and not _shows_life(session, wish.timeout, now):
        return []
    _check_open(session)
    if session.reports >= REPORTS_MAX:
        raise TooManyReports(reports_max=REPORTS_MAX)
    return [
        UploadStepReported(
            session_id=wish.session_id,
            workspace_id=wish.workspace_id,
            step=wish.step,
            status=wish.status,
            note=wish.note,
            reported_at=now,
            expires_at=now + wish.timeout,
        )
    ]


def _shows_life(session: UploadSession, timeout: timedelta, now: datetime) -> bool:
    if session.standing != "open" or session.expires_at is None or session.reports >= REPORTS_MAX:
        return False
    return now + timeout - session.expires_at >= timeout / 4


@handles(CompleteUpload)
async def complete(wish: CompleteUpload, transaction: Transaction) -> None:
    """A session is complete when all of its steps are done."""
    session = await transaction.load(upload_sessions, wish.session_id)
    _check_own(session, wish.workspace_id)
    if session.standing == "completed" and session.reference == wish.reference:
        return
    _check_open(session)
    if session.left:
        raise StepsAreLeft(steps=", ".join(session.left))
    completed = UploadSessionCompleted(
        session_id=wish.session_id,
        workspace_id=wish.workspace_id,
        reference=wish.reference,
        completed_at=transaction.now,
    )
    await _end(wish.session_id, session, completed, transaction)


@handles(AbandonUpload)
async def abandon(wish: AbandonUpload, transaction: Transaction) -> None:
    """Who gives up leaves the account to the next session."""
    session = await transaction.load(upload_sessions, wish.session_id)
    _check_own(session, wish.workspace_id)
    if session.standing == "abandoned" and session.reason == wish.reason:
        return
    _check_open(session)
    abandoned = UploadSessionAbandoned(
        session_id=wish.session_id, workspace_id=wish.workspace_id, reason=wish.reason, abandoned_at=transaction.now
    )
    await _end(wish.session_id, session, abandoned, transaction)


@handles(ExpireUpload)
async def expire(wish: ExpireUpload, transaction: Transaction) -> None:
    """Only what is open and was silent for so long is over."""
    session = await transaction.load(upload_sessions, wish.session_id)
    if session.standing != "open" or session.expires_at is None or transaction.now < session.expires_at:
        return
    expired = UploadSessionExpired(
        session_id=wish.session_id, workspace_id=session.workspace_id, expired_at=transaction.now
    )
    await _end(wish.session_id, session, expired, transaction)


async def _end(session_id: str, session: UploadSession, ended: Event, transaction: Transaction) -> None:
    transaction.record(upload_sessions, session_id, ended)
    account = await transaction.find(accounts, session.account_id)
    if account.under_way.get(session.release_id) == session_id:
        released = UploadReleased(
            account_id=session.account_id,
            release_id=session.release_id,
            session_id=session_id,
            released_at=transaction.now,
        )
        transaction.record(accounts, session.account_id, released)


def _check_own(session: UploadSession, workspace_id: str) -> None:
    if session.workspace_id != workspace_id:
        raise upload_sessions.absent


def _check_open(session: UploadSession) -> None:
    if session.standing != "open":
        raise UploadIsOver(standing=_SAID[session.standing])


_SAID: dict[Standing, str] = {"completed": "complete", "abandoned": "abandoned", "expired": "over, silent for too long"}
