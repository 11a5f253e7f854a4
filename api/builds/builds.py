"""Builds: asked for, looked at, cancelled, and what came of them."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response import Redirect
from msgspec import Meta, Struct, json

from api.auth import Asker, needs
from api.builds.ports import Ports
from api.builds.settings import BuildRates
from api.kernel import IdempotencyKey
from api.past import looks_back
from api.rates import MINUTE_SECONDS, by_subject, rate
from api.repositories.repos import Ref
from api.studio.projects import LIMIT, Limit, Offset
from commands.builds.builds import AskForBuild, CancelBuild, LinkArtifact
from commands.builds.ports import JobRow
from domain.billing.quotas import Meter
from domain.builds.builds import Flag, NoSuchArtifact, Status, build_months, builds, month_id
from domain.builds.settings import Builds
from domain.idempotency import claims
from domain.kernel import Invalid, NotFound
from domain.ledger import PUBLIC
from domain.studio.projects import Format, Platform, Project, ReleaseType, projects
from projections.builds.builds import (
    ArtifactsDocument,
    BuildDocument,
    Metadata,
    artifact_downloads,
    build_artifacts,
    build_documents,
)
from projections.builds.runners import RunnerDocument, runner_documents
from projections.kernel import seconds

WRITE = needs("builds:write", "member")
READ = needs("builds:write", "viewer")
BUILDS_A_MINUTE = by_subject("studio-builds", BuildRates, lambda rates: rates.build_limit_per_minute, MINUTE_SECONDS)
#: What the plan of a workspace allows; counted by builds themselves, because those that never began count no longer.
BUILD_PLANS = Meter(kind="builds", on={}, limits=lambda settings: settings[Builds].monthly_build_limits)
#: How long a link to an artifact works.
LINK_SECONDS = 3600
FLAGS_MAX = 50
RUNNERS_LOOKED_AT = 100
#: What a build is found by only.
NOT_SHOWN = frozenset({"facets", "github_run_id"})


class NoSuchVersion(NotFound):
    """There is no version with this id in the project."""


class TooManyFlags(Invalid):
    """A build takes {flags_max} flags at most, each a name of up to 64 characters and a value."""


class NewBuild(Struct):
    """What is to be built. What is left out is as the project says, or else whatever there are runners for."""

    project_id: Annotated[str, Meta(min_length=1, max_length=64)]
    project_version_id: Annotated[str, Meta(max_length=64)] | None = None
    platforms: Annotated[list[Platform], Meta(max_length=10)] | None = None
    formats: Annotated[list[Format], Meta(max_length=10)] | None = None
    release_type: ReleaseType | None = None
    flags: dict[str, Flag] | None = None
    clean_build: bool | None = None
    ref: Ref = ""


class ShownBuild(Struct):
    """A build. `metadata` says how far it is while it runs."""

    id: str
    project_id: str
    status: Status
    version_number: str
    build_number: int
    platforms: list[Platform]
    formats: list[Format]
    release_type: ReleaseType
    flags: dict[str, Flag]
    clean_build: bool
    trigger: str
    ref: str
    commit_sha: str | None
    metadata: Metadata
    isolation: dict[str, str]
    error_code: str | None
    error_message: str | None
    queued_at: str
    started_at: str | None
    completed_at: str | None
    github_run_url: str | None


class BuildList(Struct):
    """Builds, newest first."""

    builds: list[ShownBuild]
    total: int
    limit: int
    offset: int


class ShownArtifact(Struct):
    """One plug-in in one format."""

    id: str
    platform: Platform
    format: Format
    file_name: str
    file_size: int
    checksum_sha256: str
    is_signed: bool
    download_count: int
    created_at: str
    content_type: str
    validation: str
    validation_detail: str


class Artifacts(Struct):
    """What came of a build."""

    artifacts: list[ShownArtifact]


class Download(Struct):
    """Where an artifact is, for a while."""

    url: str
    expires_at: str


class Cancelled(Struct):
    """A build that nobody wants any more."""

    id: str
    status: Status


class Usage(Struct):
    """Builds of this month. Without a limit of the plan, `limit` and `remaining` are null."""

    period: str
    used: int
    limit: int | None
    remaining: int | None
    extra_builds: int
    reset_at: str


@post(
    "/functions/v1/builds",
    status_code=201,
    tags=["studio"],
    opt={**WRITE, **rate(BUILDS_A_MINUTE), "statuses": ("409",)},
)
async def create_build(
    request: Request[Any, Any, Any],
    data: JSONBody[NewBuild],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - see `Claims`
) -> ShownBuild:
    """Start a new build of a project."""
    await ports.limits.take(request, asker.workspace_id)
    claim = ports.claims.of(request, asker.tenant, data)
    flags = data.flags or {}
    if len(flags) > FLAGS_MAX or any(len(name) > 64 or len(str(value)) > 256 for name, value in flags.items()):
        raise TooManyFlags(flags_max=FLAGS_MAX, loc=("body", "flags"))
    project = await ports.log.state(projects, data.project_id)
    project.belongs_to(asker.workspace_id)
    platforms = _each_once(data.platforms) or await platforms_of(ports, project)
    build_id = ports.vault.new_id()
    await ports.execute(
        AskForBuild(
            build_id=build_id,
            workspace_id=asker.workspace_id,
            project_id=data.project_id,
            platforms=platforms,
            formats=_each_once(data.formats) or project.formats,
            release_type=data.release_type or "patch",
            flags=flags,
            clean_build=bool(data.clean_build),
            ref=data.ref,
            commit_sha=await _commit_of(ports, asker, data),
            monthly_limit=await ports.plans.monthly_limit(asker.workspace_id, BUILD_PLANS),
            once=claim,
        ),
        asker.context,
    )
    if claim is not None:
        build_id = (await ports.log.state(claims, claim.claim_id)).subject_id
    return await _shown(ports, asker, build_id)


async def _commit_of(ports: Ports, asker: Asker, data: NewBuild) -> str:
    """The commit of an earlier build, where a version is to be built again."""
    if data.project_version_id is None:
        return ""
    earlier = await ports.log.state(builds, data.project_version_id)
    if earlier.workspace_id != asker.workspace_id or earlier.project_id != data.project_id:
        raise NoSuchVersion
    return earlier.commit_sha


async def platforms_of(ports: Ports, project: Project) -> tuple[Platform, ...]:
    """What a project is built for where nobody says: its own platforms, or all that there are runners for, or Linux."""
    if project.platforms:
        return project.platforms
    found: list[Platform] = []
    for workspace_id in (PUBLIC, project.workspace_id):
        for each in await ports.views.page(runner_documents, workspace_id, limit=RUNNERS_LOOKED_AT):
            found += json.decode(each.body, type=RunnerDocument).platforms
    return tuple(dict.fromkeys(found)) or ("linux",)


@get("/functions/v1/builds/usage", tags=["studio"], opt=READ)
async def get_build_usage(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> Usage:
    """How many builds of this month are used."""
    now = ports.now().astimezone(UTC)
    used = (await ports.log.state(build_months, month_id(asker.workspace_id, now))).used
    limit = await ports.plans.monthly_limit(asker.workspace_id, BUILD_PLANS)
    following = (now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)
    return Usage(
        period=f"{now:%Y-%m}",
        used=used,
        limit=limit,
        remaining=None if limit is None else max(limit - used, 0),
        extra_builds=0,
        reset_at=seconds(following),
    )


@get("/functions/v1/builds/{build_id:str}", tags=["studio"], opt=READ)
async def get_build(
    build_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> ShownBuild:
    """Current status and details of a build."""
    return await _shown(ports, asker, build_id)


@get("/functions/v1/builds", tags=["studio"], opt=READ)
async def list_builds(
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    project_id: Annotated[str | None, QueryParameter(description="Filter by project")] = None,
    status: Annotated[Status | None, QueryParameter(description="Filter by status")] = None,
    limit: Limit = LIMIT,
    offset: Offset = 0,
) -> BuildList:
    """Builds of the workspace, newest first."""
    facets = [f"project:{project_id}"] if project_id is not None else []
    facets += [f"status:{status}"] if status is not None else []
    if any("\0" in each for each in facets):
        return BuildList(builds=[], total=0, limit=limit, offset=offset)
    found, total = await ports.views.search(
        build_documents, asker.workspace_id, limit=limit, offset=offset, all_of=facets
    )
    shown = [_document(json.decode(each.body, type=BuildDocument), ()) for each in found]
    return BuildList(builds=shown, total=total, limit=limit, offset=offset)


@post(
    "/functions/v1/builds/{build_id:str}/cancel", status_code=200, tags=["studio"], opt=WRITE | {"statuses": ("409",)}
)
async def cancel_build(
    build_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Cancelled:
    """Cancel a build that is not over; its runner stops within seconds."""
    await ports.execute(CancelBuild(build_id=build_id, workspace_id=asker.workspace_id), asker.context)
    # A reaction does the same; this way its runner hears of it at once.
    await ports.jobs.close(build_id)
    return Cancelled(id=build_id, status="cancelled")


@get("/functions/v1/builds/{build_id:str}/artifacts", tags=["studio"], opt=READ)
async def list_artifacts(
    build_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Artifacts:
    """What came of a build so far."""
    found = await _artifacts(ports, asker, build_id)
    counts = await ports.views.sums(artifact_downloads, [each.id for each in found.artifacts], asker.workspace_id)
    return Artifacts(
        artifacts=[
            ShownArtifact(
                id=each.id,
                platform=each.platform,
                format=each.format,
                file_name=each.file_name,
                file_size=each.file_size,
                checksum_sha256=each.checksum_sha256,
                is_signed=each.is_signed,
                download_count=counts[each.id],
                created_at=each.created_at,
                content_type=each.content_type,
                validation=each.validation,
                validation_detail=each.validation_detail,
            )
            for each in found.artifacts
        ]
    )


@get(
    "/functions/v1/builds/{build_id:str}/download/{artifact_id:str}",
    tags=["studio"],
    opt=READ | {"answers": {"302": {}}},
)
async def download_artifact(
    request: Request[Any, Any, Any],
    build_id: FromPath[str],
    artifact_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    redirect: Annotated[bool, QueryParameter(description="Lead straight to the artifact")] = False,
) -> Response[Download]:
    """A link to download an artifact, which works for an hour. Every link that is given out is counted."""
    found = await _artifacts(ports, asker, build_id)
    artifact = next((each for each in found.artifacts if each.id == artifact_id), None)
    if artifact is None:
        raise NoSuchArtifact
    wish = LinkArtifact(
        link_id=ports.vault.new_id(), artifact_id=artifact_id, build_id=build_id, workspace_id=asker.workspace_id
    )
    await ports.execute(wish, asker.context)
    expires = ports.now() + timedelta(seconds=LINK_SECONDS)
    url = await ports.links.to_read(
        request, asker, artifact.object_key, LINK_SECONDS, content_type=artifact.content_type
    )
    accepts = request.headers.get("accept", "*/*")
    wants_bytes = "application/octet-stream" in accepts and "json" not in accepts
    if redirect or wants_bytes:
        return Redirect(url, status_code=302)
    return Response(Download(url=url, expires_at=seconds(expires)), status_code=200)


async def _artifacts(ports: Ports, asker: Asker, build_id: str) -> ArtifactsDocument:
    return json.decode(await ports.views.get(build_artifacts, build_id, asker.workspace_id), type=ArtifactsDocument)


async def _shown(ports: Ports, asker: Asker, build_id: str) -> ShownBuild:
    document = json.decode(await ports.views.get(build_documents, build_id, asker.workspace_id), type=BuildDocument)
    rows = await ports.jobs.of(build_id) if document.status == "running" and not looks_back() else ()
    return _document(document, rows)


def _document(document: BuildDocument, rows: Any) -> ShownBuild:
    told = {name: getattr(document, name) for name in BuildDocument.__struct_fields__ if name not in NOT_SHOWN}
    return ShownBuild(**told | {"metadata": _progress(rows)})


def _progress(rows: list[JobRow] | tuple[()]) -> Metadata:
    """What the runner that is furthest behind does, and how much of it is done."""
    claimed = [row for row in rows if row.state == "claimed" and row.step]
    if not claimed:
        return Metadata()
    behind = min(claimed, key=lambda row: row.progress)
    return Metadata(current_step=behind.step, step_progress=behind.progress)


def _each_once(things: list[Any] | None) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(things or ()))
