"""Version 2 of the analysis API: the same jobs, with their history, their report and a word for every state."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated, Any, Literal

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct, json, to_builtins
from msgspec.structs import replace

from api.analyses.ports import Ports
from api.analyses.submissions import submit
from api.auth import Asker, needs
from api.kernel import IdempotencyKey, Url, check_url, stored
from api.paging import LIMIT, Before, Limit
from commands.analyses.analyses import CancelAnalysis, Item
from commands.idempotency import Once
from domain.analyses.analyses import NoSuchAnalysis, analyses
from domain.analyses.objects import NoSuchStorageObject, NothingUploaded, storage_objects
from domain.kernel import Invalid, NotFound, TooLarge
from projections.analyses.history import JobEvent, told
from projections.analyses.platform import AnalysisV2, Drawn, Outcome, Status, outcomes, platform_analyses
from projections.kernel import seconds

METADATA_BYTES_MAX = 8 * 1024

Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+\Z")]
Format = Literal["spotify-features", "spotify-analysis"]


class OneSourcePlease(Invalid):
    """Give exactly one of source_url and storage_object_id."""


class MetadataIsTooLong(Invalid):
    """The metadata of a job has {bytes_max} bytes of JSON at most."""


class UploadIsTooLarge(TooLarge):
    """The uploaded recording has {size} bytes; {size_max} are taken. It has been deleted."""


class NewAnalysis(Struct):
    """What to analyse: the address of a recording, or a storage object it was uploaded to; and whom to tell."""

    source_url: Annotated[Url | None, Meta(examples=["https://example.com/song.mp3"])] = None
    storage_object_id: Id | None = None
    webhook_endpoint_id: Id | None = None
    webhook_url: Url | None = None
    metadata: dict[str, Any] | None = None


class ReportFile(Struct):
    """A file of the report, and a link that works for a while."""

    name: str
    url: str
    content_type: str
    size_bytes: int | None


class ReportArtifact(Struct):
    """The report: `detail_url` leads to everything measured over time, `files` to that and to the pictures.

    Pictures are drawn after the analysis has succeeded: `pictures` says of each whether it is still to come
    (`pending`), among the files (`stored`), or will not come (`failed`).
    """

    detail_url: str
    expires_at: str
    files: list[ReportFile]
    pictures: dict[str, Drawn]


class Result(Struct):
    """What was heard; null, like the report, before the end and when nothing could be heard."""

    job_id: str
    report_artifact: ReportArtifact | None
    result: dict[str, Any] | None
    status: Status


ANSWERS = {200: ResponseSpec(AnalysisV2, generate_examples=False, description="The job as it stands")}


@post("/v1/analyses", status_code=202, tags=["platform"], opt=needs("analyses:create", "member"))
async def create_analysis(
    request: Request[Any, Any, Any],
    data: JSONBody[NewAnalysis],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - read by `once`, declared here for the contract
) -> AnalysisV2:
    """Analyse the recording at a public address, or one that was uploaded to a storage object."""
    return await hand_in(ports, asker, data, ports.claims.of(request, asker.tenant, data))


@get(
    "/v1/analyses",
    tags=["platform"],
    opt=needs("analyses:read", "viewer"),
    responses={200: ResponseSpec(list[AnalysisV2], generate_examples=False, description="Newest first")},
)
async def list_analyses(
    request: Request[Any, Any, Any],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    limit: Limit = LIMIT,
    before: Before = None,
) -> Response[bytes]:
    """List the jobs of the workspace, of both versions of the API, newest first."""
    return await ports.pages.answer(request, platform_analyses, asker.workspace_id, limit=limit, before=before)


@get("/v1/analyses/{job_id:str}", tags=["platform"], opt=needs("analyses:read", "viewer"), responses=ANSWERS)
async def get_platform_analysis(
    job_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Read a job."""
    return stored(await ports.views.get(platform_analyses, job_id, asker.workspace_id))


@get("/v1/analyses/{job_id:str}/events", tags=["platform"], opt=needs("analyses:read", "viewer"))
async def list_analysis_events(
    job_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> list[JobEvent]:
    """Read everything that happened to a job, oldest first."""
    return await history(ports, asker, job_id)


@get("/v1/analyses/{job_id:str}/result", tags=["platform"], opt=needs("analyses:read", "viewer"))
async def get_analysis_result(
    request: Request[Any, Any, Any],
    job_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    format: Annotated[  # noqa: A002 - the name of the query parameter
        Format | None, QueryParameter(description="The result in the words of Spotify's retired schemas")
    ] = None,
) -> Result:
    """Read what was heard, with links to the report. The result is null until the job has succeeded."""
    return await result(request, ports, asker, job_id, format)


@post(
    "/v1/analyses/{job_id:str}/cancel",
    status_code=200,
    tags=["platform"],
    opt={**needs("analyses:create", "member"), "statuses": ("409",)},
    responses=ANSWERS,
)
async def cancel_analysis(
    job_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Cancel a job that is not over yet. Cancelling it again changes nothing."""
    await ports.execute(CancelAnalysis(analysis_id=job_id, workspace_id=asker.workspace_id), asker.context)
    return stored(await ports.views.get(platform_analyses, job_id, asker.workspace_id))


async def hand_in(ports: Ports, asker: Asker, wish: NewAnalysis, claim: Once | None) -> AnalysisV2:
    """Ask for an analysis, or find the one that was asked for under the same key."""
    if (wish.source_url is None) == (wish.storage_object_id is None):
        raise OneSourcePlease
    if wish.webhook_url is not None:
        check_url(ports.web, wish.webhook_url, ("body", "webhook_url"))
    metadata = None if wish.metadata is None else json.encode(wish.metadata)
    if metadata is not None and len(metadata) > METADATA_BYTES_MAX:
        raise MetadataIsTooLong(bytes_max=METADATA_BYTES_MAX, loc=("body", "metadata"))
    analysis_id = ports.vault.new_id()
    item = replace(
        await _source(ports, asker, wish, analysis_id),
        webhook_url=wish.webhook_url,
        webhook_endpoint_id=wish.webhook_endpoint_id,
        metadata=None if metadata is None else metadata.decode(),
    )
    job_id = await submit(ports, asker, analysis_id, (item,), claim)
    found = json.decode(await ports.views.get(platform_analyses, job_id, asker.workspace_id), type=AnalysisV2)
    return replace(found, idempotent_replay=job_id != analysis_id)


async def _source(ports: Ports, asker: Asker, wish: NewAnalysis, analysis_id: str) -> Item:
    if wish.source_url is not None:
        check_url(ports.web, wish.source_url, ("body", "source_url"))
        return Item(analysis_id=analysis_id, origin="url", source_url=wish.source_url)
    assert wish.storage_object_id is not None
    events = (await ports.log.read(storage_objects.stream(wish.storage_object_id))).events
    known = storage_objects.fold(events)
    if (known.workspace_id, known.tenancy) != (asker.workspace_id, asker.tenancy):
        raise NoSuchStorageObject
    # One that is in use may be gone already, and whoever asks again under the same key is still to get the same job.
    if known.analysis_id is None and known.is_kept(ports.now()):
        await _check_upload(ports, known.object_key)
    return Item(
        analysis_id=analysis_id,
        origin="object",
        source_url=f"storage://{ports.links.store.s3_bucket}/{known.object_key}",
        object_key=known.object_key,
        storage_object_id=wish.storage_object_id,
    )


async def _check_upload(ports: Ports, key: str) -> None:
    """A signed link limits what is uploaded through it only to a size that was announced, so it is looked at here."""
    try:
        size = (await ports.blobs.stat(key)).size
    except NotFound as nothing:
        raise NothingUploaded from nothing
    if size == 0:
        raise NothingUploaded
    if size > ports.files.upload_bytes_max:
        await ports.blobs.delete(key)
        raise UploadIsTooLarge(size=size, size_max=ports.files.upload_bytes_max)


async def history(ports: Ports, asker: Asker, job_id: str) -> list[JobEvent]:
    """Everything that happened to a job, oldest first."""
    past = await ports.log.stream(analyses.stream(job_id))
    if not past or past[0].workspace_id != asker.workspace_id:
        raise NoSuchAnalysis
    return [told(each) for each in past]


async def result(
    request: Request[Any, Any, Any], ports: Ports, asker: Asker, job_id: str, schema: Format | None
) -> Result:
    """What was heard, in our words or in others'."""
    outcome = json.decode(await ports.views.get(outcomes, job_id, asker.workspace_id), type=Outcome)
    heard: dict[str, Any] | None = None
    if outcome.result is not None:
        heard = to_builtins(outcome.result)
        # The names that the platform's own clients know these two by.
        heard |= {"integrated_loudness_lufs": heard["loudness_lufs"], "rms_loudness": heard["rms_dbfs"]}
        if schema is not None:
            heard = json.decode(await _rewritten(ports, outcome, schema))
    return Result(
        job_id=job_id,
        report_artifact=await _report(request, ports, asker, outcome),
        result=heard,
        status=outcome.status,
    )


async def _rewritten(ports: Ports, outcome: Outcome, schema: Format) -> bytes:
    assert outcome.result is not None
    detail = b"{}"
    if schema == "spotify-analysis" and outcome.artifacts:
        async with ports.blobs.fetch(outcome.artifacts[0].object_key) as path:
            detail = await asyncio.to_thread(path.read_bytes)
    return await ports.reports.rewrite(schema, outcome.job_id, outcome.result, detail)


async def _report(
    request: Request[Any, Any, Any], ports: Ports, asker: Asker, outcome: Outcome
) -> ReportArtifact | None:
    if not outcome.artifacts:
        return None
    lifetime = ports.links.store.presigned_seconds
    files = [
        ReportFile(
            name=each.name,
            url=await ports.links.to_read(request, asker, each.object_key, lifetime, content_type=each.content_type),
            content_type=each.content_type,
            size_bytes=each.size or None,
        )
        for each in outcome.artifacts
    ]
    expires_at = seconds(ports.now() + timedelta(seconds=lifetime))
    return ReportArtifact(detail_url=files[0].url, expires_at=expires_at, files=files, pictures=outcome.drawn())
