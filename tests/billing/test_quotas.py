"""The month of a workspace, counted one by one and never read twice."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from msgspec import json

from adapters.log import codec
from adapters.log.memory import MemoryLedger
from commands.analyses.analyses import Item, RequestAnalyses
from commands.billing.quotas import count
from commands.kernel import Command, TooBusy, Transaction, execute, handles
from domain.analyses.analyses import ANALYSES, AnalysisRequested
from domain.billing.quotas import Meter, MonthlyQuotaExceeded, QuotaUsed, meters, quotas
from domain.ledger import Change, History
from projections.billing.usage import usage
from tests import history
from tests.core.orchard import TreePlanted
from tests.spec import CONTEXT, NOW, given

MONTH = ANALYSES.quota_id("w1", NOW)


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
    return QuotaUsed(quota_id=MONTH, workspace_id="w1", kind="analyses", subject_ids=names, used_at=NOW, used=in_all)


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
    assert sum(len(each.subject_ids) for each in history.events if isinstance(each, QuotaUsed)) == passed


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


# --- other kinds ------------------------------------------------------------------------------------------------------

PICKINGS = Meter(kind="pickings", on={TreePlanted: "planted_at"}, limits=lambda _: {})


class Pick(Command):
    """A command of a context of its own, whose things are counted."""

    picking_id: str
    count: int = 1


@handles(Pick)
async def pick(wish: Pick, transaction: Transaction) -> None:
    """Three a month."""
    ids = [f"{wish.picking_id}-{n}" for n in range(wish.count)]
    await count(transaction, PICKINGS, "w1", ids, 3)


def picked(name: str, in_all: int) -> QuotaUsed:
    month = "w1-2026-03-pickings"
    return QuotaUsed(
        quota_id=month, workspace_id="w1", kind="pickings", subject_ids=(f"{name}-0",), used_at=NOW, used=in_all
    )


def test_any_command_counts_its_own_kind_and_no_other() -> None:
    analysed = (quotas.stream(MONTH), used(5, in_all=5))
    given(analysed).when(Pick(picking_id="p"), Pick(picking_id="q")).then(picked("q", 2))
    full = (quotas.stream("w1-2026-03-pickings"), picked("p", 3))
    given(analysed, full).when(Pick(picking_id="q")).refused(MonthlyQuotaExceeded)
    assert given(analysed, full).when(wanted("an", limit=6)).refusal is None


def test_a_refusal_names_the_kind_and_when_to_come_again() -> None:
    left = 30 * 86_400 + 43_200
    asked = given().when(Pick(picking_id="p", count=4))
    asked.refused(MonthlyQuotaExceeded, limit=3, kind="pickings", retry_after_seconds=left)
    assert str(asked.refusal) == "Monthly quota exceeded. 3 pickings per month."
    asked = given().when(wanted("an", limit=0))
    assert str(asked.refusal) == "Monthly quota exceeded. 0 analyses per month."


OLD = [line for line in history.lines() if line.name == "billing.QuotaUsed" and line.schema_version == 1]


def test_what_was_stored_when_only_analyses_were_counted_means_what_it_meant() -> None:
    (line,) = OLD
    facts = json.decode(line.facts)
    event = codec.decode(line.name, 1, line.facts)

    assert isinstance(event, QuotaUsed)
    assert event.kind == "analyses"
    assert list(event.subject_ids) == facts["analysis_ids"]
    assert (event.quota_id, event.workspace_id, event.used) == (facts["quota_id"], facts["workspace_id"], None)
    assert quotas.fold([event]).used == len(facts["analysis_ids"]) > 0


def test_months_that_have_begun_keep_their_streams() -> None:
    assert ANALYSES.quota_id("w1", NOW) == "w1-2026-03"
    assert PICKINGS.quota_id("w1", NOW) == "w1-2026-03-pickings"


def test_usage_is_told_by_the_meters_that_are_found() -> None:
    assert ANALYSES in meters()
    (asked,) = [each for each in given().when(wanted("an", limit=5)).events if isinstance(each, AnalysisRequested)]
    assert list(usage.counts[AnalysisRequested](asked)) == [("w1/2026-03/analyses", 1)]
    assert QuotaUsed not in usage.counts
