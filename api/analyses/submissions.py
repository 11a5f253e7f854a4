"""Handing in recordings: one address, one file, several addresses at once."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import UNSET, Meta, Struct, UnsetType, json

from api.answers import Answer
from api.auth import Asker, needs
from api.billing.plans import monthly_limit
from api.kernel import IdempotencyKey, Url, once
from api.services import Services
from commands.analyses.analyses import Item, Once, RequestAnalyses
from domain.idempotency import claims
from domain.kernel import Invalid, Refusal, Unavailable
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


class RefusedUrl(Invalid):
    """{problem}"""


def check_url(services: Services, url: str, loc: tuple[str | int, ...]) -> str:
    """Refuse an address we would never connect to, as far as can be told without asking anybody."""
    try:
        services.web.check_url(url)
    except Exception as problem:
        if not hasattr(problem, "transient"):
            raise
        raise RefusedUrl(problem=str(problem), loc=loc) from problem
    return url


@post("/v1/analyze/url", status_code=202, tags=["analysis v1"], opt=needs("analyses:create", "member"))
async def analyze_url(
    request: Request[Any, Any, Any],
    data: JSONBody[UrlJob],
    services: NamedDependency[Services],
    asker: NamedDependency[Asker],
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - read by `once`, declared here for the contract
) -> Response[Accepted]:
    """Analyse the recording at a public address."""
    check_url(services, data.url, ("body", "url"))
    if data.webhook_url is not None:
        check_url(services, data.webhook_url, ("body", "webhook_url"))
    analysis_id = services.vault.new_id()
    item = Item(analysis_id=analysis_id, origin="url", source_url=data.url, webhook_url=data.webhook_url)
    claim = once(request, services, asker.workspace_id, data)
    job_id = await submit(services, asker, analysis_id, (item,), claim)
    return Answer(await accepted(services, asker, analysis_id, job_id), status_code=202)


UPLOAD_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {
                        "type": "string",
                        "format": "binary",
                        "description": "MP3, WAV, FLAC, OGG, AAC, M4A or AIFF; 50 MB at most.",
                    },
                    "webhook_url": {"type": "string", "description": "Who is to be told when it is over."},
                },
            }
        }
    },
}


@post(
    "/v1/analyze/upload",
    status_code=202,
    tags=["analysis v1"],
    opt={**needs("analyses:create", "member"), "request_body": UPLOAD_BODY},
    request_max_body_size=None,
)
async def analyze_upload(
    request: Request[Any, Any, Any],
    services: NamedDependency[Services],
    asker: NamedDependency[Asker],
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - read by `once`, declared here for the contract
) -> Response[Accepted]:
    """Analyse an uploaded recording: multipart/form-data with `file`, and `webhook_url` if somebody is to be told."""
    analysis_id = services.vault.new_id()
    key = f"uploads/{asker.workspace_id}/{analysis_id}"
    length = request.headers.get("content-length", "")
    upload = await services.receive(
        request.headers.get("content-type"),
        int(length) if length.isdigit() else None,
        request.stream(),
        key,
        asker.workspace_id,
    )
    try:
        webhook_url = upload.fields.get("webhook_url") or None
        if webhook_url is not None:
            if len(webhook_url) > 2048:
                raise RefusedUrl(problem="The webhook URL is too long.", loc=("body", "webhook_url"))
            check_url(services, webhook_url, ("body", "webhook_url"))
        item = Item(
            analysis_id=analysis_id,
            origin="upload",
            source_url=f"storage://{key}",
            object_key=key,
            webhook_url=webhook_url,
        )
        claim = once(request, services, asker.workspace_id, {"file": upload.sha256, "webhook_url": webhook_url})
        job_id = await submit(services, asker, analysis_id, (item,), claim)
    except Refusal as refusal:
        # With the ledger away nobody knows whether the job has been written down; if it has, it needs its file.
        if not isinstance(refusal, Unavailable):
            await _drop(services, key)
        raise
    if job_id != analysis_id:
        await _drop(services, key)
    return Answer(await accepted(services, asker, analysis_id, job_id), status_code=202)


@post(["/v1/batch", "/v1/analyze/batch"], status_code=202, tags=["analysis v1"], opt=needs("analyses:create", "member"))
async def analyze_batch(
    request: Request[Any, Any, Any],
    data: JSONBody[Batch],
    services: NamedDependency[Services],
    asker: NamedDependency[Asker],
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - read by `once`, declared here for the contract
) -> AcceptedBatch:
    """Analyse the recordings at up to ten public addresses: all of them are accepted, or none."""
    if len(data.items) > services.rules.batch_items_max:
        raise BatchIsTooLong(items_max=services.rules.batch_items_max, loc=("body", "items"))
    for index, item in enumerate(data.items):
        check_url(services, item.url, ("body", "items", index, "url"))
        if item.webhook_url is not None:
            check_url(services, item.webhook_url, ("body", "items", index, "webhook_url"))
    batch_id = services.vault.new_id()
    items = tuple(
        Item(
            analysis_id=services.vault.new_id(),
            origin="url",
            source_url=item.url,
            webhook_url=item.webhook_url,
        )
        for item in data.items
    )
    claim = once(request, services, asker.workspace_id, data)
    made = await submit(services, asker, batch_id, items, claim, is_batch=True)
    if made == batch_id:
        jobs = [Accepted(job_id=item.analysis_id) for item in items]
    else:
        known = json.decode(await services.reads.get(batches, made, asker.workspace_id))["job_ids"]
        jobs = [await _known(services, asker, job) for job in known]
    return AcceptedBatch(jobs=jobs, batch_id=made)


async def _drop(services: Services, key: str) -> None:
    """Remove a file that no job will need; while the store is away it stays, which harms nobody."""
    with suppress(Unavailable):
        await services.blobs.delete(key)


async def submit(
    services: Services,
    asker: Asker,
    subject_id: str,
    items: tuple[Item, ...],
    claim: Once | None,
    *,
    is_batch: bool = False,
) -> str:
    """Ask for analyses, and return what the request's key stands for: what was just made, or was made before."""
    await services.execute(
        RequestAnalyses(
            subject_id=subject_id,
            workspace_id=asker.workspace_id,
            items=items,
            once=claim,
            monthly_limit=await monthly_limit(services, asker.workspace_id),
            is_batch=is_batch,
        ),
        asker.context,
    )
    if claim is None:
        return subject_id
    return claims.fold((await services.log.read(claims.stream(claim.claim_id))).events).subject_id


async def accepted(services: Services, asker: Asker, proposed: str, made: str) -> Accepted:
    """The job that was made, or the one that was made before under the same key."""
    return Accepted(job_id=made) if made == proposed else await _known(services, asker, made)


async def _known(services: Services, asker: Asker, job_id: str) -> Accepted:
    """A job that was handed in before, as it stands."""
    found = json.decode(await services.reads.get(analyses, job_id, asker.workspace_id), type=AnalysisV1)
    return Accepted(job_id=job_id, status=found.status, idempotent_replay=True)
