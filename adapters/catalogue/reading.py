"""A file of a known kind read row by row: what of it is in order, what is wrong with the rest, and what must be asked.

Rows that are in order leave as lines for COPY; the others are written down with their reason. All of it runs in a
thread or a process of its own, in memory that does not depend on the length of the file.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Context, Decimal, Inexact
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from operator import itemgetter
from typing import IO, Any, Generic, Literal, NamedTuple, TypeVar

from adapters.catalogue.files import Dialect, Row, Table, Text, Unreadable
from adapters.catalogue.profiles import PROFILES, Field, Match, Profile, match, nearly, plain
from adapters.catalogue.words import (
    Order,
    Period,
    amount,
    bare,
    count,
    month_of,
    period,
    slashed,
    tells_decimal_comma,
    tells_ydm,
)
from domain.catalogue.codes import check_digit, find_isrc
from domain.catalogue.imports import Counts, Options, Question, Report, Resolved
from domain.catalogue.mappings import DateOrder

#: A header stands among the first rows, or nowhere.
HEADER_ROWS_MAX = 40
DELIMITERS = ("\t", ",", ";", "|")
#: What one import may name; more than any report has, and little enough to be held.
PERIODS_MAX = 20_000
TITLES_MAX = 50_000
BLOCK_BYTES = 128 * 1024
#: How many rows are looked at to find out how a file writes its numbers.
LOOKED_AT_ROWS = 500
DUPLICATES_WATCHED = 100_000
#: Of how many combinations of cells is remembered what they mean.
REMEMBERED_MAX = 16_384
#: Plays of so many recordings in so many years at most: each has a bit for every day of a year.
YEARS_SEEN_MAX = 500_000

#: Sums of money lose nothing: whatever could not be exact is an error.
EXACT = Context(prec=100, traps=[Inexact])


class Asks(Exception):
    """Something must be known before the file can be read."""

    def __init__(self, source: str, question: Question, detail: str) -> None:
        super().__init__(detail)
        self.source = source
        self.question = question


class Inconsistent(Exception):
    """Dates of the file contradict each other."""


class Located(NamedTuple):
    """A table whose header was found: how to read it, on which row it is, and what it means."""

    table: Table
    dialect: Dialect
    before: int
    header: list[str]
    match: Match


def locate(found: Sequence[Table], profiles: Sequence[Profile] = PROFILES) -> list[Located]:
    """The tables of a file that are reports of one kind; raises Unreadable when none is.

    Of an archive only those of the kind that knows most columns: the others sum up the same money once more.
    """
    located = [each for table in found if (each := _header(table, profiles)) is not None]
    if located:
        best = max(located, key=lambda each: len(each.match.places)).match.profile
        return [each for each in located if each.match.profile is best]
    for table in found:
        for dialect in dialects(table):
            for row in islice(table.rows(dialect), HEADER_ROWS_MAX):
                if near := nearly(row.cells, profiles):
                    profile, missing = near
                    columns = ", ".join(missing)
                    raise Unreadable(
                        "unknown_format", f"This resembles {profile.name}, but lacks the column {columns}."
                    )
    raise Unreadable(
        "unknown_format", "No row of headers is known here. Save a mapping for it, or export the file again."
    )


def dialects(table: Table) -> list[Dialect]:
    """The ways in which the cells of a table may be told apart."""
    if not table.is_text:
        return [Dialect()]
    return [Dialect(delimiter, quoted=True) for delimiter in DELIMITERS]


def _header(table: Table, profiles: Sequence[Profile]) -> Located | None:
    best: Located | None = None
    for dialect in dialects(table):
        for before, row in enumerate(islice(table.rows(dialect), HEADER_ROWS_MAX)):
            cells = [each.strip() for each in row.cells]
            while cells and not cells[-1]:
                cells.pop()
            found = match(cells, profiles) if len(cells) > 1 else None
            if found is not None and (best is None or len(found.places) > len(best.match.places)):
                best = Located(table, dialect, before, cells, found)
    if best is None or not isinstance(table, Text) or best.dialect.delimiter != "\t":
        return best
    # Tabs need no quotes, so where the header has none, those of a title such as 12" are its own.
    bare = Dialect("\t", quoted=False)
    [row] = islice(table.rows(bare), best.before, best.before + 1)
    return best if any(each.startswith('"') for each in row.cells) else best._replace(dialect=bare)


# --- titles -----------------------------------------------------------------------------------------------------------


@lru_cache(8192)
def folded(text: str) -> str:
    """A title or a name as it is compared: canonical Unicode, without case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


class Titles:
    """The titles of a catalogue, and what people have said about others: never matched by likeness."""

    def __init__(
        self,
        tracks: Sequence[tuple[str, str, str]],
        aliases: Sequence[tuple[str, str, str]] = (),
        *,
        tracks_at: int | None = None,
        titles_at: int | None = None,
    ) -> None:
        #: Up to which event of the log the tracks are known, and what people have said.
        self.tracks_at = tracks_at
        self.titles_at = titles_at
        self._by_artist: dict[tuple[str, str], set[str]] = {}
        for isrc, artist, title in tracks:
            self._by_artist.setdefault((folded(artist), folded(title)), set()).add(isrc)
        self._artists = {artist for artist, _ in self._by_artist}
        self._aliases = {(folded(artist), folded(title)): isrc for artist, title, isrc in aliases}

    def find(self, artist: str, title: str) -> tuple[str | None, str]:
        """The ISRC of a title within its artist, or None and why not: `title_ambiguous`, `title_unknown`."""
        if not artist and len(self._artists) == 1:
            [artist] = self._artists
        key = (folded(artist), folded(title))
        if key in self._aliases:
            return self._aliases[key], ""
        found = self._by_artist.get(key, set())
        if len(found) == 1:
            return next(iter(found)), ""
        return None, "title_ambiguous" if found else "title_unknown"


# --- rows -------------------------------------------------------------------------------------------------------------

_TOTAL = re.compile(
    r"(?i)\s*(grand |sub[- ]?)?total(s|_rows)?\b.*|\s*(sum|summe|insgesamt|gesamt|row count|row_count)\b.*"
)
_LOSSY = re.compile(r"\d+([.,]\d+)?E\+?\d+", re.IGNORECASE)


@lru_cache(16_384)
def _text(value: str) -> str:
    r"""A text as a cell of COPY; an empty one is \N."""
    value = value.strip()[:500]
    if not value:
        return "\\N"
    if "\\" in value or "\t" in value or "\n" in value or "\r" in value:
        value = value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    return value


def cells_text(cells: Sequence[str]) -> str:
    """Cells as the text of a Postgres array, to be a cell of COPY."""
    quoted = ",".join('"' + each[:2000].replace("\\", "\\\\").replace('"', '\\"') + '"' for each in cells)
    return _escaped("{" + quoted + "}")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


class _Wrong(Exception):
    """A row is wrong for this reason, unless it is one of those that are left alone."""


class _Ignored(Exception):
    """A row is recognised and left alone, for this reason."""


class Beside(NamedTuple):
    """What is written beside the rows that are in order, as lines for COPY, since a report may have any number of it.

    `odd` are rows that are not in order. What most rows repeat has a number in them: `subjects` are the number of each
    subject with its ISRC, UPC and the number of its title, `places` those of stores, countries and kinds of sale.
    """

    odd: IO[bytes]
    subjects: IO[bytes]
    places: IO[bytes]


class _Subject(NamedTuple):
    """What a royalty was paid for: its number here, its names as they are hashed, why it waits or what was found."""

    number: int
    named: str
    reason: str
    found: tuple[str, str, str] | None


class _Place(NamedTuple):
    """Where and how it was earned: its number here, and its names as they are hashed."""

    number: int
    named: str


T = TypeVar("T")


class _Recalled(NamedTuple, Generic[T]):
    """What picks some cells of a row, and what knows what they mean; two calls, because a third costs as much."""

    pick: Callable[[Sequence[str]], Any]
    recall: Callable[[Any], T]


def _nothing(_: Sequence[str]) -> tuple[()]:
    return ()


class Reading:
    """A file on its way into the books."""

    def __init__(
        self,
        located: Sequence[Located],
        options: Options,
        *,
        latest: date,
        beside: Beside,
        filename: str = "",
        titles: Callable[[], Titles] = lambda: Titles([]),
        progress: Callable[[int, int, int], None] = lambda *_: None,
    ) -> None:
        self.located = located
        self.profile = located[0].match.profile
        self.header = located[0].header
        self.counts: Counter[str] = Counter()
        self.ignored: Counter[str] = Counter()
        self.warnings: dict[str, None] = {}
        self.totals: dict[str, Decimal] = {}
        #: The statement and the period of each block of rows, the digest of its rows, by the number it has here.
        self.blocks: dict[tuple[date, date, date], int] = {}
        self.block_digests: list[int] = []
        self.block_rows: list[int] = []
        self.titles: dict[tuple[str, str], int] = {}
        self.title_reasons: list[str] = []
        self.found_titles: Counter[tuple[str, str, str]] = Counter()
        self.days: list[date] = []
        self.digest = 0
        self._options = options
        self._latest = latest
        self._beside = beside
        self._numbers: Counter[str] = Counter()
        self._make_titles = titles
        self._known_titles: Titles | None = None
        self._progress = progress
        self._order: Order | None = self.profile.date_order or options.date_order
        self._currency = self.profile.currency or (options.currency or "").upper()
        self._days_seen: dict[int, dict[str, int]] = {}
        self._years_seen = 0
        self._rows_seen: set[int] | None = set()
        self._footer = False
        self._decimal_comma = False
        self._places: Mapping[Field, tuple[int, ...]] = located[0].match.places
        self._filename = filename
        #: What the file is about, where its columns do not tell; the first day may not be known.
        self.stretch = self._stretch()

    # --- what must be known before --------------------------------------------------------------------------------

    def ask(self) -> None:
        """See to it that the file can be read as it is; raises Asks, Inconsistent."""
        places = self.located[0].match.places
        name = self.profile.name
        if self.profile.kind == "royalties" and "currency" not in places and not self._currency:
            raise Asks(name, "currency", "The file does not say in which currency it counts. Say it, as in EUR.")
        if self.profile.kind == "plays" and "isrc" not in places and self._options.isrc is None:
            raise Asks(name, "track", "The file is about one track and does not say which. Say its ISRC.")
        if self.stretch is None and self.profile.kind != "plays" and not any(field in places for field in _DATED):
            raise Asks(name, "period", "The file does not say of which time it tells. Say its last day, or both.")
        dated = [field for field in _DATED if field in places]
        if self.profile.date_order is None and self._options.date_order is None:
            self._order = self._found_order(dated)
        elif self.profile.first_of_month and any(map(self._tells_ydm, self.located)):
            self._order = "ydm"

    def _tells_ydm(self, located: Located) -> bool:
        """Whether dates of a table can only have their day in the middle."""
        at = [(place, field == "sale") for field in ("sale", "reporting") for place in located.match.places[field][:1]]
        return any(
            tells_ydm(row.cells[place], first_of_month=is_first)
            for row in islice(self._data(located), LOOKED_AT_ROWS)
            for place, is_first in at
            if place < len(row.cells)
        )

    def _stretch(self) -> tuple[date | None, date] | None:
        """What the file is about as was said beside it, as its name tells, or as it stands above the header."""
        if self._options.period_end is not None:
            ends = self._options.period_end
            return self._options.period_start or self._begun(ends), ends
        texts: Sequence[str] = ()
        if self.profile.period_in_name and (found := re.search(self.profile.period_in_name, self._filename)):
            texts = found.groups()
        elif self.profile.preamble:
            located = self.located[0]
            above = {
                plain(row.cells[0]).rstrip(":"): row.cells[1]
                for row in islice(located.table.rows(located.dialect), located.before)
                if len(row.cells) > 1
            }
            texts = [above[label] for labels in self.profile.preamble.values() for label in labels if label in above]
        days = [period(text, self._order) for text in texts]
        first, last = (days[0], days[-1]) if days else (None, None)
        return None if first is None or last is None or last.end < first.start else (first.start, last.end)

    def _begun(self, ends: date) -> date | None:
        """The first day of what ends on a day, where the name of the file tells how long it was."""
        form = self.profile.stretch_in_name
        found = re.search(form, self._filename) if form else None
        if found is None:
            return None
        number = int(found[1])
        if found[2] == "day":
            return ends - timedelta(days=number - 1)
        try:
            return ends.replace(year=ends.year - number) + timedelta(days=1)
        except ValueError:  # the 29th of February, or before the first of all years
            return ends.replace(year=ends.year - number, month=3, day=1) if number < ends.year else None

    def _found_order(self, fields: Sequence[Field]) -> DateOrder | None:
        """What the dates of the file themselves tell of their order; raises Asks, Inconsistent."""
        first_max = second_max = 0
        for located in self.located:
            at = [place for field in fields for place in located.match.places[field][:1]]
            for row in self._data(located):
                for place in at:
                    pair = slashed(row.cells[place]) if place < len(row.cells) else None
                    if pair is not None:
                        first_max, second_max = max(first_max, pair[0]), max(second_max, pair[1])
                if not first_max and row.line > 2_000:
                    return None  # none of the first thousands has slashes, so none has
        if not first_max:
            return None
        if first_max > 12 and second_max > 12:
            raise Inconsistent("Some dates can only be day/month, others only month/day.")
        if first_max <= 12 and second_max <= 12:
            raise Asks(
                self.profile.name, "date_order", "Dates such as 03/04/2026 can be read in two ways. Say dmy or mdy."
            )
        return "dmy" if first_max > 12 else "mdy"

    def _has_decimal_commas(self, located: Located) -> bool:
        """Whether commas are decimal in a table, as its first amounts tell."""
        places = located.match.places.get("amount")
        if places is None:
            return False
        seen = [
            row.cells[places[0]] for row in islice(self._data(located), LOOKED_AT_ROWS) if places[0] < len(row.cells)
        ]
        # Where commas part cells too, those of thousands are as likely as those of decimals.
        if located.dialect.delimiter == ",":
            with_comma = sum(map(tells_decimal_comma, seen))
        else:
            with_comma = sum("," in each and "." not in each for each in seen)
        return with_comma > sum("." in each and "," not in each for each in seen)

    def _data(self, located: Located) -> Iterator[Row]:
        return islice(located.table.rows(located.dialect), located.before + 1, None)

    # --- all rows -------------------------------------------------------------------------------------------------

    def lines(self) -> Iterator[bytes]:
        """Lines for COPY of all rows that are in order, many at a time."""
        block: list[str] = []
        size = 0
        for located in self.located:
            for line in self._table(located):
                block.append(line)
                size += len(line)
                if size > BLOCK_BYTES:
                    yield "".join(block).encode()
                    block.clear()
                    size = 0
        yield "".join(block).encode()
        if not self.counts["accepted"] + self.counts["queued"] + self.counts["rejected"]:
            self.warnings["no_rows"] = None

    def _table(self, located: Located) -> Iterator[str]:
        table, width = located.table, len(located.header)
        needed = max(located.match.places[field][0] for field in self.profile.required) + 1
        self._places = located.match.places
        self._decimal_comma = self._has_decimal_commas(located)
        read = {"plays": self._plays, "royalties": self._royalties, "songs": self._songs}[self.profile.kind](width)
        line = 0
        for at, (line, cells) in enumerate(table.rows(located.dialect)):
            if at & 0x3FFF == 0x3FFF:
                self._progress(at, table.done, table.size)
            if at <= located.before:
                if at < located.before:
                    self._note(line, cells, "ignored", "preamble" if any(cells) else "blank")
                continue
            try:
                yield read(line, cells if len(cells) == width else self._shaped(cells, width, needed))
            except _Ignored as why:
                self._note(line, cells, "ignored", str(why))
            except _Wrong as why:
                alone = self._left_alone(cells)
                self._note(line, cells, "rejected" if alone is None else "ignored", alone or str(why))
        self._warn_of(located, line)

    def _warn_of(self, located: Located, line: int) -> None:
        """What is to be said of a table that was read to its last line."""
        if located.table.cut:
            self.warnings["file_truncated"] = None
            self._note(line + 1, [], "rejected", "truncated_row")
        if located.table.mixed:
            self.warnings["encoding_mixed"] = None
        if located.match.unknown:
            self.warnings["unknown_columns"] = None

    def _shaped(self, cells: list[str], width: int, needed: int) -> list[str]:
        """A row that has more or fewer cells than the header, if it only leaves out empty ones."""
        full = [each for each in cells if each.strip()]
        if not full:
            raise _Ignored("blank")
        if _TOTAL.fullmatch(full[0]) and not self._footer:
            self._footer = True
            raise _Ignored("total_row")
        # The header of another table below, which sums up what stands above it.
        headers = set(map(plain, self.header))
        self._footer |= 1 < len(full) < len(headers) and headers.issuperset(map(plain, full))
        if self._footer:
            raise _Ignored("summary_table")
        if len(full) == 1:
            raise _Ignored("note_row")
        if len(cells) < needed or any(each.strip() for each in cells[width:]):
            raise _Wrong("truncated_row")
        return [*cells, *([""] * (width - len(cells)))][:width]

    def _left_alone(self, cells: Sequence[str]) -> str | None:
        """Why a row that lacks something is left alone; None when it is wrong."""
        full = [each for each in cells if each.strip()]
        if not full:
            return "blank"
        if [each.strip().casefold() for each in cells[: len(self.header)]] == [each.casefold() for each in self.header]:
            return "repeated_header"
        if any(_TOTAL.fullmatch(each) for each in full[:3]) and len(full) <= max(5, len(self.header) // 2):
            self._footer = True
            return "total_row"
        return "note_row" if len(full) == 1 and len(self.header) > 2 else None

    def _note(self, line: int, cells: Sequence[str], kind: str, reason: str) -> None:
        """Write down a row that is not in order."""
        if kind == "ignored":
            self.ignored[reason] += 1
        else:
            self.counts[kind] += 1
        self._beside.odd.write(f"{line}\t{kind}\t{reason}\t{cells_text(cells)}\n".encode())

    def _cell(self, cells: Sequence[str], field: Field) -> str:
        for place in self._places.get(field, ()):
            if cells[place] and not cells[place].isspace():
                return bare(cells[place])
        return ""

    def _picker(self, field: Field) -> Callable[[Sequence[str]], str]:
        """What picks the cell of a field, without looking twice where it has one column."""
        places = self._places.get(field, ())
        return itemgetter(places[0]) if len(places) == 1 else lambda cells: self._cell(cells, field)

    def _recalled(self, read: Callable[[list[str]], T], fields: Iterable[Field], width: int) -> _Recalled[T]:
        """A function of a row that is given these cells only and remembers what came of them: reports repeat them."""
        at = sorted({place for field in fields for place in self._places.get(field, ())})

        @lru_cache(REMEMBERED_MAX)
        def recall(picked: Any) -> T:
            cells = [""] * width
            for place, cell in zip(at, (picked,) if len(at) == 1 else picked, strict=True):
                cells[place] = cell
            return read(cells)

        return _Recalled(itemgetter(*at) if at else _nothing, recall)

    def _add(self, content: str) -> None:
        """Add a row to the digest of the file, which does not depend on the order of rows."""
        self.digest = (self.digest + int.from_bytes(blake2b(content.encode(), digest_size=16).digest())) & _MASK

    # --- plays ----------------------------------------------------------------------------------------------------

    def _plays(self, width: int) -> Callable[[int, Sequence[str]], str]:
        """What reads a row of plays."""
        pick_isrc, isrc_of = self._recalled(self._recording, ("isrc",), width)
        pick_day, day_of = self._recalled(self._day, ("date",), width)
        pick_spotify, spotify_of = self._recalled(self._played("spotify"), ("spotify",), width)
        pick_apple, apple_of = self._recalled(self._played("apple"), ("apple",), width)
        counts = self.counts

        def read(line: int, cells: Sequence[str]) -> str:
            isrc, day = isrc_of(pick_isrc(cells)), day_of(pick_day(cells))
            spotify, apple = spotify_of(pick_spotify(cells)), apple_of(pick_apple(cells))
            if spotify is None and apple is None:
                raise _Wrong("quantity_invalid")
            self._see(isrc, day)
            counts["accepted"] += 1
            content = f"{isrc}\t{day}\t{_number(spotify)}\t{_number(apple)}\n"
            self._add(content)
            return f"{line}\t{content}"

        return read

    def _recording(self, cells: Sequence[str]) -> str:
        isrc = find_isrc(self._cell(cells, "isrc")) if "isrc" in self._places else self._options.isrc
        if isrc is None:
            raise _Wrong("isrc_invalid")
        return isrc

    def _day(self, cells: Sequence[str]) -> date:
        found = period(self._cell(cells, "date"), self._order)
        if found is None or found.start != found.end:
            raise _Wrong("date_invalid")
        if found.start > self._latest:
            raise _Wrong("date_in_future")
        return found.start

    def _played(self, field: Field) -> Callable[[Sequence[str]], int | None]:
        def read(cells: Sequence[str]) -> int | None:
            text = self._cell(cells, field)
            found = count(text) if text else None
            if text and (found is None or found < 0):
                raise _Wrong("quantity_invalid")
            return found

        return read

    def _see(self, isrc: str, day: date) -> None:
        """Refuse a day that a recording has had; a recording's days of one year are the bits of one number."""
        year = self._days_seen.setdefault(day.year, {})
        bit = 1 << (day.month * 31 + day.day)
        seen = year.get(isrc, 0)
        if seen & bit:
            raise _Wrong("duplicate_date")
        if not seen:
            self._years_seen += 1
            if self._years_seen > YEARS_SEEN_MAX:
                raise Unreadable(
                    "unknown_format", f"The file has more than {YEARS_SEEN_MAX} years of recordings. Split it."
                )
        year[isrc] = seen | bit
        if not self.days:
            self.days = [day, day]
        elif not self.days[0] <= day <= self.days[1]:
            self.days = [min(self.days[0], day), max(self.days[1], day)]

    # --- royalties ------------------------------------------------------------------------------------------------

    def _royalties(self, width: int) -> Callable[[int, Sequence[str]], str]:
        """What reads a row of royalties."""
        profile, comma = self.profile, self._decimal_comma
        dated: tuple[Field, ...] = ("sale", "sale_year", "sale_end", "reporting", "reporting_year")
        pick_payout, is_payout = self._recalled(self._has_word(profile.payouts), profile.payouts, width)
        pick_dates, periods_of = self._recalled(self._periods, dated, width)
        pick_void, is_void = self._recalled(self._has_word(profile.voids), profile.voids, width)
        pick_currency, currency_of = self._recalled(self._counted_in, ("currency",), width)
        pick_codes, recording_of = self._recalled(self._own_recording, ("isrc", "isrc_else"), width)
        about: tuple[Field, ...] = ("isrc", "isrc_else", "upc", "title", "artist", "kind")
        pick_subject, subject_of = self._recalled(self._subject, about, width)
        pick_place, place_of = self._recalled(self._place, ("store", "country", "kind"), width)
        amount_text, units_text, isrc_text = map(self._picker, _COUNTED)
        counts, totals, blocks, line_of = self.counts, self.totals, self.blocks, self._line

        def read(line: int, cells: Sequence[str]) -> str:
            if profile.payouts and is_payout(pick_payout(cells)):
                raise _Ignored("payout_row")
            which = periods_of(pick_dates(cells))
            money = amount(amount_text(cells).strip(), decimal_comma=comma)
            if money is None:
                raise _Wrong("amount_invalid")
            text = units_text(cells).strip()
            units = count(text, decimal_comma=comma) if text else None
            if text and units is None:
                raise _Wrong("quantity_invalid")
            if profile.voids and is_void(pick_void(cells)):
                money, units = -abs(money), None if units is None else -abs(units)
            currency = currency_of(pick_currency(cells))
            # A row with a code of its own is none that is left alone, and one of a code that is wrong is not either.
            if not isrc_text(cells) and recording_of(pick_codes(cells)) is None and (alone := self._left_alone(cells)):
                raise _Ignored(alone)
            subject = subject_of(pick_subject(cells))
            block = blocks.get(which)
            if block is None:
                block = self._new_block(which)
            if subject.reason:
                self._note(line, cells, "queued", subject.reason)
            else:
                counts["accepted"] += 1
                if subject.found is not None:
                    self.found_titles[subject.found] += 1
            totals[currency] = EXACT.add(totals.get(currency, _ZERO), money)
            return line_of(line, block, subject, place_of(pick_place(cells)), units, currency, money)

        return read

    def _has_word(self, words: Mapping[Field, tuple[str, ...]]) -> Callable[[Sequence[str]], bool]:
        return lambda cells: any(self._cell(cells, field).strip().casefold() in each for field, each in words.items())

    def _periods(self, cells: Sequence[str]) -> tuple[date, date, date]:
        """The statement that a row belongs to, and the first and the last day of what it is about."""
        cell, first_of_month = self._cell, self.profile.first_of_month
        told = self._dated(cells, "reporting", "reporting_year")
        sale: Period | None
        if text := self._dated(cells, "sale", "sale_year") or told:
            sale = period(text, self._order, first_of_month=first_of_month)
        else:
            begins, ends_on = self.stretch or (None, None)
            sale = None if ends_on is None else Period(begins or ends_on.replace(day=1), ends_on)
        if sale is None:
            raise _Wrong("period_invalid")
        if ends := cell(cells, "sale_end"):
            last = period(ends, self._order)
            if last is None or last.end < sale.start:
                raise _Wrong("period_invalid")
            sale = Period(sale.start, last.end)
        month = month_of(sale)
        statement = period(told, self._order) if told else month
        if told or not self.profile.of_any_days:
            sale = month
        if statement is None:
            raise _Wrong("date_invalid")
        if statement.start > self._latest or sale.start > self._latest:
            raise _Wrong("date_in_future")
        return statement.start, sale.start, sale.end

    def _dated(self, cells: Sequence[str], field: Field, year: Field) -> str:
        """A date as it is written, also where its year is in a column of its own."""
        text, of = self._cell(cells, field).strip(), self._cell(cells, year).strip()
        return f"{of}-{text}" if of else text

    def _counted_in(self, cells: Sequence[str]) -> str:
        currency = self._currency or self._cell(cells, "currency").strip().upper()
        if len(currency) != 3 or not (currency.isascii() and currency.isalpha()):
            raise _Wrong("amount_invalid")
        return currency

    def _own_recording(self, cells: Sequence[str]) -> str | None:
        """The ISRC that a row has itself."""
        own = self._cell(cells, "isrc")
        isrc = find_isrc(own or self._cell(cells, "isrc_else"))
        if own and isrc is None:
            raise _Wrong("isrc_invalid")
        return isrc

    def _subject(self, cells: Sequence[str]) -> _Subject:
        """What a row is about: a recording, a release, or a title that waits."""
        cell = self._cell
        title, artist = cell(cells, "title"), cell(cells, "artist")
        upc = self._upc(cell(cells, "upc"))
        isrc, reason, found = self._own_recording(cells), "", None
        if isrc is None:
            kind = cell(cells, "kind").strip().casefold()
            is_release = any(kind in each for each in self.profile.of_release.values()) or (
                not title and upc is not None
            )
            if not is_release:
                isrc, reason = self._by_title(artist, title)
                found = None if isrc is None else (title.strip(), artist.strip(), isrc)
            elif upc is None:
                reason = "not_a_recording"
        waits = self._unresolved(artist or self._options.artist or "", title, reason) if reason else None
        number = self._numbered("subjects", f"{_text(isrc or '')}\t{_text(upc or '')}\t{_number(waits)}")
        named = (isrc or "", upc or "", *(("", "") if isrc else (title, artist)))
        return _Subject(number, "\x1f".join(named), reason, found)

    def _place(self, cells: Sequence[str]) -> _Place:
        cell = self._cell
        named = (cell(cells, "store") or self.profile.store, _country(cell(cells, "country")), cell(cells, "kind"))
        return _Place(self._numbered("places", "\t".join(map(_text, named))), "\x1f".join(named))

    def _numbered(self, what: Literal["subjects", "places"], texts: str) -> int:
        """Write something that rows repeat beside them: the number it has in them."""
        number = self._numbers[what]
        self._numbers[what] += 1
        file: IO[bytes] = getattr(self._beside, what)
        file.write(f"{number}\t{texts}\n".encode())
        return number

    def _line(
        self,
        line: int,
        block: int,
        subject: _Subject,
        place: _Place,
        units: int | None,
        currency: str,
        money: Decimal,
    ) -> str:
        names = f"{currency}\x1f{subject.named}\x1f{place.named}"
        key = int.from_bytes(blake2b(names.encode(), digest_size=8).digest(), signed=True)
        number = format(money, "f")
        bare = number.rstrip("0").rstrip(".") if "." in number else number
        whole = int.from_bytes(blake2b(f"{key}\x1f{units}\x1f{bare}".encode(), digest_size=16).digest())
        self.block_digests[block] = (self.block_digests[block] + whole) & _MASK
        self.block_rows[block] += 1
        if self._rows_seen is not None:
            self._watch_duplicates(whole + block)
        counted = "\\N" if units is None else units
        return f"{block}\t{key}\t{line}\t{subject.number}\t{place.number}\t{counted}\t{currency}\t{number}\n"

    def _new_block(self, which: tuple[date, date, date]) -> int:
        if len(self.blocks) >= PERIODS_MAX:
            raise Unreadable("unknown_format", f"The file names more than {PERIODS_MAX} statements and periods.")
        block = self.blocks[which] = len(self.blocks)
        self.block_digests.append(0)
        self.block_rows.append(0)
        return block

    def _watch_duplicates(self, whole: int) -> None:
        """Warn when a row is there twice, among the first 100,000; of later ones the staged rows tell."""
        assert self._rows_seen is not None
        short = whole & 0xFFFFFFFFFFFF
        if short in self._rows_seen:
            self.warnings["duplicate_rows"] = None
            self._rows_seen = None
            return
        self._rows_seen.add(short)
        if len(self._rows_seen) > DUPLICATES_WATCHED:
            self._rows_seen = None

    @property
    def may_have_duplicates(self) -> bool:
        """Whether there are more rows than were watched, among which no row has come twice."""
        return self._rows_seen is None and "duplicate_rows" not in self.warnings

    def _upc(self, text: str) -> str | None:
        plain = re.sub(r"[\s'\-]", "", text)
        if not plain:
            return None
        if _LOSSY.fullmatch(plain):
            self.warnings["upc_lossy"] = None
            return None
        if not re.fullmatch(r"\d{8,14}", plain) or not _checked(plain):
            self.warnings["upc_invalid"] = None
            return None
        return plain

    def _by_title(self, artist: str, title: str) -> tuple[str | None, str]:
        if not title.strip():
            return None, "isrc_missing"
        if self._known_titles is None:
            self._known_titles = self._make_titles()
        return self._known_titles.find(artist or self._options.artist or "", title)

    def _unresolved(self, artist: str, title: str, reason: str) -> int:
        which = (artist.strip()[:500], title.strip()[:500])
        found = self.titles.get(which)
        if found is None:
            if len(self.titles) >= TITLES_MAX:
                raise Unreadable("unknown_format", f"The file names more than {TITLES_MAX} titles without ISRC.")
            found = self.titles[which] = len(self.titles)
            self.title_reasons.append(reason)
        return found

    # --- figures over a stretch of time ---------------------------------------------------------------------------

    def _songs(self, _: int) -> Callable[[int, Sequence[str]], str]:
        """What reads a row of figures over a stretch of time, of a song, an artist or a playlist."""
        about = self.profile.about
        dated = "date" in self._places

        def read(line: int, cells: Sequence[str]) -> str:
            name = self._named(cells)
            if not name:
                raise _Wrong("quantity_invalid")
            first, last = self.stretch or (None, None)
            if dated:
                first = last = self._day(cells)
                self._see(name, first)
            values = [self._said(cells, field) for field in ("listeners", "spotify", "saves")]
            isrc, reason = self._by_title("", name) if about == "recording" else (None, "")
            unresolved: int | None = None
            if reason:
                self._note(line, cells, "queued", reason)
                unresolved = self._unresolved(self._options.artist or "", name, reason)
            else:
                self.counts["accepted"] += 1
                if isrc is not None:
                    self.found_titles[name, "", isrc] += 1
            shown = "\t".join(map(_number, values))
            days = "\t".join("\\N" if each is None else str(each) for each in (first, last))
            content = f"{_text(name)}\t{_text(isrc or '')}\t{days}\t{shown}\t{_number(unresolved)}\n"
            self._add(content)
            return f"{line}\t{content}"

        return read

    def _named(self, cells: Sequence[str]) -> str:
        """What a row is about, in words."""
        match self.profile.about:
            case "artist":
                return self._options.artist or self._filename.partition("-audience")[0] or "artist"
            case "playlist":
                names = (self._cell(cells, "title").strip(), self._cell(cells, "artist").strip())
                return " / ".join(filter(None, names))
        return self._cell(cells, "title").strip()

    def _said(self, cells: Sequence[str], field: Field) -> int | None:
        """A number of a store that writes n/a, - or nothing for what it does not say."""
        text = self._cell(cells, field).strip()
        found = count(text)
        if found is None and text.casefold() not in ("", "-", "n/a"):
            raise _Wrong("quantity_invalid")
        return found

    # --- the sum of it --------------------------------------------------------------------------------------------

    def report(self, counts: Counts, unknown_isrcs: Sequence[str], unknown_total: int) -> Report:
        """What was read, with what the books have found in it."""
        digest = self.digest
        for which, number in self.blocks.items():
            named = f"{which}\x1f{self.block_digests[number]}"
            digest = (digest + int.from_bytes(blake2b(named.encode(), digest_size=16).digest())) & _MASK
        periods = sorted({_named(month_of(Period(start, end))) for _, start, end in self.blocks})
        return Report(
            source=self.profile.name,
            counts=counts,
            digest=f"{digest:032x}",
            warnings=tuple(self.warnings),
            totals={currency: format(total, "f") for currency, total in sorted(self.totals.items())},
            periods=tuple(periods[:600]) if self.blocks else tuple(map(str, self.days)),
            statements=tuple(sorted({str(statement) for statement, _, _ in self.blocks})[:600]),
            unknown_columns=tuple(self.located[0].match.unknown[:100]),
            unknown_isrcs=tuple(unknown_isrcs),
            unknown_isrcs_total=unknown_total,
            tracks_at=None if self._known_titles is None else self._known_titles.tracks_at,
            titles_at=None if self._known_titles is None else self._known_titles.titles_at,
            resolved=tuple(
                Resolved(title=title, artist=artist, isrc=isrc, rows=rows)
                for (title, artist, isrc), rows in self.found_titles.most_common(200)
            ),
        )

    def tally(self) -> Counts:
        """How many rows were what."""
        ignored = dict(sorted(self.ignored.items()))
        known = {kind: self.counts[kind] for kind in ("accepted", "rejected", "queued")}
        return Counts(total=sum(known.values()) + sum(ignored.values()), ignored=ignored, **known)


_MASK = (1 << 128) - 1
_ZERO = Decimal(0)
#: Fields that tell what a row is about in time.
_DATED: tuple[Field, ...] = ("date", "sale", "reporting")
_COUNTED: tuple[Field, ...] = ("amount", "units", "isrc")


def _number(value: int | None) -> str:
    r"""A number as a cell of COPY; None is \N."""
    return "\\N" if value is None else str(value)


@lru_cache(4096)
def _country(text: str) -> str:
    """A country as it is written; two letters in capitals, and OU is DistroKid's word for not knowing."""
    text = text.strip()[:64]
    text = text.upper() if len(text) in (2, 3) else text
    return "" if text in ("OU", "ZZ", "XX") else text


@lru_cache(8192)
def _checked(digits: str) -> bool:
    return check_digit(digits[:-1]) == digits[-1]


def _named(found: Period) -> str:
    """A period in words: a month as 2026-01, whatever else by its first and its last day."""
    if (found.start.year, found.start.month) == (found.end.year, found.end.month) and month_of(
        Period(found.start, found.start)
    ) == found:
        return f"{found.start:%Y-%m}"
    return f"{found.start}/{found.end}"


__all__ = ["Asks", "Beside", "Inconsistent", "Located", "Reading", "Titles", "locate"]
