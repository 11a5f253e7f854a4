"""The catalogue's contract: refusals say `success: false`, reads and changes have limits of their own."""

from __future__ import annotations

from api.catalogue.settings import CatalogueRates
from api.rates import MINUTE_SECONDS, by_subject
from api.surfaces import Problem, Surface, headers_with_epoch
from domain.kernel import Invalid, Unauthenticated

READS = by_subject("catalogue reads", CatalogueRates, lambda rates: rates.catalogue_reads_per_minute, MINUTE_SECONDS)
WRITES = by_subject("catalogue writes", CatalogueRates, lambda rates: rates.catalogue_writes_per_minute, MINUTE_SECONDS)


def _problem(problem: Problem) -> dict[str, object]:
    places = [".".join(map(str, each.loc[1:])) for each in problem.faults]
    told = [
        f"{place}: {each.message}" if place and each.message != problem.sentence else each.message
        for place, each in zip(places, problem.faults, strict=True)
    ]
    return {"success": False, "error": " ".join(told) or problem.sentence, "code": problem.code}


CATALOGUE = Surface(
    title="Catalogue",
    prefixes=("/api/v1",),
    problem=_problem,
    shapes={
        "default": {
            "title": "CatalogueProblem",
            "type": "object",
            "required": ["success", "error", "code"],
            "properties": {
                "success": {"const": False},
                "error": {"type": "string", "description": "What is so, and what to do."},
                "code": {"type": "string", "description": "The same for machines, in snake_case."},
            },
        }
    },
    statuses={Invalid: 400},
    codes={Unauthenticated: "unauthorized"},
    meanings={"400": "Parameters or body did not pass validation."},
    moment=None,
    lenient=frozenset(
        {
            "GET /api/v1/tracks",
            "GET /api/v1/tracks/{}",
            "GET /api/v1/analytics/spotify/{}",
            "GET /api/v1/catalogue/overview",
            "POST /api/v1/browser-profiles/import",
        }
    ),
    rate=READS,
    writes=WRITES,
    rate_headers=headers_with_epoch,
)
