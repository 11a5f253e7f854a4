"""A workflow run: what GitHub does for a build that one of its own workflows makes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec.structs import replace

from domain.kernel import Event, Value, personal

#: How far GitHub says that a run is, in this order.
RunStatus = Literal["requested", "in_progress", "completed"]
STATUSES: tuple[RunStatus, ...] = ("requested", "in_progress", "completed")


class WorkflowDispatched(Event):
    """GitHub was asked to run the workflow of a build, and has taken it."""

    build_id: str
    dispatched_at: datetime
    #: When the build has failed unless a machine there has begun it.
    begins_by: datetime


class WorkflowRunFound(Event):
    """This is the run at GitHub that makes a build."""

    build_id: str
    workspace_id: str
    run_id: int
    run_url: Annotated[str, personal("workspace_id", address=True)]
    found_at: datetime


class WorkflowRunTold(Event):
    """Somebody who knows the secret of the app's webhook says that a run is so far; GitHub is asked whether it is."""

    build_id: str
    status: RunStatus
    told_at: datetime


class WorkflowRunAsked(Event):
    """GitHub was asked how a run stands, for so manieth time, and it was not over."""

    build_id: str
    asks: int
    asked_at: datetime
    next_at: datetime


class WorkflowRun(Value):
    """What rules know of the run of a build; `run_id` is 0 until it is known."""

    begins_by: datetime
    run_id: int = 0
    told: RunStatus | None = None
    asks: int = 0

    def is_news(self, status: RunStatus) -> bool:
        """Whether nobody has said so before, nor that it is further."""
        return self.told is None or STATUSES.index(status) > STATUSES.index(self.told)


Followed = WorkflowDispatched | WorkflowRunFound | WorkflowRunTold | WorkflowRunAsked


def follow(run: WorkflowRun | None, event: Followed) -> WorkflowRun | None:
    """The run after one more event."""
    if isinstance(event, WorkflowDispatched):
        return WorkflowRun(begins_by=event.begins_by)
    if run is None:
        return None
    match event:
        case WorkflowRunFound():
            return replace(run, run_id=event.run_id)
        case WorkflowRunTold():
            return replace(run, told=event.status)
        case WorkflowRunAsked():
            return replace(run, asks=event.asks)
