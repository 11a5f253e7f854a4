"""A project as its people see it: everything but the secret of its webhook."""

from __future__ import annotations

from msgspec.structs import replace

from domain.kernel import Event
from domain.studio.projects import (
    BuildRules,
    BuildRulesSet,
    Format,
    NoSuchProject,
    Platform,
    ProjectCreated,
    ProjectRenamed,
    ProjectShown,
    ProjectTargeted,
    ProjectWebhookRemoved,
    ProjectWebhookSet,
    Visibility,
    WorkflowChosen,
)
from projections.kernel import Document, Projection, projection, seconds, tally


class ProjectDocument(Document):
    """One plug-in; no platforms or formats means all that there are runners for."""

    id: str
    name: str
    description: str = ""
    visibility: Visibility = "private"
    platforms: tuple[Platform, ...] = ()
    formats: tuple[Format, ...] = ()
    rules: BuildRules = BuildRules()
    github_workflow: str | None = None
    webhook_url: str | None = None
    created_at: str = ""
    updated_at: str = ""


def evolve(project: ProjectDocument | None, event: Event) -> ProjectDocument | None:  # noqa: PLR0911 - one for each event
    """The project after one more event."""
    match project, event:
        case None, ProjectCreated():
            moment = seconds(event.created_at)
            return ProjectDocument(
                id=event.project_id,
                name=event.name,
                description=event.description,
                visibility=event.visibility,
                platforms=event.platforms,
                formats=event.formats,
                rules=event.rules,
                created_at=moment,
                updated_at=moment,
            )
        case ProjectDocument(), ProjectRenamed():
            return replace(
                project, name=event.name, description=event.description, updated_at=seconds(event.renamed_at)
            )
        case ProjectDocument(), ProjectShown():
            return replace(project, visibility=event.visibility, updated_at=seconds(event.shown_at))
        case ProjectDocument(), ProjectTargeted():
            return replace(
                project, platforms=event.platforms, formats=event.formats, updated_at=seconds(event.targeted_at)
            )
        case ProjectDocument(), BuildRulesSet():
            return replace(project, rules=event.rules, updated_at=seconds(event.set_at))
        case ProjectDocument(), WorkflowChosen():
            return replace(project, github_workflow=event.workflow or None, updated_at=seconds(event.chosen_at))
        case ProjectDocument(), ProjectWebhookSet():
            return replace(project, webhook_url=event.url, updated_at=seconds(event.set_at))
        case ProjectDocument(), ProjectWebhookRemoved():
            return replace(project, webhook_url=None, updated_at=seconds(event.removed_at))
    return project


project_documents: Projection[ProjectDocument] = projection(
    "projects",
    ProjectDocument,
    on={
        ProjectCreated: "project_id",
        ProjectRenamed: "project_id",
        ProjectShown: "project_id",
        ProjectTargeted: "project_id",
        BuildRulesSet: "project_id",
        WorkflowChosen: "project_id",
        ProjectWebhookSet: "project_id",
        ProjectWebhookRemoved: "project_id",
    },
    evolve=evolve,
    begins=(ProjectCreated,),
    absent=NoSuchProject,
    stream="project",
    version=2,
)

#: How many projects a workspace has made, by its id.
project_counts = tally("project_counts", {ProjectCreated: lambda event: [(event.workspace_id, 1)]})
