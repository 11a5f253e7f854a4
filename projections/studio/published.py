"""What is published of studio."""

from __future__ import annotations

from domain.published import published
from domain.studio.projects import (
    BuildRulesSet,
    ProjectCreated,
    ProjectRenamed,
    ProjectShown,
    ProjectTargeted,
    ProjectWebhookRemoved,
    ProjectWebhookSet,
    WorkflowChosen,
)

PUBLISHED = (
    published(ProjectCreated),
    published(ProjectRenamed),
    published(ProjectShown),
    published(ProjectTargeted),
    published(BuildRulesSet),
    published(WorkflowChosen),
    published(ProjectWebhookSet, hidden=("secret_id",)),
    published(ProjectWebhookRemoved),
)
