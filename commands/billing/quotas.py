"""Counting against the month: what any command does whose things are metered."""

from __future__ import annotations

from collections.abc import Sequence

from commands.kernel import Transaction
from domain.billing.quotas import Meter, MonthlyQuotaExceeded, QuotaUsed, quotas, seconds_left


async def count(
    transaction: Transaction, meter: Meter, workspace_id: str, ids: Sequence[str], limit: int | None
) -> None:
    """Count things against this month's quota, in the append that makes them. Nothing is kept without a limit.

    Raises MonthlyQuotaExceeded when not all of them are left in the month.
    """
    if limit is None or not ids:
        return
    now = transaction.now
    month = meter.quota_id(workspace_id, now)
    used = (await transaction.find(quotas, month)).used + len(ids)
    if used > limit:
        raise MonthlyQuotaExceeded(limit=limit, kind=meter.kind, retry_after_seconds=seconds_left(now))
    transaction.record(
        quotas,
        month,
        QuotaUsed(
            quota_id=month,
            workspace_id=workspace_id,
            kind=meter.kind,
            subject_ids=tuple(ids),
            used_at=now,
            used=used,
        ),
    )
