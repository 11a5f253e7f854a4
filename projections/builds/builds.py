"""A build as its people see it, and its artifacts."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import field
from msgspec.structs import replace

from domain.builds.builds import (
    ArtifactLinked,
    BuildAsked,
    BuildCancelled,
    BuildClaimed,
    BuildFailed,
    BuildQueued,
    BuildSourced,
    BuildStarted,
    BuildStored,
    BuildSucceeded,
    BuildVersioned,
    Flag,
    NoSuchBuild,
    Status,
    Trigger,
    Verdict,
)
from domain.builds.workflows import WorkflowRunFound
from domain.kernel import Event, Value
from domain.studio.projects import Format, Platform, ReleaseType
from projections.kernel import Document, Projection, projection, seconds, tally


class Metadata(Value):
    """How far a build is: the step it is at, and how much of that is done, in percent."""

    current_step: str | None = None
    step_progress: int | None = None


class BuildDocument(Document):
    """One build. `facets` are what lists are filtered by."""

    id: str
    project_id: str
    status: Status
    version_number: str
    build_number: int
    platforms: tuple[Platform, ...]
    formats: tuple[Format, ...]
    release_type: ReleaseType
    flags: Mapping[str, Flag] = field(default_factory=dict)
    clean_build: bool = False
    trigger: Trigger = "request"
    ref: str = ""
    commit_sha: str | None = None
    metadata: Metadata = Metadata()
    isolation: Mapping[str, str] = field(default_factory=dict)
    error_code: str | None = None
    error_message: str | None = None
    queued_at: str = ""
    started_at: str | None = None
    completed_at: str | None = None
    github_run_url: str | None = None
    github_run_id: int | None = None
    facets: tuple[str, ...] = ()


def evolve(build: BuildDocument | None, event: Event) -> BuildDocument | None:
    """The build after one more event."""
    after = _evolve(build, event)
    if after is None:
        return None
    run = () if after.github_run_id is None else (of_run(after.github_run_id),)
    return replace(after, facets=(f"project:{after.project_id}", f"status:{after.status}", *run))


def of_run(run_id: int) -> str:
    """The facet of the build that a run at GitHub makes."""
    return f"run:{run_id}"


def _evolve(build: BuildDocument | None, event: Event) -> BuildDocument | None:  # noqa: C901, PLR0911 - for each event
    match build, event:
        case None, BuildAsked():
            return BuildDocument(
                id=event.build_id,
                project_id=event.project_id,
                status="pending",
                version_number=event.version_number,
                build_number=event.build_number,
                platforms=event.platforms,
                formats=event.formats,
                release_type=event.release_type,
                flags=event.flags,
                clean_build=event.clean_build,
                trigger=event.trigger,
                ref=event.ref,
                commit_sha=event.commit_sha or None,
                queued_at=seconds(event.asked_at),
            )
        case BuildDocument(), BuildSourced():
            return replace(build, ref=event.ref)
        case BuildDocument(), BuildQueued():
            return replace(build, status="queued")
        case BuildDocument(), WorkflowRunFound():
            return replace(build, github_run_url=event.run_url, github_run_id=event.run_id)
        case BuildDocument(), BuildClaimed():
            return replace(build, isolation={**build.isolation, event.platform: event.isolation})
        case BuildDocument(), BuildStarted():
            return replace(build, status="running", started_at=build.started_at or seconds(event.started_at))
        case BuildDocument(), BuildStored() if event.format not in build.formats:
            # Where no formats were asked for, they are those that came out.
            return replace(build, formats=(*build.formats, event.format))
        case BuildDocument(), BuildVersioned():
            return replace(build, version_number=event.version_number, commit_sha=event.commit_sha)
        case BuildDocument(), BuildSucceeded():
            return replace(build, status="success", completed_at=seconds(event.succeeded_at))
        case BuildDocument(), BuildFailed():
            return replace(
                build,
                status="failed",
                completed_at=seconds(event.failed_at),
                error_code=event.error_code,
                error_message=event.error_message,
            )
        case BuildDocument(), BuildCancelled():
            return replace(build, status="cancelled", completed_at=seconds(event.cancelled_at))
    return build


build_documents: Projection[BuildDocument] = projection(
    "builds",
    BuildDocument,
    on=dict.fromkeys(
        (
            BuildAsked,
            BuildSourced,
            BuildQueued,
            BuildClaimed,
            BuildStarted,
            BuildStored,
            BuildVersioned,
            BuildSucceeded,
            BuildFailed,
            BuildCancelled,
            WorkflowRunFound,
        ),
        "build_id",
    ),
    evolve=evolve,
    begins=(BuildAsked,),
    absent=NoSuchBuild,
    stream="build",
    version=2,
)


class Artifact(Value):
    """One plug-in in one format; how often it was downloaded is counted apart."""

    id: str
    platform: Platform
    format: Format
    file_name: str
    file_size: int
    checksum_sha256: str
    is_signed: bool
    content_type: str
    validation: Verdict
    validation_detail: str
    object_key: str
    created_at: str


class ArtifactsDocument(Document):
    """The artifacts of one build."""

    build_id: str
    artifacts: tuple[Artifact, ...] = ()


def evolve_artifacts(found: ArtifactsDocument | None, event: Event) -> ArtifactsDocument | None:
    """The artifacts after one more event; of two under one name on one platform the later one counts."""
    match found, event:
        case None, BuildAsked():
            return ArtifactsDocument(build_id=event.build_id)
        case ArtifactsDocument(), BuildStored():
            artifact = Artifact(
                id=event.artifact_id,
                platform=event.platform,
                format=event.format,
                file_name=event.file_name,
                file_size=event.file_size,
                checksum_sha256=event.checksum_sha256,
                is_signed=event.is_signed,
                content_type=event.content_type,
                validation=event.validation,
                validation_detail=event.validation_detail,
                object_key=event.object_key,
                created_at=seconds(event.stored_at),
            )
            place = (artifact.platform, artifact.file_name)
            others = tuple(each for each in found.artifacts if (each.platform, each.file_name) != place)
            return replace(found, artifacts=(*others, artifact))
    return found


build_artifacts: Projection[ArtifactsDocument] = projection(
    "build_artifacts",
    ArtifactsDocument,
    on={BuildAsked: "build_id", BuildStored: "build_id"},
    evolve=evolve_artifacts,
    begins=(BuildAsked,),
    absent=NoSuchBuild,
    stream="build",
)

#: How often links to an artifact were given out, by its id.
artifact_downloads = tally("artifact_downloads", {ArtifactLinked: lambda event: [(event.artifact_id, 1)]})
