"""The month of a workspace, counted one by one and never read twice."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from adapters.log.memory import MemoryLedger
from commands.analyses.analyses import Item, RequestAnalyses
from commands.kernel import TooBusy, execute
from domain.billing.quotas import MonthlyQuotaExceeded, QuotaUsed, quota_id, quotas
from domain.ledger import Change, History
from tests.spec import CONTEXT, NOW, given

MONTH = quota_id("w1", NOW)


class Counting(MemoryLedger):
    """A ledger that knows how many events it was asked for."""

    def __init__(self) -> None:
        super().__init__(lambda: NOW)
        self.read_events = 0

    async def read(self, stream: str) -> History:
        """As ever."""
        return self._counted(await super().read(stream))

    async def last(self, stream: str) -> History:
        """As ever, but so that others may write in between."""
        await asyncio.sleep(0)
        return self._counted(await super().last(stream))

    def _counted(self, history: History) -> History:
        self.read_events += len(history.events)
        return history


def wanted(name: str, *, limit: int, count: int = 1) -> RequestAnalyses:
    items = tuple(Item(analysis_id=f"{name}-{n}", origin="url", source_url="https://a.example") for n in range(count))
    return RequestAnalyses(subject_id=name, workspace_id="w1", items=items, monthly_limit=limit)


def used(count: int, *, in_all: int | None = None) -> QuotaUsed:
    """So many were counted; before sums were written down there was none."""
    names = tuple(f"old-{n}" for n in range(count))
    return QuotaUsed(quota_id=MONTH, workspace_id="w1", analysis_ids=names, used_at=NOW, used=in_all)


async def test_a_submission_reads_no_more_at_the_end_of_a_month_than_at_its_beginning() -> None:
    ledger = Counting()
    costs = []
    for number in range(300):
        before = ledger.read_events
        await execute(wanted(f"an-{number}", limit=300), ledger, NOW, CONTEXT)
        costs.append(ledger.read_events - before)

    assert max(costs) <= 1
    with pytest.raises(MonthlyQuotaExceeded):
        await execute(wanted("one-too-many", limit=300), ledger, NOW, CONTEXT)


async def test_of_many_at_once_no_more_pass_than_the_month_has() -> None:
    ledger = Counting()

    async def press(name: str, count: int) -> int:
        while True:
            try:
                await execute(wanted(name, limit=20, count=count), ledger, NOW, CONTEXT)
            except TooBusy:
                continue
            except MonthlyQuotaExceeded:
                return 0
            return count

    passed = sum(await asyncio.gather(*(press(f"an-{n}", 1 + n % 3) for n in range(40))))
    assert 18 <= passed <= 20
    history = await ledger.read(quotas.stream(MONTH))
    assert quotas.fold(history.events).used == passed
    assert sum(len(each.analysis_ids) for each in history.events if isinstance(each, QuotaUsed)) == passed


async def test_a_month_that_began_before_sums_were_written_down_is_counted_on() -> None:
    ledger = Counting()
    past = [used(2), used(1)]
    await ledger.append([Change(stream=quotas.stream(MONTH), after=0, events=past)], CONTEXT)
    await execute(wanted("an", limit=5), ledger, NOW, CONTEXT)
    # A process of the version before may still write beside us.
    await ledger.append([Change(stream=quotas.stream(MONTH), after=3, events=[used(1)])], CONTEXT)

    with pytest.raises(MonthlyQuotaExceeded):
        await execute(wanted("one-too-many", limit=5), ledger, NOW, CONTEXT)


def test_the_next_month_begins_at_nothing() -> None:
    given((quotas.stream(MONTH), used(5, in_all=5))).when(wanted("an", limit=5)).refused(MonthlyQuotaExceeded, limit=5)
    later = given((quotas.stream(MONTH), used(5, in_all=5))).when(wanted("an", limit=5), now=NOW + timedelta(days=31))
    assert later.refusal is None
