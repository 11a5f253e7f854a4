"""What each workspace has used in each month."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from domain.analyses.analyses import AnalysisRequested
from domain.kernel import Event
from projections.kernel import tally


def analyses_in(workspace_id: str, moment: datetime) -> str:
    """The key of the analyses a workspace asked for in the month of a moment (UTC)."""
    return f"{workspace_id}/{moment:%Y-%m}/analyses"


def counts(event: Event) -> Iterable[tuple[str, int]]:
    """What an event adds to."""
    match event:
        case AnalysisRequested():
            yield analyses_in(event.workspace_id, event.requested_at), 1


usage = tally("usage", counts)
