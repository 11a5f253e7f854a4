"""The orchards' contract: problems under `oops`, camelCase, milliseconds since 1970, and a reset that is a moment."""

from __future__ import annotations

from datetime import datetime

from api.surfaces import Problem, Surface, headers_with_epoch
from domain.kernel import Conflict, Invalid
from tests.orchards.domain.orchards.trees import NoSuchTree


def _oops(problem: Problem) -> dict[str, object]:
    return {"oops": problem.sentence, "why": problem.code}


def _milliseconds_since_1970(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


ORCHARDS = Surface(
    title="Orchards",
    prefixes=("/orchards/v9",),
    problem=_oops,
    shapes={"default": {"title": "Oops", "type": "object", "required": ["oops", "why"]}},
    statuses={Invalid: 400, Conflict: 410},
    codes={NoSuchTree: "no_tree"},
    moment=_milliseconds_since_1970,
    name=_camel,
    rate_headers=headers_with_epoch,
)
