"""A runner: a machine that takes builds."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec.structs import replace

from domain.identity.workspaces import Workspace
from domain.kernel import Category, Event, NotFound, State, Unauthenticated
from domain.ledger import PUBLIC
from domain.studio.projects import Format, Platform

Isolation = Literal["strong", "medium", "none"]


class RunnerRegistered(Event):
    """A machine takes builds from now on: of its workspace, or of everybody's where that is `public`."""

    runner_id: str
    workspace_id: str
    name: str
    platforms: tuple[Platform, ...]
    formats: tuple[Format, ...]
    isolation: Isolation
    version: str
    registered_at: datetime
    #: Of the workspace when its registration was asked for: it takes no builds of whoever has that later.
    tenancy: int = 0


class RunnerRemoved(Event):
    """It takes no builds any more."""

    runner_id: str
    removed_at: datetime


class Runner(State):
    """What rules know of a runner."""

    workspace_id: str = ""
    platforms: tuple[Platform, ...] = ()
    formats: tuple[Format, ...] = ()
    isolation: Isolation = "none"
    tenancy: int = 0
    removed: bool = False

    def serves(self, workspace: Workspace) -> bool:
        """Whether it takes builds: of its workspace as it was when it came, or of everybody's."""
        if not self.workspace_id or self.removed:
            return False
        return self.workspace_id == PUBLIC or (workspace.open and workspace.tenancy == self.tenancy)


def evolve(runner: Runner, event: Event) -> Runner:
    """A runner after one more event."""
    match event:
        case RunnerRegistered():
            return Runner(
                workspace_id=event.workspace_id,
                platforms=event.platforms,
                formats=event.formats,
                isolation=event.isolation,
                tenancy=event.tenancy,
            )
        case RunnerRemoved():
            return replace(runner, removed=True)
    return runner


class NoSuchRunner(NotFound):
    """There is no runner with this id."""


class NotARunner(Unauthenticated):
    """This is not the token of a runner. Register it."""


runners = Category(name="runner", initial=Runner(), evolve=evolve, absent=NoSuchRunner)
