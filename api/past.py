"""`?as_of=`: a read as it was at a position of the log, or at a moment, for whoever may see the audit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from litestar import Request

from adapters.readmodels.past import AS_OF, AsOf
from adapters.readmodels.views import Views
from api.auth import ASKING, Needs
from api.kernel import check_moment, whole
from commands.kernel import Now
from domain.kernel import Invalid

PARAMETER = "as_of"
#: Which position an answer is of.
HEADER = b"ledgerline-position"
_LOC = ("query", PARAMETER)

#: The routes whose answers are made of read models alone, or of the log's own list, by their names. What is read from
#: anywhere else (states of the log as they are, books of the catalogue, limits of settings, jobs under way, objects)
#: is as it is now, and must not look older.
LOOKS_BACK = frozenset(
    {
        "get_account_analysis",
        "get_analysis",
        "get_analysis_result",
        "get_account_analysis_result",
        "get_beat",
        "get_build",
        "get_import",
        "get_import_mapping",
        "get_key",
        "get_platform_analysis",
        "get_project",
        "get_release",
        "get_track",
        "get_webhook_delivery",
        "get_webhook_endpoint",
        "get_webhook_log",
        "get_webhook_replay",
        "list_activations",
        "list_analyses",
        "list_artifacts",
        "list_audit_events",
        "list_builds",
        "list_import_mappings",
        "list_imports",
        "list_keys",
        "list_pending_beats",
        "list_projects",
        "list_release_versions",
        "list_releases",
        "list_tracks",
        "list_versions",
        "list_webhook_deliveries",
        "list_webhook_endpoints",
        "list_webhook_replays",
        "query_beats",
    }
)


class NotFromTheLog(Invalid):
    """This cannot be answered as of an earlier time: not all of it comes from the log. Leave out `as_of`."""


class NoPointInTime(Invalid):
    """`as_of` is given once: a position of the log, or a moment with its zone, as in 2026-11-22T10:00:00Z."""


class StillToCome(Invalid):
    """`as_of` is a moment that is still to come."""


@dataclass(frozen=True)
class LookingBack:
    """What it takes to look back."""

    views: Views
    now: Now


def looks_back() -> bool:
    """Whether the request at hand asks how something was, so that nothing of today may be in the answer."""
    return AS_OF.get() is not None


async def look_back(request: Request[Any, Any, Any], back: LookingBack) -> AsOf | None:
    """Have a request with `as_of` read what was there then; None where it has none.

    Raises NotFromTheLog, NoPointInTime, StillToCome, PositionIsAhead, and what the guard refuses whoever may not see
    the audit with.
    """
    query = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    said = [value for name, value in query if name == PARAMETER]
    if not said:
        return None
    asker = ASKING.get(None)
    if asker is None or request.route_handler.handler_name not in LOOKS_BACK:
        raise NotFromTheLog(loc=_LOC)
    asker.may(Needs(scope="events:read", role="admin"))
    if len(said) != 1:
        raise NoPointInTime(loc=_LOC)
    return await back.views.look_back(asker.workspace_id, _point(said[0], back.now()))


def _point(text: str, now: datetime) -> int | datetime:
    if (position := whole(text)) is not None:
        return position
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise NoPointInTime(loc=_LOC) from None
    if check_moment(moment, _LOC) > now:
        raise StillToCome(loc=_LOC)
    return moment
