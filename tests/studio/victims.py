"""What of the studio belongs to somebody else."""

from __future__ import annotations

from tests.identity.crowd import Visitor
from tests.journeys.kit import Neighbour
from tests.victims import Make, made

#: The project of each workspace, to which its codes belong.
PROJECTS: dict[str, str] = {}


def project(them: Visitor, _: Neighbour | None = None) -> str:
    if them.workspace_id not in PROJECTS:
        PROJECTS[them.workspace_id] = made(them, "/functions/v1/projects", {"name": "Theirs"})
    return PROJECTS[them.workspace_id]


THEIRS: dict[str, Make] = {"project_id": project}
