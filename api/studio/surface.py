"""The contract of the plug-in studio: `error`, `message` and `details`, and a reset that is a moment."""

from __future__ import annotations

from collections.abc import Mapping

from api.auth import EmailNotVerified, FromAnotherSite, MissingScope, SessionRequired
from api.rates import MINUTE_SECONDS, RateLimitExceeded, by_subject
from api.studio.settings import StudioRates
from api.surfaces import Problem, Surface, headers_with_epoch
from domain.identity.workspaces import RoleIsTooLow
from domain.kernel import Conflict, Invalid, NotFound, Refusal, Unauthenticated, Unavailable

#: The common codes, where this service has other words for the same.
CODES: Mapping[type[Refusal], str] = {
    Invalid: "bad_request",
    Unauthenticated: "unauthorized",
    MissingScope: "forbidden",
    SessionRequired: "forbidden",
    EmailNotVerified: "forbidden",
    FromAnotherSite: "forbidden",
    RoleIsTooLow: "forbidden",
    NotFound: "not_found",
    Conflict: "conflict",
    RateLimitExceeded: "rate_limited",
    Unavailable: "unavailable",
}
#: What is refused before any rule has seen it comes with the phrase of its status.
_PHRASES = {"malformed_request": "bad_request", "internal_server_error": "internal_error"}


def error(problem: Problem) -> dict[str, object]:
    """The body of every error; `details` is always an object, and says where something is wrong."""
    details = {name: fact for name, fact in problem.facts.items() if isinstance(fact, (str, int, float))}
    faults = [{"field": ".".join(map(str, each.loc)), "message": each.message} for each in problem.faults]
    return {
        "error": _PHRASES.get(problem.code, problem.code),
        "message": problem.sentence,
        "details": {**details, **({"errors": faults} if faults else {})},
    }


#: What a workspace may ask of the studio in all, by each of its keys and sessions.
GENERAL = by_subject("studio", StudioRates, lambda rates: rates.studio_limit_per_minute, MINUTE_SECONDS)

STUDIO = Surface(
    title="Plug-in studio",
    prefixes=("/functions/v1",),
    problem=error,
    shapes={
        "default": {
            "title": "StudioError",
            "type": "object",
            "required": ["error", "message", "details"],
            "properties": {
                "error": {"type": "string", "description": "What machines call it."},
                "message": {"type": "string", "description": "What is so, and what to do."},
                "details": {"type": "object", "description": "Its particulars; `errors` says what is wrong where."},
            },
        }
    },
    statuses={Refusal: 400, Invalid: 400},
    codes=CODES,
    meanings={
        "400": "The request does not have the documented shape, or makes no sense as it stands.",
        "429": "Too many requests; see the X-RateLimit headers and Retry-After.",
    },
    lenient=frozenset(
        {
            "GET /functions/v1/builds",
            "GET /functions/v1/builds/usage",
            "GET /functions/v1/builds/{}",
            "GET /functions/v1/builds/{}/artifacts",
            "GET /functions/v1/builds/{}/download/{}",
            "POST /functions/v1/builds",
            "POST /functions/v1/builds/{}/cancel",
            "GET /functions/v1/github-app-callback/status",
            "DELETE /functions/v1/github-app-callback/disconnect",
            "GET /functions/v1/plugin-repos/discover",
            "POST /functions/v1/plugin-repos/create-and-link",
            "POST /functions/v1/plugin-repos/link",
            "POST /functions/v1/plugin-repos/unlink",
            "GET /functions/v1/sdk/download",
            "GET /functions/v1/sdk/status",
        }
    ),
    rate=GENERAL,
    rate_headers=headers_with_epoch,
)
