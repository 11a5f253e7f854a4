"""A repository: where the source of one project is."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

from msgspec.structs import replace

from domain.kernel import Category, Event, State, personal


class RepositoryLinked(Event):
    """The source of a project is here. `branch` is empty where the repository's own default counts."""

    target: ClassVar[str] = "project"

    project_id: str
    workspace_id: str
    repo_full_name: Annotated[str, personal("workspace_id")]
    source_repo_url: Annotated[str, personal("workspace_id", address=True)]
    branch: str
    linked_at: datetime
    installation_id: int | None = None


class RepositoryUnlinked(Event):
    """The project has no source any more."""

    target: ClassVar[str] = "project"

    project_id: str
    workspace_id: str
    unlinked_at: datetime


class Repository(State):
    """What rules know of the source of a project; the empty text where it has none."""

    workspace_id: str = ""
    repo_full_name: str = ""
    source_repo_url: str = ""
    branch: str = ""
    installation_id: int | None = None


def evolve(repository: Repository, event: Event) -> Repository:
    """A repository after one more event."""
    match event:
        case RepositoryLinked():
            return Repository(
                workspace_id=event.workspace_id,
                repo_full_name=event.repo_full_name,
                source_repo_url=event.source_repo_url,
                branch=event.branch,
                installation_id=event.installation_id,
            )
        case RepositoryUnlinked():
            return replace(repository, repo_full_name="", source_repo_url="", branch="", installation_id=None)
    return repository


repositories = Category(name="repository", initial=Repository(), evolve=evolve)
