"""What each workspace has used in each month, of everything that is metered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from domain.billing.quotas import Meter, meters
from domain.kernel import Event
from projections.kernel import Counts, tally


def counted_by(metered: Iterable[Meter]) -> Mapping[type[Event], Counts]:
    """What each event of these meters adds to."""
    fields: dict[type[Event], list[tuple[Meter, str]]] = {}
    for meter in metered:
        for kind, field in meter.on.items():
            fields.setdefault(kind, []).append((meter, field))

    def counts(event: Any) -> Iterable[tuple[str, int]]:
        for meter, field in fields[type(event)]:
            yield meter.used_in(event.workspace_id, getattr(event, field)), 1

    return dict.fromkeys(fields, counts)


usage = tally("usage", counted_by(meters()))
