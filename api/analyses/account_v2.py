"""Analyses for a person who is signed in: the same jobs, begun from what was uploaded in the browser."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct

from api.analyses.analyses_v2 import ANSWERS, Format, Id, NewAnalysis, Result, hand_in, history, result
from api.analyses.ports import Ports
from api.auth import Asker, needs
from api.kernel import stored
from projections.analyses.history import JobEvent
from projections.analyses.platform import AnalysisV2, platform_analyses


class AccountAnalysis(Struct):
    """A recording that was uploaded to a storage object, and a key under which it is analysed only once."""

    idempotency_key: Annotated[str, Meta(min_length=8, max_length=128)]
    storage_object_id: Id


@post("/v1/account/analyses", status_code=202, tags=["platform"], opt=needs(None, "member"))
async def create_account_analysis(
    request: Request[Any, Any, Any],
    data: JSONBody[AccountAnalysis],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> AnalysisV2:
    """Analyse an uploaded recording."""
    claim = ports.claims.under(data.idempotency_key, request, asker.tenant, data)
    return await hand_in(ports, asker, NewAnalysis(storage_object_id=data.storage_object_id), claim)


@get("/v1/account/analyses/{job_id:str}", tags=["platform"], opt=needs(None, "viewer"), responses=ANSWERS)
async def get_account_analysis(
    job_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Read a job."""
    return stored(await ports.views.get(platform_analyses, job_id, asker.workspace_id))


@get("/v1/account/analyses/{job_id:str}/events", tags=["platform"], opt=needs(None, "viewer"))
async def list_account_analysis_events(
    job_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> list[JobEvent]:
    """Read everything that happened to a job, oldest first."""
    return await history(ports, asker, job_id)


@get("/v1/account/analyses/{job_id:str}/result", tags=["platform"], opt=needs(None, "viewer"))
async def get_account_analysis_result(
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
