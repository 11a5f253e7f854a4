"""What becomes of projects when the owner of their workspace comes."""

from __future__ import annotations

from dataclasses import dataclass

from commands.kernel import Execute, Log, reacts_to
from commands.studio.projects import DropFormerWebhook
from domain.identity.workspaces import WorkspaceReclaimed
from domain.ledger import Recorded
from domain.studio.projects import projects


@dataclass(frozen=True)
class Ports:
    """Commands, and the log."""

    execute: Execute
    log: Log


@reacts_to(WorkspaceReclaimed, name="drop-project-webhooks")
async def drop_webhooks(recorded: Recorded, ports: Ports) -> None:
    """Whoever had the workspace before is told of no builds, and their secrets start none."""
    event = recorded.event
    assert isinstance(event, WorkspaceReclaimed)
    for project_id in await ports.log.begun(projects, {event.workspace_id}):
        wish = DropFormerWebhook(project_id=project_id, workspace_id=event.workspace_id)
        await ports.execute(wish, recorded.context())
