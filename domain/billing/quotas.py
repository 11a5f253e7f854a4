"""A quota: how much of one kind a workspace may ask for in one month. Kept only where there is a limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any, ClassVar

from domain.discovery import modules
from domain.kernel import Category, Event, Exhausted, State, Upcasters, Value
from domain.sections import Sections

#: The kind that was once the only one: what was stored then does not name it.
ONLY_KIND_ONCE = "analyses"


class Meter(Value):
    """A kind of thing that is counted by the month, declared in `domain/` by the context that makes it.

    Each event of a kind in `on` is one more in its workspace, in the month (UTC) of the field named there. `limits`
    reads from the settings how many a month each plan has; a plan not named has no limit.

        BUILDS = Meter(kind="builds", on={BuildAsked: "asked_at"}, limits=lambda settings: settings[Builds].monthly)
    """

    #: As in "{limit} analyses per month".
    kind: str
    on: Mapping[type[Event], str]
    limits: Callable[[Sections], Mapping[str, int]]

    def used_in(self, workspace_id: str, moment: datetime) -> str:
        """The key of what a workspace has used in the month of a moment (UTC), in the tally of usage."""
        return f"{workspace_id}/{moment:%Y-%m}/{self.kind}"

    def quota_id(self, workspace_id: str, moment: datetime) -> str:
        """The quota of a workspace for the month of a moment (UTC)."""
        month = f"{workspace_id}-{moment:%Y-%m}"
        return month if self.kind == ONLY_KIND_ONCE else f"{month}-{self.kind}"


@cache
def meters() -> tuple[Meter, ...]:
    """Everything that is counted by the month."""
    found = {
        id(thing): thing for module in modules("domain") for thing in vars(module).values() if isinstance(thing, Meter)
    }
    assert len({meter.kind for meter in found.values()}) == len(found), "two meters count the same kind"
    return tuple(found.values())


def _of_the_only_kind(facts: dict[str, Any]) -> dict[str, Any]:
    """An upcaster: once, only analyses were counted."""
    others = {name: value for name, value in facts.items() if name != "analysis_ids"}
    return others | {"kind": ONLY_KIND_ONCE, "subject_ids": facts["analysis_ids"]}


class QuotaUsed(Event):
    """Things of one kind were counted against the month."""

    schema_version: ClassVar[int] = 2
    upcasters: ClassVar[Upcasters] = {1: _of_the_only_kind}

    quota_id: str
    workspace_id: str
    kind: str
    subject_ids: tuple[str, ...]
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
            return snapshot(event) or Quota(used=quota.used + len(event.subject_ids))
    return quota


def snapshot(event: Event) -> Quota | None:
    """What the newest event says of the whole month."""
    match event:
        case QuotaUsed(used=int(used)):
            return Quota(used=used)
    return None


class MonthlyQuotaExceeded(Exhausted):
    """Monthly quota exceeded. {limit} {kind} per month."""


quotas = Category(name="quota", initial=Quota(), evolve=evolve, snapshot=snapshot)


def seconds_left(moment: datetime) -> int:
    """How long the month of a moment (UTC) still lasts, in whole seconds and never too few."""
    first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (first + timedelta(days=31)).replace(day=1)
    return -((moment - following) // timedelta(seconds=1))
