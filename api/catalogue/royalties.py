"""Money and units, by currency and never across; and titles that wait for somebody to say what they are."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from datetime import date, timedelta
from decimal import Decimal
from itertools import islice
from typing import Annotated, Any, Literal

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct

from adapters.catalogue.books import Earned
from adapters.catalogue.charts import BARS_MAX, MEDIA, NOT_REPORTED, Bar
from api.answers import Answer
from api.auth import Asker
from api.catalogue.analytics import PICTURES, Format
from api.catalogue.plays import Growth, Imports
from api.catalogue.ports import Ports
from api.catalogue.tracks import LIMIT, READ, WRITE, Limit, Offset, Pagination, pagination
from commands.catalogue.titles import ResolveTitle, put_title
from domain.catalogue.codes import BadIsrc, find_isrc
from domain.catalogue.titles import NoSuchTitle
from domain.kernel import Unavailable

GROUPS_MAX = 1_000
#: Of how many months is said whether they were reported, and before which year nobody is asked what was before.
MONTHS_MAX, EARLIEST_YEAR = 600, 1900

By = Literal["month", "store", "country", "source", "statement", "isrc", "artist", "upc"]


Currency = Annotated[str, Meta(examples=["USD"])]
Amount = Annotated[str, Meta(examples=["50.003"])]


class Earnings(Struct):
    """What was earned in one currency: the amount is exact, and a text so that it stays so.

    `imports` are those that it came from, the newest 20.
    """

    group: Annotated[str | None, Meta(examples=["2026-02"])]
    currency: Currency
    amount: Amount
    units: Annotated[int | None, Meta(examples=[15420])]
    rows: Annotated[int, Meta(examples=[12])]
    first_day: date
    last_day: date
    imports: Imports


class CurrencyTotal(Struct):
    """All that was earned in one currency in the period, and in as many months or days before it.

    `previous` is null where the period has no beginning or no end. `growth` is a share, 0.25 for a quarter more; it is
    null where a month of either period is not reported.
    """

    currency: Currency
    amount: Amount
    units: Annotated[int | None, Meta(examples=[15420])]
    previous: Annotated[str | None, Meta(examples=["40.0024"])] = None
    growth: Growth = None


class EarningsAnswer(Struct):
    """Earnings by what was asked for, and their totals by currency.

    `not_reported` are the months of the period that no report is about: nothing is known of them, which is not zero.
    The period is what was asked for, or from the first month that a report is about until now.
    """

    by: Annotated[str, Meta(examples=["month"])]
    totals: list[CurrencyTotal]
    not_reported: Annotated[list[str], Meta(examples=[["2026-04"]])]
    data: list[Earnings]


class UnresolvedTitle(Struct):
    """A title that came without an ISRC; `isrc` once somebody has said what it is."""

    id: str
    artist: str
    title: str
    reason: str
    rows: int
    isrc: str | None


class UnresolvedList(Struct):
    """Titles that wait, newest first."""

    data: list[UnresolvedTitle]
    pagination: Pagination


class UnresolvedAnswer(Struct):
    """A title as it stands."""

    data: UnresolvedTitle


class Resolution(Struct, forbid_unknown_fields=True):
    """The recording that a title is."""

    isrc: Annotated[str, Meta(max_length=64)]


@get(
    "/api/v1/royalties",
    tags=["catalogue"],
    opt={**READ, **PICTURES},
    responses={200: ResponseSpec(EarningsAnswer, generate_examples=False, description="Earnings by currency.")},
)
async def list_earnings(
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    by: Annotated[By, QueryParameter(description="What earnings are told apart by")] = "month",
    isrc: Annotated[str | None, QueryParameter(max_length=64, description="Only those of one recording")] = None,
    since: Annotated[date | None, QueryParameter(description="Only what was earned from this day on")] = None,
    until: Annotated[date | None, QueryParameter(description="Only what was earned up to this day")] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=GROUPS_MAX, description="Maximum number of rows")] = 100,
    format: Format = "json",  # noqa: A002 - the name that it has outside
) -> Response[Any]:
    """Read what was earned, by currency and never added across: by month of sale, store, country, source and more.

    A month is that of the sale, whenever it was reported; a quarter is one row that begins with its first month.
    """
    known = None
    if isrc is not None and (known := find_isrc(isrc)) is None:
        raise BadIsrc(loc=("query", "isrc"))
    found = await ports.books.earned(asker.workspace_id, by, isrc=known, since=since, until=until, limit=limit)
    if format == "json":
        totals, missing = await _totals(ports, asker.workspace_id, known, since, until)
        rows = [
            Earnings(
                each.what or None,
                each.currency,
                f"{each.amount:f}",
                each.units,
                each.rows,
                each.first,
                each.last,
                each.imports,
            )
            for each in found
        ]
        return Answer(EarningsAnswer(by, totals, missing, rows))
    panels: dict[str, list[Bar]] = {}
    if by == "month":
        panels = _by_month(found, set(await ports.books.months(asker.workspace_id)))
    else:
        # Time goes from left to right; whatever else is told apart begins with the most.
        for each in reversed(found) if by == "statement" else found:
            panels.setdefault(each.currency, []).append(Bar(each.what or "not told", each.amount))
    drawn = await ports.charts.bars(asker.workspace_id, f"Earnings by {by}", panels, format)
    return Response(drawn, media_type=MEDIA[format])


def _by_month(found: Sequence[Earned], reported: Container[date]) -> dict[str, list[Bar]]:
    """A panel for each currency, all of the same months: those that no report is about have a place and no bar."""
    amounts = {(each.currency, each.what): each.amount for each in found}
    days = [date.fromisoformat(f"{each.what}-01") for each in found]
    months = list(_months(min(days), max(days)))[-BARS_MAX:] if days else []
    return {
        currency: [
            Bar(name if month in reported else f"{name} {NOT_REPORTED}", amounts.get((currency, name)))
            for month in months
            for name in (f"{month:%Y-%m}",)
        ]
        for currency in dict.fromkeys(each.currency for each in found)
    }


async def _totals(
    ports: Ports, workspace_id: str, isrc: str | None, since: date | None, until: date | None
) -> tuple[list[CurrencyTotal], list[str]]:
    """What was earned in a period by currency beside what was before it, and the months that nobody has reported."""

    async def earned(first: date | None, last: date | None) -> list[Earned]:
        return await ports.books.earned(workspace_id, "currency", isrc=isrc, since=first, until=last, limit=GROUPS_MAX)

    reported = set(await ports.books.months(workspace_id))
    first = since or min(reported, default=None)
    asked = [] if first is None else list(islice(_months(first, until or ports.now().date()), MONTHS_MAX))
    missing = [each for each in asked if each not in reported]
    found = await earned(since, until)
    totals = [CurrencyTotal(each.currency, f"{each.amount:f}", each.units) for each in found]
    if since is not None and until is not None and since <= until and 2 * since.year - until.year > EARLIEST_YEAR:
        begins, ends = _before(since, until)
        whole = not missing and reported.issuperset(_months(begins, ends))
        before = {each.currency: each.amount for each in await earned(begins, ends)}
        for total, each in zip(totals, found, strict=True):
            earlier = before.get(each.currency, Decimal(0))
            total.previous = f"{earlier:f}"
            total.growth = round(float(each.amount / earlier - 1), 4) if whole and earlier > 0 else None
    return totals, [f"{each:%Y-%m}" for each in missing]


def _months(first: date, last: date) -> Iterator[date]:
    """The first days of the months from that of a day to that of another."""
    for month in range(first.year * 12 + first.month - 1, last.year * 12 + last.month):
        yield date(month // 12, month % 12 + 1, 1)


def _before(since: date, until: date) -> tuple[date, date]:
    """As many months before a period of whole months, as many days before any other."""
    ends = since - timedelta(days=1)
    if since.day == 1 and until.day == monthrange(until.year, until.month)[1]:
        month = since.year * 12 + since.month - 1 - sum(1 for _ in _months(since, until))
        return date(month // 12, month % 12 + 1, 1), ends
    return ends - (until - since), ends


@get("/api/v1/unresolved", tags=["catalogue"], opt=READ)
async def list_unresolved(
    ports: NamedDependency[Ports], asker: NamedDependency[Asker], limit: Limit = LIMIT, offset: Offset = 0
) -> UnresolvedList:
    """List titles without an ISRC that no track of their artist has, or more than one, with the rows that wait."""
    found = await ports.books.titles(asker.workspace_id, limit=limit, offset=offset)
    total = found[0].of if found else 0
    rows = [UnresolvedTitle(each.id, each.artist, each.title, each.reason, each.rows, each.isrc) for each in found]
    return UnresolvedList(rows, pagination(total, limit, offset, len(rows)))


@post("/api/v1/unresolved/{title_id:str}/resolve", status_code=200, tags=["catalogue"], opt=WRITE)
async def resolve_title(
    title_id: FromPath[str],
    data: JSONBody[Resolution],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> UnresolvedAnswer:
    """Say which recording a title is. What waits for it is put there, and so is what later reports have of it."""
    isrc = find_isrc(data.isrc)
    if isrc is None:
        raise BadIsrc(loc=("body", "isrc"))
    if "\0" in title_id or not (found := await ports.books.titles(asker.workspace_id, title_id=title_id)):
        raise NoSuchTitle
    [title] = found
    await ports.execute(
        ResolveTitle(
            title_id=title_id, workspace_id=asker.workspace_id, artist=title.artist, title=title.title, isrc=isrc
        ),
        asker.context,
    )
    # So that it is seen at once; where the books are busy, it follows from what was decided.
    with suppress(Unavailable):
        await put_title(title_id, asker.workspace_id, ports.reading)
    return UnresolvedAnswer(UnresolvedTitle(title.id, title.artist, title.title, title.reason, title.rows, isrc))
