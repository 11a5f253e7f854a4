"""What becomes of machines when the owner of a workspace comes, or when it is no more."""

from __future__ import annotations

from dataclasses import dataclass

from commands.builds.runners import RemoveRunner
from commands.kernel import Execute, Log, reacts_to
from domain.builds.runners import runners
from domain.identity.workspaces import WorkspaceForgotten, WorkspaceReclaimed
from domain.ledger import Recorded


@dataclass(frozen=True)
class Ports:
    """Commands, and the log."""

    execute: Execute
    log: Log


@reacts_to(WorkspaceReclaimed, WorkspaceForgotten, name="remove-runners")
async def remove_runners(recorded: Recorded, ports: Ports) -> None:
    """No machine of whoever had the workspace before takes the builds of its owner, nor their secrets."""
    event = recorded.event
    assert isinstance(event, WorkspaceReclaimed | WorkspaceForgotten)
    for runner_id in await ports.log.begun(runners, {event.workspace_id}):
        wish = RemoveRunner(runner_id=runner_id, workspace_id=event.workspace_id)
        await ports.execute(wish, recorded.context())
