"""One ordinary example of every command of the studio."""

from __future__ import annotations

from commands.studio.projects import ChangeProject, CreateProject
from domain.studio.projects import BuildRules, OnPush
from tests.examples import Example

project = CreateProject(
    project_id="project-1",
    workspace_id="w1",
    name="Warm Tube",
    webhook_url="https://example.com/builds",
    webhook_secret_id="secret-1",
)

EXAMPLES = (
    Example(project),
    Example(
        ChangeProject(
            project_id="project-1",
            workspace_id="w1",
            name="Warmer Tube",
            platforms=("linux",),
            rules=BuildRules(push=OnPush()),
        ),
        [project],
    ),
)
