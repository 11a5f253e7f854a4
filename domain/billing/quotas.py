"""A quota: how many analyses a workspace may ask for in one month. Kept only where there is a limit."""

from __future__ import annotations

from datetime import datetime, timedelta

from domain.kernel import Category, Event, Exhausted, State


class QuotaUsed(Event):
    """Analyses were counted against the month."""

    quota_id: str
    workspace_id: str
    analysis_ids: tuple[str, ...]
    used_at: datetime
    #: All of the month, these included, so that nobody has to read the whole month to count one more. Old events
    #: do not have it.
    used: int | None = None


class Quota(State):
    """What has been used of the month."""

    used: int = 0


def evolve(quota: Quota, event: Event) -> Quota:
    """A quota after one more event."""
    match event:
        case QuotaUsed():
            return snapshot(event) or Quota(used=quota.used + len(event.analysis_ids))
    return quota


def snapshot(event: Event) -> Quota | None:
    """What the newest event says of the whole month."""
    match event:
        case QuotaUsed(used=int(used)):
            return Quota(used=used)
    return None


class MonthlyQuotaExceeded(Exhausted):
    """Monthly quota exceeded. {limit} analyses per month."""


quotas = Category(name="quota", initial=Quota(), evolve=evolve, snapshot=snapshot)


def quota_id(workspace_id: str, moment: datetime) -> str:
    """The quota of a workspace for the month of a moment (UTC)."""
    return f"{workspace_id}-{moment:%Y-%m}"


def seconds_left(moment: datetime) -> int:
    """How long the month of a moment (UTC) still lasts, in whole seconds and never too few."""
    first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (first + timedelta(days=31)).replace(day=1)
    return -((moment - following) // timedelta(seconds=1))
