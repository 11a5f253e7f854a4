"""Writing down how far the workflow run of a build is."""

from __future__ import annotations

from datetime import datetime, timedelta

from commands.kernel import Command, decides
from domain.builds.builds import Build, builds
from domain.builds.workflows import (
    RunStatus,
    WorkflowDispatched,
    WorkflowRunAsked,
    WorkflowRunFound,
    WorkflowRunTold,
)
from domain.kernel import Event


class NoteDispatch(Command):
    """GitHub has taken it."""

    build_id: str
    begins_within: timedelta


@decides(NoteDispatch, builds)
def note_dispatch(wish: NoteDispatch, build: Build, now: datetime) -> list[Event]:
    """Dispatched once; also what is over by now, because its run is to be ended."""
    if build.workflow_run is not None:
        return []
    return [WorkflowDispatched(build_id=wish.build_id, dispatched_at=now, begins_by=now + wish.begins_within)]


class NoteRun(Command):
    """Its run is this one."""

    build_id: str
    run_id: int
    run_url: str


@decides(NoteRun, builds)
def note_run(wish: NoteRun, build: Build, now: datetime) -> list[Event]:
    """A build has one run."""
    if build.workflow_run is None or build.workflow_run.run_id:
        return []
    return [
        WorkflowRunFound(
            build_id=wish.build_id,
            workspace_id=build.workspace_id,
            run_id=wish.run_id,
            run_url=wish.run_url,
            found_at=now,
        )
    ]


class HearRun(Command):
    """Take note of what a webhook says of a run."""

    build_id: str
    workspace_id: str
    run_id: int
    status: RunStatus


@decides(HearRun, builds)
def hear(wish: HearRun, build: Build, now: datetime) -> list[Event]:
    """Each thing is heard once, nothing of what it is past, and of another run nothing."""
    build.belongs_to(wish.workspace_id)
    run = build.workflow_run
    if build.is_over or run is None or run.run_id not in (0, wish.run_id) or not run.is_news(wish.status):
        return []
    return [WorkflowRunTold(build_id=wish.build_id, status=wish.status, told_at=now)]


class NoteRunAsked(Command):
    """GitHub was asked and it was not over; `asks` says how often by then."""

    build_id: str
    asks: int
    wait: timedelta


@decides(NoteRunAsked, builds)
def note_asked(wish: NoteRunAsked, build: Build, now: datetime) -> list[Event]:
    """Each time is noted once."""
    if build.is_over or build.workflow_run is None or build.workflow_run.asks >= wish.asks:
        return []
    return [WorkflowRunAsked(build_id=wish.build_id, asks=wish.asks, asked_at=now, next_at=now + wish.wait)]
