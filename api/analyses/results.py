"""Reading what was heard, and who was told."""

from __future__ import annotations

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath
from msgspec import Raw, Struct, json

from api.analyses.ports import Ports
from api.auth import Asker, needs
from api.kernel import stored
from domain.analyses import keys
from projections.analyses.analyses import AnalysisV1, analyses
from projections.webhooks.attempts import WebhookLog, webhook_logs


@get(
    "/v1/analysis/{job_id:str}",
    tags=["analysis v1"],
    opt=needs("analyses:read", "viewer"),
    responses={200: ResponseSpec(AnalysisV1, generate_examples=False, description="The job as it stands")},
)
async def get_analysis(
    job_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Read an analysis: poll until its status is `completed` or `failed`."""
    return stored(await ports.views.get(analyses, job_id, asker.workspace_id))


class Full(Struct):
    """An analysis with everything that was measured over time; null until it is completed."""

    job_id: str
    status: str
    result: Raw
    error: str | None
    created_at: str
    completed_at: str | None
    detail: Raw


@get("/v1/analysis/{job_id:str}/full", tags=["analysis v1"], opt=needs("analyses:read", "viewer"))
async def get_full_analysis(
    job_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Full:
    """Read an analysis with its detail: beats, chords, curves, waveform."""
    body = await ports.views.get(analyses, job_id, asker.workspace_id)
    fields: dict[str, Raw] = json.decode(body, type=dict[str, Raw])
    detail = Raw(b"null")
    if bytes(fields["status"]) == b'"completed"':
        async with ports.blobs.fetch(keys.report(job_id)) as path:
            detail = Raw(path.read_bytes())
    return json.decode(json.encode({**fields, "detail": detail}), type=Full)


@get(
    "/v1/analysis/{job_id:str}/webhooks",
    tags=["analysis v1"],
    opt=needs("analyses:read", "viewer"),
    responses={200: ResponseSpec(WebhookLog, generate_examples=False, description="Every attempt so far")},
)
async def get_webhook_log(
    job_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Read every attempt to tell the job's webhook."""
    return stored(await ports.views.get(webhook_logs, job_id, asker.workspace_id))
