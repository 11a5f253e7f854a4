"""Runners: registered and removed."""

from __future__ import annotations

from datetime import datetime

from commands.kernel import Command, decides
from domain.builds.runners import Isolation, NoSuchRunner, Runner, RunnerRegistered, RunnerRemoved, runners
from domain.kernel import Event
from domain.studio.projects import Format, Platform


class RegisterRunner(Command):
    """A machine wants to take builds."""

    runner_id: str
    workspace_id: str
    name: str
    platforms: tuple[Platform, ...]
    formats: tuple[Format, ...]
    isolation: Isolation = "none"
    version: str = ""
    #: Of the workspace when its registration was asked for.
    tenancy: int = 0


@decides(RegisterRunner, runners, creates=True)
def register(wish: RegisterRunner, runner: Runner, now: datetime) -> list[Event]:
    """A runner is registered once, under an id of its own."""
    if runner.workspace_id:
        return []
    return [
        RunnerRegistered(
            runner_id=wish.runner_id,
            workspace_id=wish.workspace_id,
            name=wish.name,
            platforms=wish.platforms,
            formats=wish.formats,
            isolation=wish.isolation,
            version=wish.version,
            registered_at=now,
            tenancy=wish.tenancy,
        )
    ]


class RemoveRunner(Command):
    """It is to take no builds any more."""

    runner_id: str
    workspace_id: str


@decides(RemoveRunner, runners)
def remove(wish: RemoveRunner, runner: Runner, now: datetime) -> list[Event]:
    """A workspace removes its own."""
    if runner.workspace_id != wish.workspace_id:
        raise NoSuchRunner
    if runner.removed:
        return []
    return [RunnerRemoved(runner_id=wish.runner_id, removed_at=now)]
