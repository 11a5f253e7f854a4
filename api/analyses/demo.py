"""The anonymous demo: one public address, one result, no account."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Struct, json

from api.analyses.ports import Ports
from api.auth import anonymous
from api.kernel import Url, check_url, stored
from api.rates import by_address, rate
from api.settings import Rates
from commands.analyses.analyses import Item, RequestAnalyses
from domain.analyses.analyses import NoSuchAnalysis
from domain.ledger import PUBLIC
from projections.analyses.analyses import AnalysisV1, analyses
from projections.kernel import seconds

DEMOS = by_address("demo", Rates, lambda rates: rates.demo_limit_per_hour)
#: How long a demo can be looked at.
LIFETIME = timedelta(hours=24)


class DemoJob(Struct):
    """The address of a recording."""

    url: Url


class DemoAccepted(Struct):
    """A demo that will be done, and the path to its result; the token in it is the only way there."""

    job_id: str
    status: str
    poll_url: str
    token: str
    expires_at: str


@post("/v1/demo/analyze/url", status_code=202, tags=["analysis v1"], opt=rate(DEMOS))
async def analyze_demo(data: JSONBody[DemoJob], ports: NamedDependency[Ports]) -> DemoAccepted:
    """Analyse the recording at a public address without an account. Rate-limited; for evaluation."""
    check_url(ports.web, data.url, ("body", "url"))
    analysis_id = ports.vault.new_id()
    now = ports.now()
    await ports.execute(
        RequestAnalyses(
            subject_id=analysis_id,
            workspace_id=PUBLIC,
            items=(Item(analysis_id=analysis_id, origin="url", source_url=data.url),),
        ),
        anonymous(),
    )
    token = ports.vault.token("demo", analysis_id)
    return DemoAccepted(
        job_id=analysis_id,
        status="processing",
        poll_url=f"/v1/demo/analysis/{analysis_id}?token={token}",
        token=token,
        expires_at=seconds(now + LIFETIME),
    )


@get(
    "/v1/demo/analysis/{job_id:str}",
    tags=["analysis v1"],
    responses={200: ResponseSpec(AnalysisV1, generate_examples=False, description="The demo as it stands")},
)
async def get_demo(
    request: Request[Any, Any, Any],
    job_id: FromPath[str],
    ports: NamedDependency[Ports],
    token: Annotated[str | None, QueryParameter(description="The token of the demo")] = None,
) -> Response[bytes]:
    """Read a demo; the token may also come as a bearer token."""
    given = token or request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    if not ports.vault.same(ports.vault.token("demo", job_id), given):
        raise NoSuchAnalysis
    body = await ports.views.get(analyses, job_id, PUBLIC)
    created = json.decode(body, type=dict[str, Any])["created_at"]
    if created < seconds(ports.now() - LIFETIME):
        raise NoSuchAnalysis
    return stored(body)
