"""Linking the source of a project, and unlinking it."""

from __future__ import annotations

from commands.kernel import Command, Transaction, handles
from domain.repositories.repositories import RepositoryLinked, RepositoryUnlinked, repositories
from domain.studio.projects import ProjectCreated, Visibility, projects


class LinkRepository(Command):
    """Say where the source of a project is; whoever sends it has checked the address."""

    project_id: str
    workspace_id: str
    repo_full_name: str
    source_repo_url: str
    branch: str = ""
    installation_id: int | None = None


@handles(LinkRepository)
async def link(wish: LinkRepository, transaction: Transaction) -> None:
    """A project has one source; the same one is not linked twice."""
    (await transaction.load(projects, wish.project_id)).belongs_to(wish.workspace_id)
    await _record(wish, transaction)


async def _record(wish: LinkRepository, transaction: Transaction) -> None:
    known = await transaction.find(repositories, wish.project_id)
    linked = RepositoryLinked(
        project_id=wish.project_id,
        workspace_id=wish.workspace_id,
        repo_full_name=wish.repo_full_name,
        source_repo_url=wish.source_repo_url,
        branch=wish.branch,
        installation_id=wish.installation_id,
        linked_at=transaction.now,
    )
    if repositories.fold([linked]) != known:
        transaction.record(repositories, wish.project_id, linked)


class CreateLinkedProject(Command):
    """Begin a plug-in whose source is there already: both, or neither."""

    project_id: str
    workspace_id: str
    name: str
    repo_full_name: str
    source_repo_url: str
    description: str = ""
    visibility: Visibility = "private"
    branch: str = ""


@handles(CreateLinkedProject)
async def create_linked(wish: CreateLinkedProject, transaction: Transaction) -> None:
    """A project is created once, and has its source from the beginning."""
    if (await transaction.expect_new(projects, wish.project_id)).workspace_id:
        return
    created = ProjectCreated(
        project_id=wish.project_id,
        workspace_id=wish.workspace_id,
        name=wish.name,
        created_at=transaction.now,
        description=wish.description,
        visibility=wish.visibility,
    )
    transaction.record(projects, wish.project_id, created)
    source = LinkRepository(
        project_id=wish.project_id,
        workspace_id=wish.workspace_id,
        repo_full_name=wish.repo_full_name,
        source_repo_url=wish.source_repo_url,
        branch=wish.branch,
    )
    await _record(source, transaction)


class UnlinkRepository(Command):
    """Take the source of a project away; its builds so far stay."""

    project_id: str
    workspace_id: str


@handles(UnlinkRepository)
async def unlink(wish: UnlinkRepository, transaction: Transaction) -> None:
    """What has no source is not unlinked."""
    (await transaction.load(projects, wish.project_id)).belongs_to(wish.workspace_id)
    if not (await transaction.find(repositories, wish.project_id)).source_repo_url:
        return
    gone = RepositoryUnlinked(project_id=wish.project_id, workspace_id=wish.workspace_id, unlinked_at=transaction.now)
    transaction.record(repositories, wish.project_id, gone)
