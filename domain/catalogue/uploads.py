"""An upload session: a release handed in at a distributor, step by step, by a person or an agent who reports each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from msgspec.structs import replace

from domain.kernel import Category, Conflict, Event, Invalid, NotFound, State, Value, personal

#: What is done where nobody says otherwise.
STEPS = ("sign_in", "create_release", "enter_metadata", "upload_artwork", "upload_audio", "review", "submit")
STEPS_MAX = 50
#: Reports of one session, so that a robot that goes round in circles ends.
REPORTS_MAX = 1_000

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")

StepStatus = Literal["running", "done", "failed"]
Standing = Literal["absent", "open", "completed", "abandoned", "expired"]


class UploadSessionStarted(Event):
    """Somebody has begun to hand in a release as it was in one version; silent until `expires_at` it is over."""

    session_id: str
    workspace_id: str
    release_id: str
    release_version: int
    account_id: str
    profile_id: int | None
    steps: tuple[str, ...]
    started_at: datetime
    expires_at: datetime


class UploadStepReported(Event):
    """A step has begun, is done, or has failed, and what there was to say about it."""

    session_id: str
    workspace_id: str
    step: str
    status: StepStatus
    note: Annotated[str, personal("workspace_id")]
    reported_at: datetime
    expires_at: datetime


class UploadSessionCompleted(Event):
    """The release has been handed in; the reference is what the distributor calls it."""

    session_id: str
    workspace_id: str
    reference: Annotated[str, personal("workspace_id")]
    completed_at: datetime


class UploadSessionAbandoned(Event):
    """Somebody has given up, and why."""

    session_id: str
    workspace_id: str
    reason: Annotated[str, personal("workspace_id")]
    abandoned_at: datetime


class UploadSessionExpired(Event):
    """Nobody has reported anything for as long as a session waits."""

    session_id: str
    workspace_id: str
    expired_at: datetime


class Step(Value):
    """How far a step is; None: nobody has begun it."""

    name: str
    status: StepStatus | None = None
    note: str = ""


class UploadSession(State):
    """What rules know of a session."""

    workspace_id: str = ""
    standing: Standing = "absent"
    release_id: str = ""
    account_id: str = ""
    steps: tuple[Step, ...] = ()
    reports: int = 0
    reference: str = ""
    reason: str = ""
    expires_at: datetime | None = None

    @property
    def left(self) -> list[str]:
        """The steps that are not done."""
        return [each.name for each in self.steps if each.status != "done"]


def evolve(session: UploadSession, event: Event) -> UploadSession:
    """A session after one more event."""
    match event:
        case UploadSessionStarted():
            return UploadSession(
                workspace_id=event.workspace_id,
                standing="open",
                release_id=event.release_id,
                account_id=event.account_id,
                steps=tuple(Step(name=each) for each in event.steps),
                expires_at=event.expires_at,
            )
        case UploadStepReported():
            return replace(
                session,
                steps=tuple(
                    Step(name=each.name, status=event.status, note=event.note) if each.name == event.step else each
                    for each in session.steps
                ),
                reports=session.reports + 1,
                expires_at=event.expires_at,
            )
        case UploadSessionCompleted():
            return replace(session, standing="completed", reference=event.reference)
        case UploadSessionAbandoned():
            return replace(session, standing="abandoned", reason=event.reason)
        case UploadSessionExpired():
            return replace(session, standing="expired")
    return session


class NoSuchUploadSession(NotFound):
    """There is no upload session with this id."""


class NoSuchStep(NotFound):
    """This session has no step {step}. It has {steps}."""


class BadSteps(Invalid):
    """A session has between one and {steps_max} steps, each once, in small letters, digits, points and dashes."""


class UploadIsOver(Conflict):
    """This session is {standing}. Start another one."""


class UploadIsUnderWay(Conflict):
    """This release is being handed in under this account already, by the session {session_id}."""


class StepsAreLeft(Conflict):
    """These steps are not done: {steps}."""


class TooManyReports(Conflict):
    """A session takes {reports_max} reports at most. Abandon it and start another one."""


upload_sessions = Category(name="uploadsession", initial=UploadSession(), evolve=evolve, absent=NoSuchUploadSession)


def check_steps(steps: Sequence[str]) -> None:
    """Raise BadSteps for what no session can consist of."""
    if not 1 <= len(steps) <= STEPS_MAX or len(set(steps)) < len(steps) or not all(map(_NAME.fullmatch, steps)):
        raise BadSteps(steps_max=STEPS_MAX, loc=("body", "steps"))
