"""Creating projects and changing them."""

from __future__ import annotations

from commands.idempotency import Once, claim
from commands.kernel import Command, Transaction, handles
from domain.identity.workspaces import workspaces
from domain.kernel import Event
from domain.studio.projects import (
    BuildRules,
    BuildRulesSet,
    Format,
    Platform,
    ProjectCreated,
    ProjectRenamed,
    ProjectShown,
    ProjectTargeted,
    ProjectWebhookRemoved,
    ProjectWebhookSet,
    Visibility,
    WorkflowChosen,
    check_rules,
    check_targets,
    projects,
)


class CreateProject(Command):
    """Begin a plug-in."""

    project_id: str
    workspace_id: str
    name: str
    description: str = ""
    visibility: Visibility = "private"
    platforms: tuple[Platform, ...] = ()
    formats: tuple[Format, ...] = ()
    rules: BuildRules = BuildRules()
    #: The workflow at GitHub that builds it; empty: runners do.
    workflow: str = ""
    webhook_url: str | None = None
    #: What the secret of the webhook follows from; needed with an address.
    webhook_secret_id: str = ""
    once: Once | None = None


@handles(CreateProject)
async def create(wish: CreateProject, transaction: Transaction) -> None:
    """A project is created once."""
    check_targets(wish.platforms, wish.formats)
    check_rules(wish.rules, wish.platforms, wish.formats)
    if not await claim(transaction, wish.once, wish.project_id):
        return
    project = await transaction.expect_new(projects, wish.project_id)
    if project.workspace_id:
        return
    now = transaction.now
    events: list[Event] = [
        ProjectCreated(
            project_id=wish.project_id,
            workspace_id=wish.workspace_id,
            name=wish.name,
            created_at=now,
            description=wish.description,
            visibility=wish.visibility,
            platforms=wish.platforms,
            formats=wish.formats,
            rules=wish.rules,
        )
    ]
    if wish.workflow:
        events.append(WorkflowChosen(project_id=wish.project_id, workflow=wish.workflow, chosen_at=now))
    if wish.webhook_url is not None:
        events.append(await _webhook(wish, wish.webhook_url, transaction))
    transaction.record(projects, wish.project_id, *events)


class ChangeProject(Command):
    """Change what is given; what is null stays as it is. An empty `webhook_url` takes the webhook away.

    With an empty `workflow` runners build it.
    """

    project_id: str
    workspace_id: str
    name: str | None = None
    description: str | None = None
    visibility: Visibility | None = None
    platforms: tuple[Platform, ...] | None = None
    formats: tuple[Format, ...] | None = None
    rules: BuildRules | None = None
    workflow: str | None = None
    webhook_url: str | None = None
    webhook_secret_id: str = ""


@handles(ChangeProject)
async def change(wish: ChangeProject, transaction: Transaction) -> None:
    """Only what is different is written down; an address given anew gets a new secret, also the same address."""
    project, now = await transaction.load(projects, wish.project_id), transaction.now
    project.belongs_to(wish.workspace_id)
    platforms = project.platforms if wish.platforms is None else wish.platforms
    formats = project.formats if wish.formats is None else wish.formats
    check_targets(platforms, formats)
    check_rules(project.rules if wish.rules is None else wish.rules, platforms, formats)
    changes: list[Event] = []
    name = project.name if wish.name is None else wish.name
    description = project.description if wish.description is None else wish.description
    if (name, description) != (project.name, project.description):
        changes.append(
            ProjectRenamed(
                project_id=wish.project_id,
                workspace_id=project.workspace_id,
                name=name,
                description=description,
                renamed_at=now,
            )
        )
    if wish.visibility is not None and wish.visibility != project.visibility:
        changes.append(ProjectShown(project_id=wish.project_id, visibility=wish.visibility, shown_at=now))
    if (platforms, formats) != (project.platforms, project.formats):
        changes.append(
            ProjectTargeted(project_id=wish.project_id, platforms=platforms, formats=formats, targeted_at=now)
        )
    if wish.rules is not None and wish.rules != project.rules:
        changes.append(BuildRulesSet(project_id=wish.project_id, rules=wish.rules, set_at=now))
    if wish.workflow is not None and wish.workflow != project.workflow:
        changes.append(WorkflowChosen(project_id=wish.project_id, workflow=wish.workflow, chosen_at=now))
    if wish.webhook_url == "" and project.webhook_url is not None:
        changes.append(ProjectWebhookRemoved(project_id=wish.project_id, removed_at=now))
    if wish.webhook_url and wish.webhook_secret_id != project.webhook_secret_id:
        changes.append(await _webhook(wish, wish.webhook_url, transaction))
    transaction.record(projects, wish.project_id, *changes)


class DropFormerWebhook(Command):
    """Take a webhook away that was set before the workspace began anew."""

    project_id: str
    workspace_id: str


@handles(DropFormerWebhook)
async def drop_former_webhook(wish: DropFormerWebhook, transaction: Transaction) -> None:
    """What those have chosen stays who have the workspace now, however late this comes."""
    project = await transaction.load(projects, wish.project_id)
    project.belongs_to(wish.workspace_id)
    workspace = await transaction.find(workspaces, wish.workspace_id)
    if project.webhook_url is not None and project.webhook_in(workspace) is None:
        removed = ProjectWebhookRemoved(project_id=wish.project_id, removed_at=transaction.now)
        transaction.record(projects, wish.project_id, removed)


async def _webhook(wish: CreateProject | ChangeProject, url: str, transaction: Transaction) -> ProjectWebhookSet:
    return ProjectWebhookSet(
        project_id=wish.project_id,
        workspace_id=wish.workspace_id,
        url=url,
        secret_id=wish.webhook_secret_id,
        set_at=transaction.now,
        tenancy=(await transaction.find(workspaces, wish.workspace_id)).tenancy,
    )
