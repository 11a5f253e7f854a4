"""What GitHub tells us: pushes, tags and releases are built by the rules of the projects, and runs of builds go on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Callable, Collection
from typing import Annotated, Any

import structlog
from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import HeaderParameter
from msgspec import Meta, Struct, json

from api.auth import anonymous
from api.builds.builds import BUILD_PLANS, platforms_of
from api.builds.ports import Ports
from api.kernel import NO_JSON
from api.repositories.github import GithubIsOff
from commands.builds.builds import AskForBuild
from commands.builds.workflows import HearRun
from commands.kernel import derived_id
from commands.repositories.connections import NoteInstallationGone
from domain.builds.builds import NoSuchBuild, Trigger, builds
from domain.builds.workflows import STATUSES
from domain.kernel import Exhausted, Forbidden, Invalid
from domain.ledger import PUBLIC, Context
from domain.repositories.connections import installations
from domain.studio.projects import BuildConfig, Project, projects
from projections.builds.builds import BuildDocument, build_documents, of_run
from projections.repositories.repositories import RepositoryDocument, called, repository_documents

log = structlog.get_logger(__name__)

#: What GitHub sends at most.
BODY_BYTES_MAX = 25 * 1024 * 1024
#: Of a push that changes more files than these, all rules about files think that it concerns them.
FILES_MAX = 5_000
PROJECTS_AT_ONCE = 100
_BRANCH, _TAG = "refs/heads/", "refs/tags/"
_BUILD_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Name = Annotated[str, Meta(min_length=1, max_length=512, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Commit = Annotated[str, Meta(pattern=r"^[0-9a-f]{40}\Z")]
FullName = Annotated[str, Meta(max_length=200)]


class NotFromGithub(Forbidden):
    """This is not signed with the secret of the app's webhook."""


class NotUnderstood(Invalid):
    """GitHub does not say it like that: {problem}"""


class Installation(Struct):
    """Which installation of our app this is about."""

    id: Annotated[int, Meta(ge=1, le=2**53)]


class Repository(Struct):
    """Which repository."""

    full_name: FullName
    pushed_at: Any = None


class Changes(Struct):
    """What one commit of a push changes."""

    added: list[str] = []
    removed: list[str] = []
    modified: list[str] = []


class Push(Struct):
    """Commits, or a tag, are there that were not."""

    ref: Name
    after: Commit
    repository: Repository
    installation: Installation | None = None
    deleted: bool = False
    commits: list[Changes] = []


class Released(Struct):
    """A tag, under which something is released."""

    tag_name: Name


class Release(Struct):
    """Something became of a release."""

    action: Annotated[str, Meta(max_length=64)]
    release: Released
    repository: Repository
    installation: Installation | None = None


class Installed(Struct):
    """Something became of an installation."""

    action: Annotated[str, Meta(max_length=64)]
    installation: Installation


class WorkflowRun(Struct):
    """A run of a workflow, under the name that its workflow gives it."""

    id: Annotated[int, Meta(ge=1, le=2**53)]
    display_title: Annotated[str, Meta(max_length=2000)] | None = None


class Ran(Struct):
    """Something became of a run."""

    action: Annotated[str, Meta(max_length=64)]
    workflow_run: WorkflowRun
    installation: Installation | None = None


class Skipped(Struct):
    """A project whose rules ask for a build that there cannot be."""

    project_id: str
    error: str
    message: str


class Told(Struct):
    """What follows from it."""

    event: str
    builds: list[str]
    skipped: list[Skipped]


class Asked(Struct):
    """What a rule asks for."""

    trigger: Trigger
    config: BuildConfig
    ref: str
    commit_sha: str = ""
    pushed_at: int = 0


_BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"type": "object", "description": "As GitHub sends it."}}},
}


@post(
    "/functions/v1/github-app-callback/webhook",
    status_code=202,
    tags=["studio"],
    opt={"request_body": _BODY, "statuses": ("403", "413", "503")},
    request_max_body_size=BODY_BYTES_MAX,
)
async def hear_github(
    request: Request[Any, Any, Any],
    ports: NamedDependency[Ports],
    event: Annotated[str, HeaderParameter(name="X-GitHub-Event", max_length=64, description="What it is about")] = "",
    signature: Annotated[
        str, HeaderParameter(name="X-Hub-Signature-256", max_length=128, description="GitHub's signature of the body")
    ] = "",
    delivery: Annotated[
        str, HeaderParameter(name="X-GitHub-Delivery", max_length=128, description="Which message this is")
    ] = "",
) -> Told:
    """Take a webhook of our app at GitHub. The same message twice is built once, whatever it is called."""
    if ports.github.signed(b"") is None:
        raise GithubIsOff
    if not signature:
        raise NotFromGithub
    body = await request.body()
    if not ports.vault.same(ports.github.signed(body) or "", signature):
        raise NotFromGithub
    told = Told(event=event, builds=[], skipped=[])
    match event:
        case "push":
            push = _read(body, Push)
            await _build(ports, told, body, push.repository, push.installation, lambda of: _after_push(of, push))
        case "release":
            release = _read(body, Release)
            await _build(
                ports, told, body, release.repository, release.installation, lambda of: _after_release(of, release)
            )
        case "workflow_run":
            await _hear_run(ports, told, _read(body, Ran))
        case "installation":
            await _note_installation(ports, _read(body, Installed))
    log.info("github.told", event_type=event, delivery=delivery, builds=told.builds)
    return told


def _read(body: bytes, shape: Any) -> Any:
    try:
        return json.decode(body, type=shape)
    except NO_JSON as problem:
        raise NotUnderstood(problem=str(problem), loc=("body",)) from None


def _after_push(project: Project, push: Push) -> Asked | None:
    """What a project's rules make of a push, to a branch or of a tag."""
    if push.deleted:
        return None
    rules, branch, tag = project.rules, push.ref.removeprefix(_BRANCH), push.ref.removeprefix(_TAG)
    if rules.push is not None and branch != push.ref and rules.push.wants(branch, _files(push)):
        pushed_at = push.repository.pushed_at
        moment = pushed_at if isinstance(pushed_at, int) and 0 <= pushed_at < 2**53 else 0
        return Asked("push", rules.push.build_config, branch, push.after, moment)
    if rules.tag is not None and tag != push.ref and rules.tag.wants(tag):
        # An annotated tag is an object of its own; the commit behind it is found where the repository is.
        return Asked("tag", rules.tag.build_config, push.ref)
    return None


def _files(push: Push) -> Collection[str] | None:
    """The files that a push changes; None where it does not say, as when a branch is new or was set back."""
    files = {name for each in push.commits for name in (*each.added, *each.removed, *each.modified)}
    return files if 0 < len(files) <= FILES_MAX else None


def _after_release(project: Project, release: Release) -> Asked | None:
    rule = project.rules.release
    if rule is None or release.action not in rule.release_types:
        return None
    return Asked("release", rule.build_config, f"{_TAG}{release.release.tag_name}")


async def _build(
    ports: Ports,
    told: Told,
    body: bytes,
    repository: Repository,
    installation: Installation | None,
    rule: Callable[[Project], Asked | None],
) -> None:
    """Ask for what the rules of every project want that is linked to a repository of this installation."""
    if installation is None:
        return
    workspace_id = (await ports.log.state(installations, str(installation.id))).workspace_id
    if not workspace_id or "\0" in repository.full_name:
        return
    # The name of a delivery is not signed, so whoever replays a message could give it another one.
    digest = hashlib.sha256(body).hexdigest()
    context = Context(workspace_id=workspace_id, actor="github", correlation_id=anonymous().correlation_id)
    monthly_limit = await ports.plans.monthly_limit(workspace_id, BUILD_PLANS)
    async for project_id in _linked(ports, workspace_id, repository.full_name):
        project = await ports.log.state(projects, project_id)
        asked = rule(project)
        if asked is None:
            continue
        build_id = derived_id("github", digest, project_id)
        wish = AskForBuild(
            build_id=build_id,
            workspace_id=workspace_id,
            project_id=project_id,
            platforms=asked.config.platforms or await platforms_of(ports, project),
            formats=asked.config.formats or project.formats,
            release_type=asked.config.release_type,
            trigger=asked.trigger,
            ref=asked.ref,
            commit_sha=asked.commit_sha,
            pushed_at=asked.pushed_at,
            monthly_limit=monthly_limit,
        )
        try:
            await ports.execute(wish, context)
        except (Invalid, Exhausted) as refusal:
            told.skipped.append(Skipped(project_id, refusal.code, str(refusal)))
            log.warning("github.not_built", project_id=project_id, problem=refusal.code)
        else:
            # What was pushed before something newer, and is told of after it, is not built.
            if (await ports.log.state(builds, build_id)).status != "absent":
                told.builds.append(build_id)


async def _linked(ports: Ports, workspace_id: str, full_name: str) -> AsyncIterator[str]:
    """The projects of a workspace whose source is in a repository."""
    offset, total = 0, 1
    while offset < total:
        found, total = await ports.views.search(
            repository_documents, workspace_id, limit=PROJECTS_AT_ONCE, offset=offset, all_of=[called(full_name)]
        )
        for each in found:
            yield json.decode(each.body, type=RepositoryDocument).project_id
        offset += PROJECTS_AT_ONCE


async def _hear_run(ports: Ports, told: Told, ran: Ran) -> None:
    """Have GitHub asked how the run of a build stands, now that it says that there is news."""
    status = next((each for each in STATUSES if each == ran.action), None)
    if status is None or ran.installation is None:
        return
    workspace_id = (await ports.log.state(installations, str(ran.installation.id))).workspace_id
    if not workspace_id:
        return
    context = Context(workspace_id=workspace_id, actor="github", correlation_id=anonymous().correlation_id)
    async for build_id in _run_of(ports, workspace_id, ran.workflow_run):
        wish = HearRun(build_id=build_id, workspace_id=workspace_id, run_id=ran.workflow_run.id, status=status)
        try:
            if await ports.execute(wish, context):
                told.builds.append(build_id)
        except NoSuchBuild:
            continue


async def _run_of(ports: Ports, workspace_id: str, run: WorkflowRun) -> AsyncIterator[str]:
    """The build that a run makes: the one that its name names, or the one whose run is known to be this."""
    named = _BUILD_ID.search(run.display_title or "")
    if named is not None:
        yield named[0]
        return
    found, _ = await ports.views.search(build_documents, workspace_id, limit=1, offset=0, all_of=[of_run(run.id)])
    for each in found:
        yield json.decode(each.body, type=BuildDocument).id


async def _note_installation(ports: Ports, told: Installed) -> None:
    """Who has taken our app out of their account there is not connected any more here either."""
    if told.action != "deleted":
        return
    installation_id = str(told.installation.id)
    workspace_id = (await ports.log.state(installations, installation_id)).workspace_id
    context = Context(workspace_id=workspace_id or PUBLIC, actor="github", correlation_id=anonymous().correlation_id)
    await ports.execute(NoteInstallationGone(installation_id=installation_id), context)
