"""A workspace: what its members own together."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import field
from msgspec.structs import replace

from domain.kernel import Category, Event, NotFound, State, personal

Role = Literal["owner", "admin", "member", "viewer"]


class WorkspaceOpened(Event):
    """There is a new workspace."""

    workspace_id: str
    name: Annotated[str, personal("workspace_id")]
    opened_at: datetime


class MemberAdded(Event):
    """A person belongs to the workspace from now on."""

    workspace_id: str
    person_id: str
    role: Role
    added_at: datetime


class Workspace(State):
    """What rules need to know of a workspace."""

    open: bool = False
    roles: dict[str, Role] = field(default_factory=dict)


def evolve(workspace: Workspace, event: Event) -> Workspace:
    """A workspace after one more event."""
    match event:
        case WorkspaceOpened():
            return replace(workspace, open=True)
        case MemberAdded():
            return replace(workspace, roles=workspace.roles | {event.person_id: event.role})
    return workspace


class NoSuchWorkspace(NotFound):
    """There is no such workspace."""


workspaces = Category(name="workspace", initial=Workspace(), evolve=evolve, absent=NoSuchWorkspace)
