"""Numbers, dates and periods as reports write them, and cells as spreadsheets read them."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Literal, NamedTuple

from domain.catalogue.mappings import DateOrder


class Period(NamedTuple):
    """The first and the last day that a row is about: a day, a month, a quarter. It is never made finer."""

    start: date
    end: date


_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan janvier janv", "february feb février févr fevrier", "march mar mars", "april apr avril avr",
            "may mai", "june jun juin", "july jul juillet juil", "august aug août aout", "september sep sept septembre",
            "october oct octobre", "november nov novembre", "december dec décembre déc decembre",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
_ISO_DAY = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[T ].*)?")
_ISO_MONTH = re.compile(r"(\d{4})[-/.M](\d{1,2})")
_MONTH_FIRST = re.compile(r"(\d{1,2})[-/.](\d{4})")
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})?")
_SLASHED = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4}|\d{2})(?:[ T,].*)?")
_NAMED = re.compile(r"([^\W\d]+)\.?[- /](\d{4}|\d{2})")
_NAMED_SPAN = re.compile(r"([^\W\d]+)-([^\W\d]+)-(\d{4}|\d{2})")
_QUARTER = re.compile(r"(?:Q([1-4])[- /]?(\d{4}|\d{2})|(\d{4})[- /]?Q([1-4]))", re.IGNORECASE)


def slashed(text: str) -> tuple[int, int] | None:
    """The two numbers of which nobody knows which is the month; None when the text is unambiguous in its form."""
    found = _SLASHED.fullmatch(text.strip())
    return None if found is None else (int(found[1]), int(found[2]))


def tells_ydm(text: str, *, first_of_month: bool = False) -> bool:
    """Whether a date that begins with its year can only have its day in the middle."""
    found = _ISO_DAY.fullmatch(text.strip())
    if found is None or found[0][4] != "/":
        return False
    _, second, third = map(int, found.groups())
    return second > 12 or (first_of_month and second == 1 and 1 < third <= 12)


#: How a date is read; `ydm` is what some sellers wrote once and nobody would say: 2015/30/01.
Order = DateOrder | Literal["ydm"]


@lru_cache(16_384)
def period(text: str, order: Order | None, *, first_of_month: bool = False) -> Period | None:
    """The days that a text names; None when it names none.

    `order` says which number of a date with slashes is the day. With `first_of_month` the day is always the first,
    whichever place it has.
    """
    text = text.strip()
    for form, read in _FORMS:
        if found := form.fullmatch(text):
            try:
                return read(found, order, first_of_month)
            except (ValueError, KeyError):
                return None
    return None


def _iso_day(found: re.Match[str], order: Order | None, first_of_month: bool) -> Period:
    year, month, day = map(int, found.groups())
    turned = first_of_month and month == 1 and 1 < day <= 12
    if turned or (order == "ydm" and found[0][4] == "/"):
        month, day = day, month
    return _month(year, month) if first_of_month and day == 1 else _day(year, month, day)


def _compact(found: re.Match[str], *_: object) -> Period:
    year, month = int(found[1]), int(found[2])
    return _month(year, month) if found[3] is None else _day(year, month, int(found[3]))


def _with_slashes(found: re.Match[str], order: Order | None, first_of_month: bool) -> Period:
    first, second, year = int(found[1]), int(found[2]), _year(found[3])
    day, month = (second, first) if order == "mdy" else (first, second)
    return _month(year, month) if first_of_month and day == 1 else _day(year, month, day)


def _quarter(found: re.Match[str], *_: object) -> Period:
    quarter, year = int(found[1] or found[4]), _year(found[2] or found[3])
    return _months(year, 3 * quarter - 2, 3 * quarter)


def _span(found: re.Match[str], *_: object) -> Period:
    return _months(_year(found[3]), _MONTHS[found[1].casefold()], _MONTHS[found[2].casefold()])


_FORMS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], Order | None, bool], Period]], ...] = (
    (_ISO_DAY, _iso_day),
    (_ISO_MONTH, lambda found, *_: _month(int(found[1]), int(found[2]))),
    (_MONTH_FIRST, lambda found, *_: _month(int(found[2]), int(found[1]))),
    (_COMPACT, _compact),
    (_SLASHED, _with_slashes),
    (_QUARTER, _quarter),
    (_NAMED_SPAN, _span),
    (_NAMED, lambda found, *_: _month(_year(found[2]), _MONTHS[found[1].casefold()])),
)


def _year(text: str) -> int:
    return int(text) if len(text) == 4 else 2000 + int(text)


def _day(year: int, month: int, day: int) -> Period:
    found = date(year, month, day)
    return _kept(Period(found, found))


def _month(year: int, month: int) -> Period:
    return _months(year, month, month)


def _months(year: int, first: int, last: int) -> Period:
    return _kept(Period(date(year, first, 1), date(year, last, calendar.monthrange(year, last)[1])))


def _kept(found: Period) -> Period:
    """A period that can be reckoned with: nobody sold recordings before 1900."""
    if not 1900 <= found.start.year <= found.end.year <= 9998 or found.end < found.start:
        raise ValueError(found)
    return found


@lru_cache(16_384)
def month_of(found: Period) -> Period:
    """The month that a single day belongs to; anything longer stays what it is."""
    return _month(found.start.year, found.start.month) if found.start == found.end else found


_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+")
_SIGNS = re.compile(r"[\s\u00a0\u202f$€£]|USD|EUR|GBP")
DIGITS_MAX = 15
DECIMALS_MAX = 40


@lru_cache(16_384)
def count(text: str, *, decimal_comma: bool = False) -> int | None:
    """A whole number as reports write it, `1,200` and `-1` and `12.0`; None when it is none.

    Where commas are decimal, points part thousands.
    """
    plain = bare(text.strip()).replace("\u00a0", "").replace("\u202f", "").replace(" ", "")
    if _THOUSANDS.fullmatch(plain):
        plain = plain.replace(",", "")
    if re.fullmatch(r"[-+]?\d{1,3}(?:\.\d{3})+", plain) and (decimal_comma or plain.count(".") > 1):
        plain = plain.replace(".", "")
    plain = re.sub(r"[.,]0+$", "", plain)
    if not re.fullmatch(r"[-+]?\d{1,15}", plain, re.ASCII):
        return None
    return int(plain)


_PLAIN_AMOUNT = re.compile(r"-?\d{1,15}(?:\.\d{1,40})?", re.ASCII)
#: Groups of three, of Indian reports also of two before the last.
_GROUPED = re.compile(r"[-+]?\d{1,3}(?:,\d{2,3})*,\d{3}", re.ASCII)
_POINTED = re.compile(r"[-+]?[1-9]\d{0,2}(?:\.\d{3})+", re.ASCII)
#: What can only be a decimal comma: what follows it is no group of three, or a nought stands alone before it.
_DECIMAL_COMMA = re.compile(r"[^\d,.]*(?:0,\d+|\d+,(?:\d{1,2}|\d{4,}))[^\d,.]*", re.ASCII)


def tells_decimal_comma(text: str) -> bool:
    """Whether the comma of an amount can only be decimal: `0,5` and `12,50`, but not `1,200`."""
    return _DECIMAL_COMMA.fullmatch(text.strip()) is not None


def _with_point(plain: str, *, decimal_comma: bool) -> str:
    """An amount without what parts its thousands, its decimals behind a point; empty where that could be either."""
    if plain.startswith("(") and plain.endswith(")"):
        plain = "-" + plain[1:-1]
    if "," in plain and "." in plain:
        thousands = "," if plain.rindex(".") > plain.rindex(",") else "."
        return plain.replace(thousands, "").replace(",", ".")
    if _POINTED.fullmatch(plain) and (decimal_comma or plain.count(".") > 1):
        return plain.replace(".", "") if plain.count(".") > 1 else ""
    if decimal_comma and plain.count(",") == 1:
        return plain.replace(",", ".")
    return plain.replace(",", "") if _GROUPED.fullmatch(plain) else plain


def amount(text: str, *, decimal_comma: bool) -> Decimal | None:
    """Money, exact, as reports write it: `0.0001`, `1,234.50`, `0,0001` (where commas are decimal), `(3.10)`, `1E-5`.

    None when it is no number, has more digits than money has, or could be read in two ways: `0,50` where commas part
    thousands, `1.234` where they are decimal.
    """
    if _PLAIN_AMOUNT.fullmatch(text) and not (decimal_comma and _POINTED.fullmatch(text)):
        return Decimal(text)
    plain = _with_point(_SIGNS.sub("", bare(text)), decimal_comma=decimal_comma)
    if not re.fullmatch(r"[-+]?\d*\.?\d*(?:[eE][-+]?\d{1,2})?", plain, re.ASCII):
        return None
    try:
        found = Decimal(plain)
    except InvalidOperation:
        return None
    _, digits, exponent = found.as_tuple()
    if not found.is_finite() or not isinstance(exponent, int):
        return None
    return found if len(digits) + exponent <= DIGITS_MAX and exponent >= -DECIMALS_MAX else None


_NUMBER = re.compile(r"[-+][\d.,]+(?:[eE][-+]?\d+)?", re.ASCII)
_ACTIVE = ("=", "+", "-", "@", "\t", "\r")


def inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; a number with its sign stays one."""
    return f"'{cell}" if cell.startswith(_ACTIVE) and not _NUMBER.fullmatch(cell) else cell


def bare(cell: str) -> str:
    """A cell as it was before `inert`, by us or by a spreadsheet: what was written out can be read again."""
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(_ACTIVE) else cell
