"""Projects: created, listed, read, changed."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from litestar import Request, Response, get, patch, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct, json

from api.auth import Asker, needs
from api.kernel import IdempotencyKey, Url, check_url, stored
from api.studio.ports import Ports
from commands.studio.projects import ChangeProject, CreateProject
from domain.idempotency import claims
from domain.studio.projects import BuildRules, Format, Platform, Visibility, projects
from projections.studio.projects import ProjectDocument, project_counts, project_documents

T = TypeVar("T")

MANAGE = needs("builds:write", "member")
READ = needs("builds:write", "viewer")

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Description = Annotated[str, Meta(max_length=2000)]
Platforms = Annotated[list[Platform], Meta(max_length=10)]
Formats = Annotated[list[Format], Meta(max_length=10)]
#: The name of a file in `.github/workflows`.
Workflow = Annotated[
    str, Meta(max_length=100, pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*\.ya?ml)?\Z", examples=["build.yml"])
]
#: As many as the list of builds shows at a time.
Limit = Annotated[int, QueryParameter(ge=1, le=100, description="Max results")]
Offset = Annotated[int, QueryParameter(ge=0, le=1_000_000, description="Pagination offset")]
LIMIT = 20

ONE = {200: ResponseSpec(ProjectDocument, generate_examples=False, description="The project")}


class NewProject(Struct, forbid_unknown_fields=True):
    """A plug-in to be; no platforms or formats means all that there are runners for.

    With a `github_workflow` it is built by that workflow of its repository at GitHub, and not by runners.
    """

    name: Name
    description: Description = ""
    visibility: Visibility = "private"
    platforms: Platforms = []
    formats: Formats = []
    rules: BuildRules = BuildRules()
    github_workflow: Workflow = ""
    webhook_url: Url | None = None


class ProjectChange(Struct, forbid_unknown_fields=True):
    """What is to be different; what is left out stays as it is.

    A `webhook_url` of "" takes it away, and with a `github_workflow` of "" runners build it.
    """

    name: Name | None = None
    description: Description | None = None
    visibility: Visibility | None = None
    platforms: Platforms | None = None
    formats: Formats | None = None
    rules: BuildRules | None = None
    github_workflow: Workflow | None = None
    webhook_url: Annotated[str, Meta(max_length=2048)] | None = None


class ShownProject(ProjectDocument):
    """A project; when its webhook_url was set in this very request, also the secret, which is shown this once."""

    webhook_secret: str | None = None


class ProjectList(Struct):
    """The projects of the workspace, newest first."""

    projects: list[ProjectDocument]
    total: int
    limit: int
    offset: int


@post(
    "/functions/v1/projects",
    status_code=201,
    tags=["studio"],
    opt=MANAGE,
    responses={201: ResponseSpec(ShownProject, generate_examples=False, description="The project")},
)
async def create_project(
    request: Request[Any, Any, Any],
    data: JSONBody[NewProject],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - see `Claims`
) -> Response[bytes]:
    """Create a project. With a `webhook_url` the answer holds its `webhook_secret`, which is shown this once."""
    if data.webhook_url is not None:
        check_url(ports.web, data.webhook_url, ("body", "webhook_url"))
    claim = ports.claims.of(request, asker.tenant, data)
    project_id = ports.vault.new_id()
    await ports.execute(
        CreateProject(
            project_id=project_id,
            workspace_id=asker.workspace_id,
            name=data.name,
            description=data.description,
            visibility=data.visibility,
            platforms=_each_once(data.platforms),
            formats=_each_once(data.formats),
            rules=data.rules,
            workflow=data.github_workflow,
            webhook_url=data.webhook_url,
            webhook_secret_id=ports.vault.new_id(),
            once=claim,
        ),
        asker.context,
    )
    if claim is not None:
        project_id = (await ports.log.state(claims, claim.claim_id)).subject_id
    return await _shown(ports, asker, project_id, with_secret=data.webhook_url is not None, status=201)


@get("/functions/v1/projects", tags=["studio"], opt=READ)
async def list_projects(
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    limit: Limit = LIMIT,
    offset: Offset = 0,
) -> ProjectList:
    """List the projects of the workspace, newest first."""
    found = await ports.views.page(project_documents, asker.workspace_id, limit=limit, offset=offset)
    total = await ports.views.sums(project_counts, [asker.workspace_id], asker.workspace_id)
    return ProjectList(
        projects=[json.decode(each.body, type=ProjectDocument) for each in found],
        total=total[asker.workspace_id],
        limit=limit,
        offset=offset,
    )


@get("/functions/v1/projects/{project_id:str}", tags=["studio"], opt=READ, responses=ONE)
async def get_project(
    project_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Read a project."""
    return stored(await ports.views.get(project_documents, project_id, asker.workspace_id))


@patch(
    "/functions/v1/projects/{project_id:str}",
    tags=["studio"],
    opt=MANAGE,
    responses={200: ResponseSpec(ShownProject, generate_examples=False, description="The project")},
)
async def change_project(
    project_id: FromPath[str],
    data: JSONBody[ProjectChange],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Response[bytes]:
    """Change a project. Each time its `webhook_url` is given it gets a new `webhook_secret`, shown this once."""
    if data.webhook_url:
        check_url(ports.web, data.webhook_url, ("body", "webhook_url"))
    await ports.execute(
        ChangeProject(
            project_id=project_id,
            workspace_id=asker.workspace_id,
            name=data.name,
            description=data.description,
            visibility=data.visibility,
            platforms=None if data.platforms is None else _each_once(data.platforms),
            formats=None if data.formats is None else _each_once(data.formats),
            rules=data.rules,
            workflow=data.github_workflow,
            webhook_url=data.webhook_url,
            webhook_secret_id=ports.vault.new_id(),
        ),
        asker.context,
    )
    return await _shown(ports, asker, project_id, with_secret=bool(data.webhook_url))


async def _shown(
    ports: Ports, asker: Asker, project_id: str, *, with_secret: bool, status: int = 200
) -> Response[bytes]:
    body = await ports.views.get(project_documents, project_id, asker.workspace_id)
    if not with_secret:
        return stored(body, status)
    secret_id = (await ports.log.state(projects, project_id)).webhook_secret_id
    secret = json.encode(None if secret_id is None else ports.vault.signing_secret(secret_id))
    return stored(b'%b,"webhook_secret":%b}' % (body[:-1], secret), status)


def _each_once(things: list[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(things))
