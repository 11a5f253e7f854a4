"""What becomes of machines when the owner of a workspace comes, or when it is no more."""

from __future__ import annotations

from dataclasses import dataclass

from commands.builds.runners import RemoveRunner
from commands.kernel import Execute, Log, ask_all, reacts_to
from domain.builds.runners import runners
from domain.identity.workspaces import WorkspaceForgotten, WorkspaceReclaimed, workspaces
from domain.ledger import Recorded


@dataclass(frozen=True)
class Ports:
    """Commands, and the log."""

    execute: Execute
    log: Log


@reacts_to(WorkspaceReclaimed, WorkspaceForgotten, name="remove-runners")
async def remove_runners(recorded: Recorded, ports: Ports) -> None:
    """No machine of whoever had the workspace before takes the builds of its owner, nor their secrets.

    What serves the workspace now was registered since: its owner may be quicker than this.
    """
    event = recorded.event
    assert isinstance(event, WorkspaceReclaimed | WorkspaceForgotten)
    workspace = await ports.log.state(workspaces, event.workspace_id)
    wishes = [
        RemoveRunner(runner_id=each, workspace_id=event.workspace_id)
        for each in await ports.log.begun(runners, {event.workspace_id})
        if not (await ports.log.state(runners, each)).serves(workspace)
    ]
    await ask_all(wishes, ports.execute, recorded.context())
