"""Handing in recordings: one address, one file, several addresses at once."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import UNSET, Meta, Struct, UnsetType, json

from api.analyses.ports import Ports
from api.answers import Answer
from api.auth import Asker, needs
from api.kernel import IdempotencyKey, RefusedUrl, Url, check_url
from api.uploads import drop, form_body, needed_by_what_follows, receive
from commands.analyses.analyses import Item, RequestAnalyses
from commands.idempotency import Once
from domain.analyses import keys
from domain.analyses.analyses import ANALYSES
from domain.idempotency import claims
from domain.kernel import Invalid
from projections.analyses.analyses import AnalysisV1, analyses
from projections.analyses.batches import batches


class BatchIsTooLong(Invalid):
    """A batch has 1 to {items_max} items."""


class UrlJob(Struct, forbid_unknown_fields=False):
    """The address of a recording, and one to tell when it has been analysed."""

    url: Url
    webhook_url: Url | None = None


class Batch(Struct):
    """Up to ten addresses."""

    items: Annotated[list[UrlJob], Meta(min_length=1, max_length=100)]


class Accepted(Struct):
    """A job that will be done; `idempotent_replay` tells that it was handed in before under the same key.

    Then `status` says how that job stands by now, and may be `completed` or `failed`.
    """

    job_id: str
    status: str = "processing"
    idempotent_replay: bool | UnsetType = UNSET


class AcceptedBatch(Struct):
    """The jobs of a batch, in the order of its items."""

    jobs: list[Accepted]
    batch_id: str


@post("/v1/analyze/url", status_code=202, tags=["analysis v1"], opt=needs("analyses:create", "member"))
async def analyze_url(
    request: Request[Any, Any, Any],
    data: JSONBody[UrlJob],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - read by `once`, declared here for the contract
) -> Response[Accepted]:
    """Analyse the recording at a public address."""
    check_url(ports.web, data.url, ("body", "url"))
    if data.webhook_url is not None:
        check_url(ports.web, data.webhook_url, ("body", "webhook_url"))
    analysis_id = ports.vault.new_id()
    item = Item(analysis_id=analysis_id, origin="url", source_url=data.url, webhook_url=data.webhook_url)
    claim = ports.claims.of(request, asker.tenant, data)
    job_id = await submit(ports, asker, analysis_id, (item,), claim)
    return Answer(await accepted(ports, asker, analysis_id, job_id), status_code=202)


UPLOAD_BODY = form_body(
    "MP3, WAV, FLAC, OGG, AAC, M4A or AIFF; 50 MB at most.", webhook_url="Who is to be told when it is over."
)


@post(
    "/v1/analyze/upload",
    status_code=202,
    tags=["analysis v1"],
    opt={**needs("analyses:create", "member"), "request_body": UPLOAD_BODY},
    request_max_body_size=None,
)
async def analyze_upload(
    request: Request[Any, Any, Any],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - read by `once`, declared here for the contract
) -> Response[Accepted]:
    """Analyse an uploaded recording: multipart/form-data with `file`, and `webhook_url` if somebody is to be told."""
    analysis_id = ports.vault.new_id()
    key = keys.upload(asker.workspace_id, analysis_id)
    upload = await receive(request, ports.uploads, key, asker.workspace_id)
    async with needed_by_what_follows(ports.blobs, key):
        webhook_url = upload.fields.get("webhook_url") or None
        if webhook_url is not None:
            if len(webhook_url) > 2048:
                raise RefusedUrl(problem="The webhook URL is too long.", loc=("body", "webhook_url"))
            check_url(ports.web, webhook_url, ("body", "webhook_url"))
        item = Item(
            analysis_id=analysis_id,
            origin="upload",
            source_url=f"storage://{key}",
            object_key=key,
            webhook_url=webhook_url,
        )
        claim = ports.claims.of(request, asker.tenant, {"file": upload.stored.sha256, "webhook_url": webhook_url})
        job_id = await submit(ports, asker, analysis_id, (item,), claim)
    if job_id != analysis_id:
        await drop(ports.blobs, key)
    return Answer(await accepted(ports, asker, analysis_id, job_id), status_code=202)


@post(["/v1/batch", "/v1/analyze/batch"], status_code=202, tags=["analysis v1"], opt=needs("analyses:create", "member"))
async def analyze_batch(
    request: Request[Any, Any, Any],
    data: JSONBody[Batch],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - read by `once`, declared here for the contract
) -> AcceptedBatch:
    """Analyse the recordings at up to ten public addresses: all of them are accepted, or none."""
    if len(data.items) > ports.settings.batch_items_max:
        raise BatchIsTooLong(items_max=ports.settings.batch_items_max, loc=("body", "items"))
    for index, item in enumerate(data.items):
        check_url(ports.web, item.url, ("body", "items", index, "url"))
        if item.webhook_url is not None:
            check_url(ports.web, item.webhook_url, ("body", "items", index, "webhook_url"))
    batch_id = ports.vault.new_id()
    items = tuple(
        Item(
            analysis_id=ports.vault.new_id(),
            origin="url",
            source_url=item.url,
            webhook_url=item.webhook_url,
        )
        for item in data.items
    )
    claim = ports.claims.of(request, asker.tenant, data)
    made = await submit(ports, asker, batch_id, items, claim, is_batch=True)
    if made == batch_id:
        jobs = [Accepted(job_id=item.analysis_id) for item in items]
    else:
        known = json.decode(await ports.views.get(batches, made, asker.workspace_id))["job_ids"]
        jobs = [await _known(ports, asker, job) for job in known]
    return AcceptedBatch(jobs=jobs, batch_id=made)


async def submit(
    ports: Ports,
    asker: Asker,
    subject_id: str,
    items: tuple[Item, ...],
    claim: Once | None,
    *,
    is_batch: bool = False,
) -> str:
    """Ask for analyses, and return what the request's key stands for: what was just made, or was made before."""
    await ports.execute(
        RequestAnalyses(
            subject_id=subject_id,
            workspace_id=asker.workspace_id,
            items=items,
            once=claim,
            monthly_limit=await ports.plans.monthly_limit(asker.workspace_id, ANALYSES),
            is_batch=is_batch,
        ),
        asker.context,
    )
    if claim is None:
        return subject_id
    return (await ports.log.state(claims, claim.claim_id)).subject_id


async def accepted(ports: Ports, asker: Asker, proposed: str, made: str) -> Accepted:
    """The job that was made, or the one that was made before under the same key."""
    return Accepted(job_id=made) if made == proposed else await _known(ports, asker, made)


async def _known(ports: Ports, asker: Asker, job_id: str) -> Accepted:
    """A job that was handed in before, as it stands."""
    found = json.decode(await ports.views.get(analyses, job_id, asker.workspace_id), type=AnalysisV1)
    return Accepted(job_id=job_id, status=found.status, idempotent_replay=True)
