"""Builds that other systems ask for, with the secret of a project's webhook instead of a key."""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated, Any

from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta, Struct, json

from api.auth import anonymous, counted_address
from api.builds.builds import BUILD_PLANS, BUILDS_A_MINUTE, platforms_of
from api.builds.ports import Ports
from api.kernel import NO_JSON
from api.rates import MINUTE_SECONDS, REFUSED, by_address, rate
from api.repositories.repos import Ref
from api.studio.settings import StudioRates
from commands.builds.builds import AskForBuild
from domain.builds.builds import builds
from domain.identity.workspaces import workspaces
from domain.kernel import Invalid, Unauthenticated
from domain.ledger import Context
from domain.studio.projects import Format, Platform, Project, ReleaseType, projects


class NotTheSecret(Unauthenticated):
    """Show the secret of the project's webhook in X-Webhook-Secret, or sign the body with it in X-Signature."""


class NotATrigger(Invalid):
    """{problem}"""


class Trigger(Struct):
    """What is to be built; platforms and formats also under their other names."""

    ref: Ref = ""
    commit_sha: Annotated[str, Meta(pattern=r"^([0-9a-f]{40})?\Z")] = ""
    platforms: Annotated[list[Platform], Meta(max_length=10)] = []
    formats: Annotated[list[Format], Meta(max_length=10)] = []
    release_type: ReleaseType = "dev"
    build_platforms: Annotated[list[Platform], Meta(max_length=10)] = []
    build_formats: Annotated[list[Format], Meta(max_length=10)] = []
    plugin_version: Annotated[str, Meta(max_length=64)] = ""


class Triggered(Struct):
    """The build that was asked for."""

    build_id: str
    status: str


_BODY = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
#: Each costs a look or two before the secret is known, so nobody asks about what they have guessed without end.
ASKED = by_address("external builds", StudioRates, lambda rates: rates.studio_limit_per_minute, MINUTE_SECONDS)
_OPT = {"token": "Bearer", "statuses": ("401",)}


@post(
    "/functions/v1/external-builds/{project_id:str}/trigger",
    status_code=201,
    tags=["studio"],
    opt={**_OPT, **rate(ASKED, REFUSED, BUILDS_A_MINUTE), "request_body": _BODY},
)
async def trigger_build(
    request: Request[Any, Any, Any], project_id: FromPath[str], ports: NamedDependency[Ports]
) -> Triggered:
    """Build a project because something happened elsewhere, such as a push; its webhook's secret is the proof."""
    body = await request.body()
    project = await _project(request, ports, project_id, body)
    await ports.limits.take(request, project.workspace_id)
    try:
        data = json.decode(body or b"{}", type=Trigger)
    except NO_JSON as problem:
        raise NotATrigger(problem=str(problem), loc=("body",)) from None
    build_id = ports.vault.new_id()
    await ports.execute(
        AskForBuild(
            build_id=build_id,
            workspace_id=project.workspace_id,
            project_id=project_id,
            platforms=tuple(dict.fromkeys(data.platforms or data.build_platforms))
            or await platforms_of(ports, project),
            formats=tuple(dict.fromkeys(data.formats or data.build_formats)) or project.formats,
            release_type=data.release_type,
            trigger="external",
            ref=data.ref.removeprefix("refs/heads/"),
            commit_sha=data.commit_sha,
            monthly_limit=await ports.plans.monthly_limit(project.workspace_id, BUILD_PLANS),
        ),
        Context(workspace_id=project.workspace_id, actor="external", correlation_id=anonymous().correlation_id),
    )
    return Triggered(build_id=build_id, status="queued")


@get("/functions/v1/external-builds/{build_id:str}/status", tags=["studio"], opt={**_OPT, **rate(ASKED, REFUSED)})
async def get_triggered_build(
    request: Request[Any, Any, Any], build_id: FromPath[str], ports: NamedDependency[Ports]
) -> Triggered:
    """How a build is that was asked for from elsewhere."""
    build = await ports.log.state(builds, build_id)
    await _project(request, ports, build.project_id, b"")
    return Triggered(build_id=build_id, status=build.status)


async def _project(request: Request[Any, Any, Any], ports: Ports, project_id: str, body: bytes) -> Project:
    """The project whose secret is shown; one that is not there is refused like a wrong secret."""
    project = await ports.log.state(projects, project_id)
    workspace = await ports.log.state(workspaces, project.workspace_id)
    if project.webhook_in(workspace) is None or not _is_shown(request, ports, project, body):
        await ports.limits.take_failure(request, counted_address(request))
        raise NotTheSecret
    return project


def _is_shown(request: Request[Any, Any, Any], ports: Ports, project: Project, body: bytes) -> bool:
    """Whether a request carries the secret of a project's webhook, or a signature made with it."""
    if project.webhook_secret_id is None:
        return False
    secret = ports.vault.signing_secret(project.webhook_secret_id)
    shown = request.headers.get("x-webhook-secret", "")
    expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    signed = request.headers.get("x-signature", "")
    return ports.vault.same(secret, shown) or (bool(body) and ports.vault.same(expected, signed))
