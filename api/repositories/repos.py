"""Which repository a project is built from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta, Struct

from api.auth import Asker, needs
from api.kernel import check_url
from api.repositories.ports import Ports
from commands.repositories.repositories import CreateLinkedProject, LinkRepository, UnlinkRepository
from domain.kernel import Invalid, Value
from domain.studio.projects import Visibility, projects

WRITE = needs("builds:write", "member")
#: What GitHub takes for an owner and a repository. None of it is an option or a way out of a folder.
FULL_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")

FullName = Annotated[str, Meta(min_length=1, max_length=1024, examples=["somebody/reverb"])]
#: A branch, a tag or a commit; empty: the usual one.
Ref = Annotated[str, Meta(max_length=255, pattern=r"^([A-Za-z0-9][A-Za-z0-9._/+@-]*)?\Z")]


class NotARepository(Invalid):
    """A repository is `owner/name`, an https:// address, or in development a folder of the machine that is allowed."""


class LinkTo(Struct):
    """A project, and where its source is."""

    project_id: Annotated[str, Meta(min_length=1, max_length=64)]
    repo_full_name: FullName
    branch: Ref | None = None


class Unlink(Struct):
    """A project whose source is taken away."""

    project_id: Annotated[str, Meta(min_length=1, max_length=64)]


class NewLinkedProject(Struct):
    """A project to be, and where its source is."""

    repo_full_name: FullName
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    description: Annotated[str, Meta(max_length=2000)] = ""
    visibility: Visibility = "private"
    branch: Ref | None = None


class Linked(Struct):
    """The source that a project has now."""

    success: bool
    project_id: str
    source_repo_url: str


class Unlinked(Struct):
    """The project has no source any more."""

    success: bool


class LinkedProject(Struct):
    """A new project with its source."""

    project_id: str
    name: str
    source_repo_url: str


class Place(Value):
    """A repository: what it is called, and its address."""

    full_name: str
    url: str


def place_of(name: str, ports: Ports) -> Place:
    """Where a repository is; raises NotARepository."""
    web = ports.github.web
    # However it is written, GitHub tells of it by its owner and name alone.
    at_github = name[len(web) :] if name.casefold().startswith(web.casefold()) else name
    at_github = at_github.removesuffix("/").removesuffix(".git")
    if FULL_NAME.fullmatch(at_github) and ".." not in at_github:
        return Place(full_name=at_github, url=web + at_github)
    if name.startswith("https://"):
        check_url(ports.web, name, ("body", "repo_full_name"))
        if re.fullmatch(r"https://[A-Za-z0-9.\-:\[\]]+(?:/[A-Za-z0-9._~+-]+){1,16}/?", name):
            return Place(full_name=name.removeprefix("https://"), url=name)
    local = name.removeprefix("file://")
    roots = ports.settings.build_local_roots if ports.service.env == "development" else ()
    if local.startswith("/") and "\0" not in local:
        path = Path(local).resolve()
        if any(path.is_relative_to(Path(root).resolve()) for root in roots) and path.is_dir():
            return Place(full_name=str(path), url=path.as_uri())
    raise NotARepository(loc=("body", "repo_full_name"))


@post("/functions/v1/plugin-repos/link", status_code=200, tags=["studio"], opt=WRITE)
async def link_repository(
    data: JSONBody[LinkTo], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Linked:
    """Link a repository to a project. Builds that wait for a source begin."""
    (await ports.log.state(projects, data.project_id)).belongs_to(asker.workspace_id)
    place = place_of(data.repo_full_name, ports)
    wish = LinkRepository(
        project_id=data.project_id,
        workspace_id=asker.workspace_id,
        repo_full_name=place.full_name,
        source_repo_url=place.url,
        branch=data.branch or "",
    )
    await ports.execute(wish, asker.context)
    return Linked(success=True, project_id=data.project_id, source_repo_url=place.url)


@post("/functions/v1/plugin-repos/unlink", status_code=200, tags=["studio"], opt=WRITE)
async def unlink_repository(
    data: JSONBody[Unlink], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Unlinked:
    """Remove the repository link from a project."""
    wish = UnlinkRepository(project_id=data.project_id, workspace_id=asker.workspace_id)
    await ports.execute(wish, asker.context)
    return Unlinked(success=True)


@post("/functions/v1/plugin-repos/create-and-link", status_code=201, tags=["studio"], opt=WRITE)
async def create_and_link(
    data: JSONBody[NewLinkedProject], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> LinkedProject:
    """Create a new external project and link a repository."""
    place = place_of(data.repo_full_name, ports)
    wish = CreateLinkedProject(
        project_id=ports.vault.new_id(),
        workspace_id=asker.workspace_id,
        name=data.name,
        repo_full_name=place.full_name,
        source_repo_url=place.url,
        description=data.description,
        visibility=data.visibility,
        branch=data.branch or "",
    )
    await ports.execute(wish, asker.context)
    return LinkedProject(project_id=wish.project_id, name=data.name, source_repo_url=place.url)
