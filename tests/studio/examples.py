"""One ordinary example of every command of the studio."""

from __future__ import annotations

from commands.identity.sessions import SignIn
from commands.studio.projects import ChangeProject, CreateProject, DropFormerWebhook
from domain.studio.projects import BuildRules, OnPush
from tests.examples import Example
from tests.identity.examples import ada, challenge, session

project = CreateProject(
    project_id="project-1",
    workspace_id="w1",
    name="Warm Tube",
    webhook_url="https://example.com/builds",
    webhook_secret_id="secret-1",
)
#: Somebody else had registered the address: the workspace begins anew.
signed_in = SignIn(challenge_id="challenge-1", right=True, person_id="ada", workspace_id="w1", session=session)

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
    Example(DropFormerWebhook(project_id="project-1", workspace_id="w1"), [ada, project, challenge, signed_in]),
)
