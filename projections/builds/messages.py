"""What other systems are told of builds: endpoints in the usual envelope, a project's own webhook as documented."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from domain.builds.builds import (
    BuildAsked,
    BuildCancelled,
    BuildFailed,
    BuildQueued,
    BuildStarted,
    BuildSucceeded,
    Status,
    builds,
)
from domain.identity.workspaces import workspaces
from domain.kernel import ERASED, Event, Value
from domain.studio.projects import projects
from domain.webhooks.messages import Find, OwnAddress, Recipient, Subject, message
from domain.webhooks.signing import BEATCONNECT
from projections.builds.builds import BuildDocument, build_documents
from projections.kernel import seconds

#: What each status is called as an event.
TYPES: dict[Status, str] = {
    "queued": "build.queued",
    "running": "build.started",
    "success": "build.success",
    "failed": "build.failed",
    "cancelled": "build.cancelled",
}


class BuildTold(Value):
    """A build, in few words."""

    build_id: str
    project_id: str
    status: Status
    version: str
    build_number: int
    error_message: str | None


class BuildStatusTold(Value):
    """A build as a project's own webhook is told of it."""

    event: str
    type: str
    build_id: str
    status: Status
    project_id: str
    version: str
    timestamp: str


def _as_of(subject: Subject, events: Sequence[Event]) -> BuildDocument:
    build = build_documents.fold(subject.id, events)
    assert build is not None
    return build


def told(subject: Subject, events: Sequence[Event]) -> BuildTold:
    """The build as of the event."""
    build = _as_of(subject, events)
    return BuildTold(
        build_id=build.id,
        project_id=build.project_id,
        status=build.status,
        version=build.version_number,
        build_number=build.build_number,
        error_message=build.error_message,
    )


def status_told(subject: Subject, events: Sequence[Event]) -> BuildStatusTold:
    """The same, in the words of the studio's contract."""
    build = _as_of(subject, events)
    return BuildStatusTold(
        event="build.status",
        type=TYPES[build.status],
        build_id=build.id,
        status=build.status,
        project_id=build.project_id,
        version=build.version_number,
        timestamp=seconds(_moment(events[-1])),
    )


def _moment(event: Event) -> datetime:
    moment: datetime = getattr(event, _AT[type(event)])
    return moment


async def webhook_of_project(subject: Subject, events: Sequence[Event], find: Find) -> str | None:
    """The address that its project has now."""
    del subject
    project = await find(projects, _asked(events).project_id)
    return project.webhook_in(await find(workspaces, project.workspace_id))


async def project_now(subject: Subject, find: Find, now: datetime) -> Recipient | None:
    """The address and the secrets that its project's webhook has at the moment of sending."""
    project = await find(projects, (await find(builds, subject.id)).project_id)
    url = project.webhook_in(await find(workspaces, project.workspace_id))
    if url in (None, ERASED):
        return None
    return Recipient(secret_ids=project.valid_secrets(now), url=url)


def _asked(events: Sequence[Event]) -> BuildAsked:
    return next(event for event in events if isinstance(event, BuildAsked))


_OWN = OwnAddress(
    url=webhook_of_project,
    body=status_told,
    schema=BuildStatusTold,
    signer=BEATCONNECT,
    recipient=project_now,
)
_AT: dict[type[Event], str] = {
    BuildQueued: "queued_at",
    BuildStarted: "started_at",
    BuildSucceeded: "succeeded_at",
    BuildFailed: "failed_at",
    BuildCancelled: "cancelled_at",
}
_ID = "3d1f5c1e-4a5b-4c6d-8e7f-9a0b1c2d3e4f"
_NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
_ASKED = BuildAsked(
    build_id=_ID,
    workspace_id="5f3c1f3e-8a55-4d9b-9b40-0d0f6a1c2d3e",
    project_id="7c9e6679-7425-40de-944b-e07fc1f90ae7",
    platforms=("linux",),
    formats=("vst3", "clap"),
    release_type="patch",
    version_number="1.0.1",
    build_number=5,
    asked_at=_NOON,
)
_QUEUED = BuildQueued(build_id=_ID, queued_at=_NOON)
_STARTED = BuildStarted(build_id=_ID, started_at=_NOON)


def _declare(says: str, *example: Any) -> None:
    event = type(example[-1])
    document = build_documents.fold(_ID, example)
    assert document is not None
    message(
        TYPES[document.status],
        says,
        on=event,
        at=_AT[event],
        body=told,
        schema=BuildTold,
        example=example,
        own=_OWN,
    )


_declare("A build waits for a runner.", _ASKED, _QUEUED)
_declare("A runner has begun a build.", _ASKED, _QUEUED, _STARTED)
_declare(
    "Every platform of a build is done.", _ASKED, _QUEUED, _STARTED, BuildSucceeded(build_id=_ID, succeeded_at=_NOON)
)
_declare(
    "A build came to nothing, and why.",
    _ASKED,
    _QUEUED,
    _STARTED,
    BuildFailed(
        build_id=_ID,
        workspace_id=_ASKED.workspace_id,
        error_code="step_failed",
        error_message="src/gain.cpp:12:3: error: 'gian' was not declared in this scope",
        failed_at=_NOON,
    ),
)
_declare("Nobody wants a build any more.", _ASKED, _QUEUED, BuildCancelled(build_id=_ID, cancelled_at=_NOON))
