"""What runners say and hear: registered once, then claims, heartbeats, logs, artifacts, and how it ended."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote

import structlog
from litestar import Request, Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct, json
from msgspec.structs import replace

from adapters.github.app import GithubUnavailable
from adapters.vault import Vault
from api.auth import Asker, anonymous, needs, presented_key
from api.builds.builds import READ
from api.builds.ports import Ports
from api.builds.settings import BuildRates
from api.passes import new_pass, public_pass, read_pass
from api.rates import by_address, rate
from api.repositories.repos import FULL_NAME
from commands.builds.builds import ClaimBuild, CompleteBuild, FailBuild, NoteSource, StartBuild, StoreArtifact
from commands.builds.ports import Chunk, JobRow
from commands.builds.runners import RegisterRunner, RemoveRunner
from commands.kernel import derived_id
from domain.builds import keys
from domain.builds.builds import Build, JobIsNotYours, JobIsOver, NoSuchBuild, Verdict, builds
from domain.builds.runners import Isolation, NotARunner, Runner, runners
from domain.builds.secrets import project_secrets
from domain.identity.workspaces import workspaces
from domain.keeping import check_text, is_text
from domain.kernel import Category, Conflict, Forbidden, Invalid, NotFound, State, TooLarge
from domain.ledger import PUBLIC, Authority, Context
from domain.repositories.connections import connections
from domain.studio.projects import PLATFORMS, Format, Platform, projects
from projections.builds.runners import RunnerDocument, runner_documents
from projections.kernel import seconds

log = structlog.get_logger(__name__)
S = TypeVar("S", bound=State)

#: What the tokens of runners begin with, and those that make a runner.
RUNNER_PREFIX, REGISTRATION_PREFIX = "lrn_", "lrr_"
#: What a pass is for that makes a machine a runner.
REGISTRATION = "runner registration"
REGISTRATION_SECONDS = 86_400
HEARTBEAT_SECONDS = 2.0
CHUNK_BYTES_MAX = 512 * 1024
#: Asked for with a runner's own token.
TOKEN = {"token": "Bearer", "statuses": ("401",)}
REGISTERED = by_address("runners", BuildRates, lambda rates: rates.runner_limit_per_hour)

Fence = Annotated[int, Meta(ge=1, le=2**31 - 1)]
FenceInQuery = Annotated[int, QueryParameter(ge=1, le=2**31 - 1, description="The fence of the claim")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", examples=["9f" * 32])]
#: A name that is one on every system, and no way to anywhere.
FileName = Annotated[
    str, Meta(min_length=1, max_length=200, pattern=r'^[^/\\\x00-\x1f\x7f:*?"<>|. ][^/\\\x00-\x1f\x7f:*?"<>|]*\Z')
]


class NoRegistration(Forbidden):
    """This token registers no runner, or no longer. Ask for a new one."""


class LogHasAGap(Conflict):
    """The log is {size} bytes long so far. Send what comes next."""


class ChunkTooLarge(TooLarge):
    """Send at most {bytes_max} bytes of a log at once."""


class LogIsFull(Conflict):
    """No more of this log is kept."""


class NotTheArtifact(Invalid):
    """What was uploaded is not what was announced: {problem}."""


class NothingUploaded(Conflict):
    """Nothing has been uploaded for this artifact."""


class RegistrationToken(Struct):
    """Lets machines register as runners of the workspace for a day."""

    token: str
    expires_at: str


class Registration(Struct, forbid_unknown_fields=True):
    """A machine that wants to be a runner."""

    token: Annotated[str, Meta(max_length=256)]
    name: Annotated[str, Meta(min_length=1, max_length=120)]
    platforms: Annotated[list[Platform], Meta(min_length=1, max_length=3)]
    formats: Annotated[list[Format], Meta(min_length=1, max_length=5)]
    isolation: Isolation = "none"
    version: Annotated[str, Meta(max_length=60)] = ""


class Registered(Struct):
    """A runner, and the token that it shows from now on."""

    runner_id: str
    token: str
    heartbeat_seconds: float
    lease_seconds: float


class Wanting(Struct, forbid_unknown_fields=True):
    """What a runner can do now; what is left out is as it was registered."""

    platforms: Annotated[list[Platform], Meta(max_length=3)] = []
    formats: Annotated[list[Format], Meta(max_length=5)] = []


class JobSource(Struct):
    """Where the source is; with a `token` that reads this repository, where it needs one."""

    url: str
    ref: str
    commit_sha: str
    token: str


class Job(Struct):
    """One platform of a build, for the runner that has claimed it. Everything it sends carries the `fence`."""

    job_id: str
    build_id: str
    project_id: str
    project_name: str
    fence: int
    lease_until: str
    lease_seconds: float
    heartbeat_seconds: float
    log_offset: int
    log_bytes_max: int
    seconds_max: float
    source: JobSource
    platform: Platform
    formats: list[Format]
    version_number: str
    build_number: int
    flags: dict[str, Any]
    clean_build: bool
    facts: dict[str, str]
    secrets: dict[str, str]


class Held(Struct, forbid_unknown_fields=True):
    """Which claim somebody speaks for."""

    fence: Fence


class Alive(Struct):
    """Whether to go on, and until when the job is kept."""

    cancel: bool
    lease_until: str | None


class Stepping(Struct, forbid_unknown_fields=True):
    """The step that a build is at, and how much of it is done, in percent."""

    fence: Fence
    current_step: Annotated[str, Meta(max_length=60)]
    step_progress: Annotated[int, Meta(ge=0, le=100)] = 0


class FoundSource(Struct, forbid_unknown_fields=True):
    """What was checked out."""

    fence: Fence
    commit_sha: Annotated[str, Meta(pattern=r"^[0-9a-f]{40,64}\Z", examples=["9f" * 20])]
    tags: Annotated[list[Annotated[str, Meta(max_length=255)]], Meta(max_length=64)] = []
    version_file: Annotated[str, Meta(max_length=256)] | None = None


class Submodule(Struct, forbid_unknown_fields=True):
    """A submodule that the source of a job has, by its address."""

    fence: Fence
    url: Annotated[str, Meta(min_length=1, max_length=2048, examples=["https://github.com/ada/dsp-library.git"])]


class SubmoduleToken(Struct):
    """What reads that one repository for an hour; empty where the workspace's installation does not see it."""

    token: str


class Versioned(Struct):
    """Which version the build is."""

    version_number: str


class LogSize(Struct):
    """How long the log is."""

    size: int


class NewArtifact(Struct, forbid_unknown_fields=True):
    """What is going to be uploaded."""

    fence: Fence
    format: Format
    file_name: FileName
    file_size: Annotated[int, Meta(ge=1)]
    checksum_sha256: Sha256
    content_type: Literal["application/zip", "application/octet-stream"] = "application/octet-stream"


class ArtifactUpload(Struct):
    """Where to PUT the bytes; then say that it is complete."""

    artifact_id: str
    upload_url: str
    headers: dict[str, str]


class CompleteArtifact(Struct, forbid_unknown_fields=True):
    """The upload is over; this is what it was."""

    fence: Fence
    format: Format
    file_name: FileName
    file_size: Annotated[int, Meta(ge=1)]
    checksum_sha256: Sha256
    content_type: Literal["application/zip", "application/octet-stream"] = "application/octet-stream"
    is_signed: bool = False
    validation: Verdict = "skipped"
    validation_detail: Annotated[str, Meta(max_length=500)] = ""


class Finish(Struct, forbid_unknown_fields=True):
    """How a job ended."""

    fence: Fence
    status: Literal["success", "failed"]
    error_code: Annotated[str, Meta(max_length=60, pattern=r"^[a-z_]*\Z")] = ""
    error_message: Annotated[str, Meta(max_length=2000)] = ""


class Finished(Struct):
    """How the build is."""

    status: str


class RunnerList(Struct):
    """The runners of the workspace, newest first."""

    runners: list[RunnerDocument]


# --- who runs ---------------------------------------------------------------------------------------------------------


def registration_token(vault: Vault, expires: int, asker: Asker | None = None) -> str:
    """What makes a machine a runner of the workspace of whoever asks, or without one of everybody's, until then."""
    if asker is None:
        return REGISTRATION_PREFIX + public_pass(vault, REGISTRATION, expires)
    return REGISTRATION_PREFIX + new_pass(vault, REGISTRATION, asker, expires)


@post("/functions/v1/runners/registration-token", status_code=201, tags=["studio"], opt=needs("builds:write", "admin"))
async def create_registration_token(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> RegistrationToken:
    """A token with which machines register as runners of the workspace, for a day.

    It is void before that once the key or the session that has asked for it is, and once its admin is no admin.
    """
    expires = ports.now() + timedelta(seconds=REGISTRATION_SECONDS)
    token = registration_token(ports.vault, int(expires.timestamp()), asker)
    return RegistrationToken(token=token, expires_at=seconds(expires))


@get("/functions/v1/runners", tags=["studio"], opt=READ)
async def list_runners(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> RunnerList:
    """The runners of the workspace, newest first."""
    found = await ports.views.page(runner_documents, asker.workspace_id, limit=100)
    return RunnerList(runners=[json.decode(each.body, type=RunnerDocument) for each in found])


@delete("/functions/v1/runners/{runner_id:str}", status_code=204, tags=["studio"], opt=needs("builds:write", "admin"))
async def remove_runner(runner_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> None:
    """Let a runner take no builds any more."""
    await ports.execute(RemoveRunner(runner_id=runner_id, workspace_id=asker.workspace_id), asker.context)


@post(
    "/functions/v1/runner/register",
    status_code=201,
    tags=["runner"],
    opt={**rate(REGISTERED), "statuses": ("403",)},
)
async def register_runner(data: JSONBody[Registration], ports: NamedDependency[Ports]) -> Registered:
    """Become a runner. The token is shown this once, and shown from then on as `Authorization: Bearer`."""
    prefix, found, given = data.token.partition(REGISTRATION_PREFIX)
    if prefix or not found:
        raise NoRegistration
    shown = await read_pass(given, REGISTRATION, ports.vault, ports.log, ports.now())
    if shown is None:
        raise NoRegistration
    runner_id = ports.vault.new_id()
    await ports.execute(
        RegisterRunner(
            runner_id=runner_id,
            workspace_id=shown.workspace_id,
            tenancy=shown.tenancy,
            name=data.name,
            platforms=tuple(dict.fromkeys(data.platforms)),
            formats=tuple(dict.fromkeys(data.formats)),
            isolation=data.isolation,
            version=data.version,
        ),
        _context(shown.workspace_id, runner_id),
    )
    return Registered(
        runner_id=runner_id,
        token=f"{RUNNER_PREFIX}{runner_id}.{ports.vault.token('runner', runner_id)}",
        heartbeat_seconds=HEARTBEAT_SECONDS,
        lease_seconds=ports.settings.build_lease_seconds,
    )


def _context(workspace_id: str, runner_id: str) -> Context:
    return Context(
        workspace_id=workspace_id,
        actor=f"runner:{runner_id}",
        correlation_id=anonymous().correlation_id,
    )


async def _runner(request: Request[Any, Any, Any], ports: Ports) -> tuple[str, Runner]:
    """Which runner asks; raises NotARunner."""
    runner_id, _, proof = (presented_key(request) or "").removeprefix(RUNNER_PREFIX).partition(".")
    if not proof or not ports.vault.same(ports.vault.token("runner", runner_id), proof):
        raise NotARunner
    runner = await ports.log.state(runners, runner_id)
    if not await _serves(ports, runner):
        raise NotARunner
    return runner_id, runner


async def _serves(ports: Ports, runner: Runner) -> bool:
    return runner.serves(await ports.log.state(workspaces, runner.workspace_id))


async def _authority(ports: Ports, runner_id: str) -> Authority:
    """The right of a runner as it is now, which ends with its removal and with whoever had it; raises NotARunner."""
    runner, seen = await _seen(ports, runners, runner_id)
    workspace, seen_of_workspace = await _seen(ports, workspaces, runner.workspace_id)
    if not runner.serves(workspace):
        raise NotARunner
    return Authority(relies_on=(*seen, *seen_of_workspace), renew=partial(_authority, ports, runner_id))


async def _seen(ports: Ports, category: Category[S], identity: str) -> tuple[S, list[tuple[str, int]]]:
    """The state of a thing, and its stream with the position of the newest event, where there is one."""
    stream = category.stream(identity)
    history = await ports.log.stream(stream)
    return category.fold([each.event for each in history]), [(stream, each.position) for each in history[-1:]]


async def _as_runner(ports: Ports, workspace_id: str, runner_id: str) -> Context:
    """In whose name a runner that may still take builds writes in a workspace; raises NotARunner."""
    return replace(_context(workspace_id, runner_id), authority=await _authority(ports, runner_id))


async def _held(
    request: Request[Any, Any, Any], ports: Ports, job_id: str, fence: int
) -> tuple[str, Platform, Build, str]:
    """The build that a runner speaks of, when it is the one that has it; raises JobIsNotYours and JobIsOver."""
    build_id, platform, build, runner_id = await _claimed_by(request, ports, job_id)
    build.is_held(platform, fence)
    return build_id, platform, build, runner_id


async def _claimed_by(request: Request[Any, Any, Any], ports: Ports, job_id: str) -> tuple[str, Platform, Build, str]:
    """The build that a runner speaks of, when nobody has claimed it since, also when it is over."""
    runner_id, _ = await _runner(request, ports)
    build_id, _, name = job_id.rpartition("-")
    platform = next((each for each in PLATFORMS if each == name), None)
    if platform is None:
        raise NoSuchBuild
    build = await ports.log.state(builds, build_id)
    if build.run(platform).runner_id != runner_id:
        if not build.run(platform).fence:
            raise NoSuchBuild
        raise JobIsNotYours
    return build_id, platform, build, runner_id


# --- jobs -------------------------------------------------------------------------------------------------------------


@post(
    "/functions/v1/runner/claim",
    status_code=200,
    tags=["runner"],
    responses={200: ResponseSpec(Job, generate_examples=False, description="A job")},
    opt=TOKEN | {"answers": {"204": {}}, "statuses": ("401",)},
)
async def claim_job(
    request: Request[Any, Any, Any], data: JSONBody[Wanting], ports: NamedDependency[Ports]
) -> Response[Any]:
    """The next job that this runner can do, workspaces in turn; waits for one for a while (204: none came).

    A runner waits once: an older claim of the same runner is answered with 204 when a newer one comes.
    """
    runner_id, runner = await _runner(request, ports)
    platforms = [each for each in runner.platforms if not data.platforms or each in data.platforms]
    formats = [each for each in runner.formats if not data.formats or each in data.formats]
    own = None if runner.workspace_id == PUBLIC else runner.workspace_id
    until = monotonic() + ports.settings.build_claim_seconds
    with ports.waiting.place(runner_id, runner.workspace_id, platforms, formats) as waiting:
        gone = asyncio.ensure_future(request.receive())
        gone.add_done_callback(lambda _: waiting.end())
        try:
            while waiting.due and not waiting.is_over:
                waiting.due = False
                row = await ports.jobs.claim(runner_id, own, platforms, formats, ports.settings.build_lease_seconds)
                if row is not None:
                    job = await _claimed(request, ports, runner_id, runner, row)
                    if job is not None:
                        return Response(job, status_code=200)
                    waiting.due = True
                else:
                    await waiting.wait(until - monotonic())
        finally:
            gone.cancel()
    # What has happened meanwhile may be that it is a runner no more.
    await _runner(request, ports)
    return Response(None, status_code=204)


async def _claimed(
    request: Request[Any, Any, Any], ports: Ports, runner_id: str, runner: Runner, row: JobRow
) -> Job | None:
    """The job behind a row, once the log says that it is this runner's; None when it is nobody's any more."""
    platform = next(each for each in PLATFORMS if each == row.platform)
    wish = ClaimBuild(
        build_id=row.build_id,
        platform=platform,
        runner_id=runner_id,
        fence=row.fence,
        isolation=runner.isolation,
        begins_within=timedelta(seconds=ports.settings.build_start_seconds),
    )
    try:
        # It may have waited since it was let in: it is looked at anew, and written only while it is a runner.
        await ports.execute(wish, await _as_runner(ports, row.workspace_id, runner_id))
    except NotARunner:
        await ports.jobs.release(row.build_id, platform, row.fence)
        raise
    except (JobIsNotYours, NoSuchBuild):
        build = await ports.log.state(builds, row.build_id)
        if build.is_over or build.status == "absent" or build.run(platform).completed:
            await ports.jobs.close(row.build_id, None if build.is_over else platform)
        return None
    build = await ports.log.state(builds, row.build_id)
    project = await ports.log.state(projects, build.project_id)
    token, secrets = await _source_token(ports, build), await _secrets(ports, build)
    # GitHub may have taken its time.
    await _runner(request, ports)
    lease = ports.now() + timedelta(seconds=ports.settings.build_lease_seconds)
    return Job(
        job_id=f"{row.build_id}-{platform}",
        build_id=row.build_id,
        project_id=build.project_id,
        project_name=project.name,
        fence=row.fence,
        lease_until=seconds(lease),
        lease_seconds=ports.settings.build_lease_seconds,
        heartbeat_seconds=HEARTBEAT_SECONDS,
        log_offset=row.log_bytes,
        log_bytes_max=ports.settings.build_log_bytes_max,
        seconds_max=ports.settings.build_seconds_max,
        source=JobSource(
            url=build.source_url,
            ref=build.ref,
            commit_sha=build.commit_sha,
            token=token,
        ),
        platform=platform,
        formats=list(build.wanted[platform]),
        version_number=build.version_number,
        build_number=build.build_number,
        flags=dict(build.flags),
        clean_build=build.clean_build,
        facts={"project_id": build.project_id, "api_base_url": _base(request, ports), "publishable_key": ""},
        secrets=secrets,
    )


async def _secrets(ports: Ports, build: Build) -> dict[str, str]:
    """What the signing step of a build is given."""
    held = (await ports.log.state(project_secrets, build.project_id)).held
    named = {name: each.secret_id for name, each in held.items()}
    return await ports.secrets.texts(build.workspace_id, build.project_id, named)


async def _source_token(ports: Ports, build: Build) -> str:
    """What lets the runner read the source of a build; empty: nothing does, or nothing is needed."""
    return await _token_of(ports, build, _name_of(ports, build.source_url))


def _name_of(ports: Ports, url: str) -> str:
    """What a repository at GitHub is called there."""
    return url.removeprefix(ports.github.web).removesuffix("/").removesuffix(".git")


async def _token_of(ports: Ports, build: Build, name: str) -> str:
    """What reads one repository at GitHub, of the owner of a build's source, that the workspace's installation sees."""
    if not ports.github.is_set_up or not build.source_url.startswith(ports.github.web):
        return ""
    owner = build.source_url.removeprefix(ports.github.web).partition("/")[0]
    if not FULL_NAME.fullmatch(name) or name.partition("/")[0].casefold() != owner.casefold():
        return ""
    connection = await ports.log.state(connections, build.workspace_id)
    if connection.installation_id is None:
        return ""
    try:
        return await ports.github.token_for(connection.installation_id, name) or ""
    except GithubUnavailable:
        # Public repositories need none, and of the others git will say what it lacks.
        log.warning("build.no_token", workspace_id=build.workspace_id)
        return ""


def _base(request: Request[Any, Any, Any], ports: Ports) -> str:
    return ports.service.url if ports.service.public_url else str(request.base_url).rstrip("/")


@post(
    "/functions/v1/runner/jobs/{job_id:str}/heartbeat",
    status_code=200,
    tags=["runner"],
    opt=TOKEN,
)
async def beat(
    request: Request[Any, Any, Any], job_id: FromPath[str], data: JSONBody[Held], ports: NamedDependency[Ports]
) -> Alive:
    """Keep a job, and hear whether anybody still wants it."""
    runner_id, _ = await _runner(request, ports)
    if not is_text(job_id):
        raise NoSuchBuild
    build_id, _, platform = job_id.rpartition("-")
    until = await ports.jobs.extend(build_id, platform, runner_id, data.fence, ports.settings.build_lease_seconds)
    if until is not None:
        return Alive(cancel=False, lease_until=seconds(until))
    run = (await ports.log.state(builds, build_id)).run(platform)
    if run.fence != data.fence or run.runner_id != runner_id:
        raise JobIsNotYours
    return Alive(cancel=True, lease_until=None)


@post("/functions/v1/runner/jobs/{job_id:str}/steps", status_code=200, tags=["runner"], opt=TOKEN)
async def note_step(
    request: Request[Any, Any, Any], job_id: FromPath[str], data: JSONBody[Stepping], ports: NamedDependency[Ports]
) -> Alive:
    """Say which step a build is at. The first one begins it."""
    step = check_text(data.current_step)
    build_id, platform, build, runner_id = await _held(request, ports, job_id, data.fence)
    if not build.run(platform).started:
        await ports.execute(
            StartBuild(
                build_id=build_id,
                platform=platform,
                fence=data.fence,
                ends_within=timedelta(seconds=ports.settings.build_seconds_max),
            ),
            await _as_runner(ports, build.workspace_id, runner_id),
        )
    kept = await ports.jobs.note(build_id, platform, data.fence, step, data.step_progress)
    return Alive(cancel=not kept, lease_until=None)


@post(
    "/functions/v1/runner/jobs/{job_id:str}/source",
    status_code=200,
    tags=["runner"],
    opt=TOKEN,
)
async def note_source(
    request: Request[Any, Any, Any], job_id: FromPath[str], data: JSONBody[FoundSource], ports: NamedDependency[Ports]
) -> Versioned:
    """Say what was checked out, and hear which version that is."""
    build_id, platform, build, runner_id = await _held(request, ports, job_id, data.fence)
    wish = NoteSource(
        build_id=build_id,
        platform=platform,
        fence=data.fence,
        commit_sha=data.commit_sha,
        tags=tuple(data.tags),
        version_file=data.version_file,
    )
    await ports.execute(wish, await _as_runner(ports, build.workspace_id, runner_id))
    return Versioned(version_number=(await ports.log.state(builds, build_id)).version_number)


@post("/functions/v1/runner/jobs/{job_id:str}/submodule-token", status_code=200, tags=["runner"], opt=TOKEN)
async def create_submodule_token(
    request: Request[Any, Any, Any], job_id: FromPath[str], data: JSONBody[Submodule], ports: NamedDependency[Ports]
) -> SubmoduleToken:
    """A token for a submodule of the source, where that is of the same owner at GitHub."""
    _, _, build, _ = await _held(request, ports, job_id, data.fence)
    if not data.url.startswith(ports.github.web):
        return SubmoduleToken(token="")
    return SubmoduleToken(token=await _token_of(ports, build, _name_of(ports, data.url)))


_BYTES = {"type": "string", "format": "binary"}
_RAW = {"required": True, "content": {"application/octet-stream": {"schema": _BYTES}}}


@post(
    "/functions/v1/runner/jobs/{job_id:str}/logs",
    status_code=200,
    tags=["runner"],
    opt=TOKEN | {"request_body": _RAW, "statuses": ("401", "413")},
)
async def append_log(
    request: Request[Any, Any, Any],
    job_id: FromPath[str],
    ports: NamedDependency[Ports],
    offset: Annotated[int, QueryParameter(ge=0, le=2**53, description="Where in the log these bytes begin")],
    fence: FenceInQuery,
) -> LogSize:
    """Append to the log. The same bytes at the same place are taken once, however often they are sent."""
    build_id, platform, build, _ = await _held(request, ports, job_id, fence)
    body = await request.body()
    if len(body) > CHUNK_BYTES_MAX:
        raise ChunkTooLarge(bytes_max=CHUNK_BYTES_MAX)
    # A body may come long after its headers: whoever sends it must still be the runner that has the job.
    await _held(request, ports, job_id, fence)
    size = next((row.log_bytes for row in await ports.jobs.of(build_id) if row.platform == platform), 0)
    if offset > size:
        raise LogHasAGap(size=size)
    fresh = body[size - offset :]
    if not fresh:
        return LogSize(size=size)
    if size + len(fresh) > ports.settings.build_log_bytes_max:
        raise LogIsFull
    key = keys.log_chunk(build.workspace_id, build_id, platform, fence, size, fresh)
    await ports.blobs.put_bytes(key, fresh, content_type="text/plain")
    after = await ports.jobs.add_chunk(build_id, platform, fence, Chunk(start=size, size=len(fresh), object_key=key))
    if after is None:
        raise JobIsOver
    return LogSize(size=after)


@post(
    "/functions/v1/runner/jobs/{job_id:str}/artifacts",
    status_code=201,
    tags=["runner"],
    opt=TOKEN | {"statuses": ("401", "413")},
)
async def announce_artifact(
    request: Request[Any, Any, Any], job_id: FromPath[str], data: JSONBody[NewArtifact], ports: NamedDependency[Ports]
) -> ArtifactUpload:
    """Say what is going to be uploaded, and hear where to."""
    build_id, platform, build, _ = await _held(request, ports, job_id, data.fence)
    if data.file_size > ports.settings.artifact_bytes_max:
        raise ChunkTooLarge(bytes_max=ports.settings.artifact_bytes_max)
    artifact_id = _artifact_id(build_id, platform, data.fence, data.file_name, data.checksum_sha256)
    headers: dict[str, str] = {"Content-Type": data.content_type}
    if ports.links.store.s3_public_url:
        key = keys.upload(build.workspace_id, build_id, artifact_id)
        url = await ports.blobs.presigned_put(key, content_type=data.content_type, seconds=3600, size=data.file_size)
        return ArtifactUpload(artifact_id=artifact_id, upload_url=url, headers=headers)
    expires = int(ports.now().timestamp()) + 3600
    proof = _upload_proof(ports, job_id, artifact_id, data.fence, data.file_name, data.file_size, expires)
    path = f"{_base(request, ports)}/functions/v1/runner/jobs/{job_id}/artifacts/{artifact_id}"
    query = f"fence={data.fence}&name={quote(data.file_name, safe='')}&size={data.file_size}&expires={expires}"
    return ArtifactUpload(artifact_id=artifact_id, upload_url=f"{path}?{query}&signature={proof}", headers=headers)


def _artifact_id(build_id: str, platform: str, fence: int, file_name: str, digest: str) -> str:
    return derived_id("artifact", build_id, platform, str(fence), file_name, digest)


def _upload_proof(ports: Ports, job_id: str, artifact_id: str, fence: int, name: str, size: int, expires: int) -> str:
    about = json.encode([job_id, artifact_id, fence, name, size, expires]).decode()
    return ports.vault.token("artifact upload", about)


@put(
    "/functions/v1/runner/jobs/{job_id:str}/artifacts/{artifact_id:str}",
    status_code=200,
    tags=["runner"],
    opt={"request_body": _RAW, "statuses": ("403", "413")},
    request_max_body_size=None,
)
async def upload_artifact(
    request: Request[Any, Any, Any],
    job_id: FromPath[str],
    artifact_id: FromPath[str],
    ports: NamedDependency[Ports],
    fence: FenceInQuery,
    name: Annotated[str, QueryParameter(max_length=800, description="The name that was announced")],
    size: Annotated[int, QueryParameter(ge=1, le=2**53, description="The size that was announced")],
    expires: Annotated[int, QueryParameter(ge=0, le=2**53, description="When the link ends")],
    signature: Annotated[str, QueryParameter(max_length=200, description="Our signature over all of it")],
) -> Response[None]:
    """Upload an artifact by the link that was given for it: exactly the bytes that were announced."""
    proof = _upload_proof(ports, job_id, artifact_id, fence, name, size, expires)
    if not ports.vault.same(proof, signature) or ports.now().timestamp() > expires:
        raise NoRegistration
    build_id, _, platform = job_id.rpartition("-")
    build = await _awaited(ports, build_id, platform, fence)

    async def counted(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        received = 0
        async for piece in body:
            received += len(piece)
            if received > size:
                break
            yield piece
        if received != size:
            raise NotTheArtifact(problem=f"{size} bytes were announced")
        # It may have been hours: what nobody waits for any more does not stay.
        await _awaited(ports, build_id, platform, fence)

    key = keys.upload(build.workspace_id, build_id, artifact_id)
    content_type = request.headers.get("content-type", "application/octet-stream")
    kind = "application/zip" if content_type == "application/zip" else "application/octet-stream"
    async with ports.uploads.place(request.stream(), build.workspace_id) as body:
        stored = await ports.blobs.put_stream(key, counted(body), content_type=kind, size_max=size)
    return Response(None, status_code=200, headers={"ETag": f'"{stored.etag}"'})


async def _awaited(ports: Ports, build_id: str, platform: str, fence: int) -> Build:
    """The build whose artifact is being sent, while its runner has it; JobIsNotYours, JobIsOver, or NoRegistration."""
    build = await ports.log.state(builds, build_id)
    build.is_held(platform, fence)
    if not await _serves(ports, await ports.log.state(runners, build.run(platform).runner_id)):
        raise NoRegistration  # the link shows who asks, and is no good any more
    return build


@post(
    "/functions/v1/runner/jobs/{job_id:str}/artifacts/{artifact_id:str}/complete",
    status_code=201,
    tags=["runner"],
    opt=TOKEN,
)
async def complete_artifact(
    request: Request[Any, Any, Any],
    job_id: FromPath[str],
    artifact_id: FromPath[str],
    data: JSONBody[CompleteArtifact],
    ports: NamedDependency[Ports],
) -> LogSize:
    """Say that an upload is over. It counts when what lies in the store is, to the byte, what was announced."""
    build_id, platform, build, runner_id = await _held(request, ports, job_id, data.fence)
    if artifact_id != _artifact_id(build_id, platform, data.fence, data.file_name, data.checksum_sha256):
        raise NotTheArtifact(problem="it has another name or digest")
    if artifact_id in build.artifacts:
        there = await ports.blobs.stat(build.artifacts[artifact_id].object_key)
        if there.size != data.file_size:
            raise NotTheArtifact(problem=f"it has {there.size} bytes")
        return LogSize(size=there.size)
    sent = keys.upload(build.workspace_id, build_id, artifact_id)
    # Kept apart from where it was sent to: whoever has the link for an hour may send something else.
    key = keys.artifact(build.workspace_id, build_id, artifact_id, data.file_name)
    try:
        found = await ports.blobs.stat(sent)
        await ports.blobs.put_stream(
            key,
            _announced(ports.blobs.read(found), data.file_size, data.checksum_sha256),
            content_type=data.content_type,
            size_max=found.size,
        )
    except NotFound as nothing:
        raise NothingUploaded from nothing
    except NotTheArtifact:
        await ports.blobs.delete(sent)
        raise
    await ports.execute(
        StoreArtifact(
            build_id=build_id,
            artifact_id=artifact_id,
            platform=platform,
            fence=data.fence,
            format=data.format,
            file_name=data.file_name,
            file_size=data.file_size,
            checksum_sha256=data.checksum_sha256,
            content_type=data.content_type,
            object_key=key,
            is_signed=data.is_signed,
            validation=data.validation,
            validation_detail=data.validation_detail,
        ),
        await _as_runner(ports, build.workspace_id, runner_id),
    )
    return LogSize(size=data.file_size)


async def _announced(body: AsyncIterator[bytes], size: int, sha256: str) -> AsyncIterator[bytes]:
    """The bytes, if they are those that were announced; otherwise NotTheArtifact before the last of them is kept."""
    digest, received = hashlib.sha256(), 0
    async for piece in body:
        digest.update(piece)
        received += len(piece)
        yield piece
    if (received, digest.hexdigest()) != (size, sha256):
        raise NotTheArtifact(problem=f"the store holds {received} bytes with the SHA-256 {digest.hexdigest()}")


@post(
    "/functions/v1/runner/jobs/{job_id:str}/finish",
    status_code=200,
    tags=["runner"],
    opt=TOKEN,
)
async def finish_job(
    request: Request[Any, Any, Any], job_id: FromPath[str], data: JSONBody[Finish], ports: NamedDependency[Ports]
) -> Finished:
    """Say how a job ended. Said again it is as it was."""
    build_id, platform, build, runner_id = await _claimed_by(request, ports, job_id)
    context = await _as_runner(ports, build.workspace_id, runner_id)
    if data.status == "success":
        await ports.execute(CompleteBuild(build_id=build_id, platform=platform, fence=data.fence), context)
    else:
        await ports.execute(
            FailBuild(
                build_id=build_id,
                error_code=data.error_code or "step_failed",
                error_message=data.error_message or "The build failed.",
                platform=platform,
                fence=data.fence,
            ),
            context,
        )
    await ports.jobs.close(build_id, platform)
    return Finished(status=(await ports.log.state(builds, build_id)).status)
