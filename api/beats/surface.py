"""The words of the beat generator: camelCase, times in milliseconds, and problems under `error`."""

from __future__ import annotations

from typing import Any

from api.surfaces import Problem, Surface
from commands.beats.settings import BeatAccess
from domain.kernel import Conflict, Invalid
from projections.kernel import milliseconds

#: Facts of a refusal that are about the request, or are told in headers.
_UNTOLD = frozenset({"loc", "retry_after_seconds", "problem"})


def camel(name: str) -> str:
    """A name as the contract writes it: `categoryName`."""
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def _error(problem: Problem) -> dict[str, Any]:
    """What is so is the `error`, what to do the `message`, both without the stop at the end; then what it is about."""
    error, _, message = problem.sentence.partition(". ")
    body: dict[str, Any] = {"error": error.rstrip(".")}
    if message:
        body["message"] = message.rstrip(".")
    body |= {camel(name): value for name, value in problem.facts.items() if name not in _UNTOLD}
    faults = [(".".join(map(str, each.loc)), each.message) for each in problem.faults]
    if faults and problem.code == "malformed_request":
        body["details"] = "; ".join(f"{place}: {said}" for place, said in faults)
    return body | {"code": problem.code}


BEATS = Surface(
    title="Beats",
    prefixes=("/api", "/output"),
    problem=_error,
    shapes={
        "default": {
            "title": "BeatProblem",
            "type": "object",
            "required": ["error", "code"],
            "properties": {
                "error": {"type": "string", "description": "What is so."},
                "message": {"type": "string", "description": "What to do."},
                "details": {"type": "string", "description": "What is wrong with the request, and where."},
                "code": {"type": "string"},
                "beatId": {"type": "string"},
                "categoryName": {"type": "string"},
                "generationStatus": {"type": "string"},
            },
        }
    },
    # The contract has no other words for what cannot be done.
    statuses={Invalid: 400, Conflict: 400},
    meanings={"400": "The request is malformed, or the beat is not in a state for this."},
    moment=milliseconds,
    name=camel,
    guest=lambda settings: settings[BeatAccess].open_workspace_id,
    lenient=frozenset(
        {
            "GET /api/beats",
            "GET /api/beats/{}",
            "GET /api/beats/pending/list",
            "POST /api/generate/beat",
            "POST /api/generate/beats",
            "POST /api/beats/{}/generate-audio",
            "POST /api/beats/{}/versions",
            "GET /api/beats/{}/versions",
            "POST /api/beats/{}/download",
            "POST /api/beats/{}/convert-to-wav",
            "GET /api/beats/{}/wav-status",
            "POST /api/callbacks/suno",
            "POST /api/callbacks/suno/wav",
        }
    ),
)
