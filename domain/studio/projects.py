"""A project: one plug-in of a workspace, which builds and activation keys belong to."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal, get_args

from msgspec.structs import replace

from domain.identity.workspaces import Workspace
from domain.kernel import Category, Event, Invalid, NotFound, State, Value, personal
from domain.studio.globs import matches

Platform = Literal["macos", "windows", "linux"]
Format = Literal["vst3", "au", "standalone", "clap", "lv2"]
ReleaseType = Literal["major", "minor", "patch", "dev", "release"]
Visibility = Literal["private", "public"]

PLATFORMS: tuple[Platform, ...] = get_args(Platform)
FORMATS: tuple[Format, ...] = get_args(Format)
#: Globs that one list of a rule may have, and characters of each.
GLOBS_MAX, GLOB_LENGTH_MAX = 50, 255
#: How long the secret of a webhook signs beside the one that took its place, and how many at most.
OVERLAP = timedelta(hours=24)
SECRETS_BEFORE_MAX = 9


class BuildConfig(Value):
    """What a build that a rule asks for is made with; what is empty is as the project says."""

    platforms: tuple[Platform, ...] = ()
    formats: tuple[Format, ...] = ()
    release_type: ReleaseType = "dev"


class Paths(Value):
    """Which changed files count, as globs: one of `include` (none: all), and none of `exclude`."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def wants(self, files: Collection[str]) -> bool:
        """Whether one of these files counts."""
        return any(
            (not self.include or matches(each, self.include)) and not matches(each, self.exclude) for each in files
        )


class OnPush(Value):
    """Build what is pushed to these branches (globs)."""

    branches: tuple[str, ...] = ("main",)
    paths: Paths = Paths()
    build_config: BuildConfig = BuildConfig()

    def wants(self, branch: str, files: Collection[str] | None) -> bool:
        """Whether a push to this branch is built; `files` are those that it changes, None where nobody can say."""
        return matches(branch, self.branches) and (files is None or self.paths.wants(files))


class OnTag(Value):
    """Build the commits that get these tags (globs)."""

    tags: tuple[str, ...] = ("v*",)
    build_config: BuildConfig = BuildConfig(release_type="release")

    def wants(self, tag: str) -> bool:
        """Whether a commit that gets this tag is built."""
        return matches(tag, self.tags)


class OnRelease(Value):
    """Build what is released."""

    release_types: tuple[Literal["published", "prereleased", "created"], ...] = ("published",)
    build_config: BuildConfig = BuildConfig(release_type="release")


class BuildRules(Value):
    """What leads to a build by itself; without a rule nothing does."""

    push: OnPush | None = None
    tag: OnTag | None = None
    release: OnRelease | None = None


class ProjectCreated(Event):
    """A workspace has a new plug-in. No platforms or formats means all that there are runners for."""

    project_id: str
    workspace_id: str
    name: Annotated[str, personal("workspace_id")]
    created_at: datetime
    description: Annotated[str, personal("workspace_id")] = ""
    visibility: Visibility = "private"
    platforms: tuple[Platform, ...] = ()
    formats: tuple[Format, ...] = ()
    rules: BuildRules = BuildRules()


class ProjectRenamed(Event):
    """It is called something else, or somebody has written down anew what it is."""

    project_id: str
    workspace_id: str
    name: Annotated[str, personal("workspace_id")]
    description: Annotated[str, personal("workspace_id")]
    renamed_at: datetime


class ProjectShown(Event):
    """It is for these to see now."""

    project_id: str
    visibility: Visibility
    shown_at: datetime


class ProjectTargeted(Event):
    """It is built for other platforms and in other formats, where a build does not say."""

    project_id: str
    platforms: tuple[Platform, ...]
    formats: tuple[Format, ...]
    targeted_at: datetime


class BuildRulesSet(Event):
    """Other things lead to a build by themselves now."""

    target: ClassVar[str] = "project"

    project_id: str
    rules: BuildRules
    set_at: datetime


class WorkflowChosen(Event):
    """This workflow of its repository builds it, at GitHub; where that is empty runners do."""

    target: ClassVar[str] = "project"

    project_id: str
    workflow: str
    chosen_at: datetime


class ProjectWebhookSet(Event):
    """This address is told of its builds, in messages signed with a secret of this id."""

    project_id: str
    workspace_id: str
    url: Annotated[str, personal("workspace_id", address=True)]
    secret_id: str
    set_at: datetime
    #: Of the workspace then: whoever has it later is not told, and starts nothing, by what was chosen before.
    tenancy: int = 0


class ProjectWebhookRemoved(Event):
    """No address is told of its builds."""

    project_id: str
    removed_at: datetime


class Project(State):
    """What rules know of a project."""

    workspace_id: str = ""
    name: str = ""
    description: str = ""
    visibility: Visibility = "private"
    platforms: tuple[Platform, ...] = ()
    formats: tuple[Format, ...] = ()
    rules: BuildRules = BuildRules()
    workflow: str = ""
    webhook_url: str | None = None
    webhook_secret_id: str | None = None
    #: Those before it at the same address, newest first, each with the moment from which it signs no more.
    webhook_secrets_before: tuple[tuple[str, datetime], ...] = ()
    webhook_tenancy: int = 0

    def webhook_in(self, workspace: Workspace) -> str | None:
        """The address that is told of its builds, if those have chosen it who have its workspace now."""
        return self.webhook_url if self.webhook_tenancy == workspace.tenancy else None

    def valid_secrets(self, now: datetime) -> list[str]:
        """The ids of the secrets that its webhook's messages are signed with at a moment, newest first."""
        current = [] if self.webhook_secret_id is None else [self.webhook_secret_id]
        return [*current, *(secret_id for secret_id, ends_at in self.webhook_secrets_before if now < ends_at)]

    def belongs_to(self, workspace_id: str) -> None:
        """Refuse it to everybody but its workspace."""
        if self.workspace_id != workspace_id:
            raise NoSuchProject


def evolve(project: Project, event: Event) -> Project:  # noqa: PLR0911 - one for each event
    """A project after one more event."""
    match event:
        case ProjectCreated():
            return Project(
                workspace_id=event.workspace_id,
                name=event.name,
                description=event.description,
                visibility=event.visibility,
                platforms=event.platforms,
                formats=event.formats,
                rules=event.rules,
            )
        case ProjectRenamed():
            return replace(project, name=event.name, description=event.description)
        case ProjectShown():
            return replace(project, visibility=event.visibility)
        case ProjectTargeted():
            return replace(project, platforms=event.platforms, formats=event.formats)
        case BuildRulesSet():
            return replace(project, rules=event.rules)
        case WorkflowChosen():
            return replace(project, workflow=event.workflow)
        case ProjectWebhookSet():
            # Whoever is behind another address has never known the old secret.
            before: tuple[tuple[str, datetime], ...] = ()
            is_theirs = project.webhook_tenancy == event.tenancy
            if project.webhook_secret_id is not None and event.url == project.webhook_url and is_theirs:
                before = ((project.webhook_secret_id, event.set_at + OVERLAP), *project.webhook_secrets_before)
            return replace(
                project,
                webhook_url=event.url,
                webhook_secret_id=event.secret_id,
                webhook_secrets_before=before[:SECRETS_BEFORE_MAX],
                webhook_tenancy=event.tenancy,
            )
        case ProjectWebhookRemoved():
            return replace(project, webhook_url=None, webhook_secret_id=None, webhook_secrets_before=())
    return project


class NoSuchProject(NotFound):
    """There is no project with this id."""


class AuNeedsMacos(Invalid):
    """Audio Units exist on macOS only. Add the platform macos, or leave out the format au."""


def check_targets(platforms: tuple[Platform, ...], formats: tuple[Format, ...]) -> None:
    """Refuse formats that no platform among those named has; no platforms are all of them."""
    if "au" in formats and platforms and "macos" not in platforms:
        raise AuNeedsMacos(loc=("body", "formats"))


class TooManyGlobs(Invalid):
    """A list of a rule has {globs_max} globs at most, each of 1 to {length_max} characters."""


def check_rules(rules: BuildRules, platforms: tuple[Platform, ...], formats: tuple[Format, ...]) -> None:
    """Refuse rules that could build nothing in a project of these targets, and those that take long to look through."""
    push, tag, release = rules.push, rules.tag, rules.release
    lists = ((push.branches, push.paths.include, push.paths.exclude) if push else ()) + ((tag.tags,) if tag else ())
    for globs in lists:
        if len(globs) > GLOBS_MAX or not all(1 <= len(each) <= GLOB_LENGTH_MAX for each in globs):
            raise TooManyGlobs(globs_max=GLOBS_MAX, length_max=GLOB_LENGTH_MAX, loc=("body", "rules"))
    for rule in (push, tag, release):
        if rule is not None:
            check_targets(rule.build_config.platforms or platforms, rule.build_config.formats or formats)


projects = Category(name="project", initial=Project(), evolve=evolve, absent=NoSuchProject)
