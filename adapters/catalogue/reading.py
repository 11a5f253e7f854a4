"""A file of a known kind read row by row: what of it is in order, what is wrong with the rest, and what must be asked.

Rows that are in order leave as lines for COPY; the others are written down with their reason. All of it runs in a
thread or a process of its own, in memory that does not depend on the length of the file.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Context, Decimal, Inexact
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from typing import IO, NamedTuple

from adapters.catalogue.files import Dialect, Row, Table, Text, Unreadable
from adapters.catalogue.profiles import PROFILES, DateOrder, Field, Match, Profile, match, nearly
from adapters.catalogue.words import Period, amount, count, month_of, period, slashed
from domain.catalogue.codes import check_digit, find_isrc
from domain.catalogue.imports import Counts, Options, Question, Report, Resolved

#: A header stands among the first rows, or nowhere.
HEADER_ROWS_MAX = 40
DELIMITERS = ("\t", ",", ";", "|")
#: What one import may name; more than any report has, and little enough to be held.
PERIODS_MAX = 20_000
TITLES_MAX = 50_000
UNKNOWN_SHOWN_MAX = 1_000
BLOCK_BYTES = 128 * 1024

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

    def __init__(self, tracks: Sequence[tuple[str, str, str]], aliases: Sequence[tuple[str, str, str]] = ()) -> None:
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
def _isrc(text: str) -> str | None:
    return find_isrc(text)


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


class Reading:
    """A file on its way into the books."""

    def __init__(
        self,
        located: Sequence[Located],
        options: Options,
        *,
        latest: date,
        odd: IO[bytes],
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
        self.titles: dict[tuple[str, str], int] = {}
        self.title_reasons: list[str] = []
        self.found_titles: Counter[tuple[str, str, str]] = Counter()
        self.days: list[date] = []
        self.digest = 0
        self._options = options
        self._latest = latest
        self._odd = odd
        self._make_titles = titles
        self._known_titles: Titles | None = None
        self._progress = progress
        self._order = self.profile.date_order or options.date_order
        self._currency = self.profile.currency or (options.currency or "").upper()
        self._days_seen: dict[str, int] = {}
        self._rows_seen: set[int] | None = set()
        self._footer = False
        self._decimal_comma = False
        self._places: Mapping[Field, tuple[int, ...]] = located[0].match.places

    # --- what must be known before --------------------------------------------------------------------------------

    def ask(self) -> None:
        """See to it that the file can be read as it is; raises Asks, Inconsistent."""
        places = self.located[0].match.places
        name = self.profile.name
        if self.profile.kind == "royalties" and "currency" not in places and not self._currency:
            raise Asks(name, "currency", "The file does not say in which currency it counts. Say it, as in EUR.")
        if self.profile.kind == "plays" and "isrc" not in places and self._options.isrc is None:
            raise Asks(name, "track", "The file is about one track and does not say which. Say its ISRC.")
        if self.profile.window and self._options.period_end is None:
            raise Asks(name, "period", "The file does not say of which time it tells. Say its last day, or both.")
        dated: list[Field] = [field for field in ("date", "sale", "reporting") if field in places]
        if self.profile.date_order is None and self._options.date_order is None and self.profile.kind != "songs":
            self._order = self._found_order(dated)
        self._look_at_amounts()

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

    def _look_at_amounts(self) -> None:
        """Whether commas are decimal here: where they part cells they cannot be, else the first amounts tell."""
        for located in self.located:
            places = located.match.places.get("amount")
            if places is None or located.dialect.delimiter == ",":
                continue
            seen = [row.cells[places[0]] for row in islice(self._data(located), 500) if places[0] < len(row.cells)]
            with_comma = sum("," in each and "." not in each for each in seen)
            self._decimal_comma = with_comma > sum("." in each and "," not in each for each in seen)

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
        read = {"plays": self._plays, "royalties": self._royalty, "songs": self._song}[self.profile.kind]
        table, width = located.table, len(located.header)
        needed = max(located.match.places[field][0] for field in self.profile.required) + 1
        self._places = located.match.places
        line = 0
        for at, row in enumerate(table.rows(located.dialect)):
            line, cells = row
            if at & 0x3FFF == 0x3FFF:
                self._progress(at, table.done, table.size)
            if at < located.before:
                self._note(row, "ignored", "preamble" if any(cells) else "blank")
            if at <= located.before:
                continue
            try:
                shaped = cells if len(cells) == width else self._shaped(cells, width, needed)
                yield read(Row(line, shaped))
            except _Ignored as why:
                self._note(row, "ignored", str(why))
            except _Wrong as why:
                alone = self._left_alone(cells)
                self._note(row, "rejected" if alone is None else "ignored", alone or str(why))
        self._warn_of(located, line)

    def _warn_of(self, located: Located, line: int) -> None:
        """What is to be said of a table that was read to its last line."""
        if located.table.cut:
            self.warnings["file_truncated"] = None
            self._note(Row(line + 1, []), "rejected", "truncated_row")
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

    def _note(self, row: Row, kind: str, reason: str) -> None:
        """Write down a row that is not in order."""
        if kind == "ignored":
            self.ignored[reason] += 1
        else:
            self.counts[kind] += 1
        line = f"{row.line}\t{kind}\t{reason}\t{cells_text(row.cells)}\n"
        self._odd.write(line.encode())

    def _cell(self, cells: list[str], field: Field) -> str:
        for place in self._places.get(field, ()):
            if cells[place] and not cells[place].isspace():
                return cells[place]
        return ""

    # --- plays ----------------------------------------------------------------------------------------------------

    def _plays(self, row: Row) -> str:
        cells = row.cells
        isrc = _isrc(self._cell(cells, "isrc")) if "isrc" in self._places else self._options.isrc
        if isrc is None:
            raise _Wrong("isrc_invalid")
        found = period(self._cell(cells, "date"), self._order)
        if found is None or found.start != found.end:
            raise _Wrong("date_invalid")
        if found.start > self._latest:
            raise _Wrong("date_in_future")
        spotify, apple = self._played(cells, "spotify"), self._played(cells, "apple")
        if spotify is None and apple is None:
            raise _Wrong("quantity_invalid")
        self._see(isrc, found.start)
        self.counts["accepted"] += 1
        shown = "\t".join("\\N" if each is None else str(each) for each in (spotify, apple))
        line = f"{row.line}\t{isrc}\t{found.start}\t{shown}\n"
        self._add(line.partition("\t")[2])
        return line

    def _played(self, cells: list[str], field: Field) -> int | None:
        text = self._cell(cells, field)
        found = count(text) if text else None
        if text and (found is None or found < 0):
            raise _Wrong("quantity_invalid")
        return found

    def _see(self, isrc: str, day: date) -> None:
        """Refuse a day that a recording has had; a recording's days are the bits of one number."""
        bit = 1 << (day.toordinal() - _FIRST_DAY)
        seen = self._days_seen.get(isrc, 0)
        if seen & bit:
            raise _Wrong("duplicate_date")
        if not seen and len(self._days_seen) >= TITLES_MAX:
            raise Unreadable("unknown_format", f"The file names more than {TITLES_MAX} recordings.")
        self._days_seen[isrc] = seen | bit
        if not self.days:
            self.days = [day, day]
        elif not self.days[0] <= day <= self.days[1]:
            self.days = [min(self.days[0], day), max(self.days[1], day)]

    def _add(self, content: str) -> None:
        """Add a row to the digest of the file, which does not depend on the order of rows."""
        self.digest = (self.digest + int.from_bytes(blake2b(content.encode(), digest_size=16).digest())) & _MASK

    # --- royalties ------------------------------------------------------------------------------------------------

    def _royalty(self, row: Row) -> str:
        cells, cell = row.cells, self._cell
        for field, words in self.profile.payouts.items():
            if cell(cells, field).strip().casefold() in words:
                raise _Ignored("payout_row")
        sale, statement = self._periods(cells)
        money, units, currency = self._earned(cells)
        isrc, upc, reason = self._subject(cells)
        title, artist = cell(cells, "title"), cell(cells, "artist")
        unresolved = "\\N"
        if reason:
            self._note(row, "queued", reason)
            unresolved = str(self._unresolved(artist or self._options.artist or "", title, reason))
        else:
            self.counts["accepted"] += 1
        self.totals[currency] = EXACT.add(self.totals.get(currency, _ZERO), money)
        place = (cell(cells, "store"), _country(cell(cells, "country")), cell(cells, "kind"))
        named = ("", "") if isrc else (title, artist)
        names = (isrc or "", upc or "", *named, *place)
        return self._line(row.line, self._block(statement.start, sale), names, units, currency, money, unresolved)

    def _periods(self, cells: list[str]) -> tuple[Period, Period]:
        """What a row is about, and the statement that it belongs to."""
        cell, first_of_month = self._cell, self.profile.first_of_month
        sale = period(cell(cells, "sale") or cell(cells, "reporting"), self._order, first_of_month=first_of_month)
        if sale is None:
            raise _Wrong("period_invalid")
        if ends := cell(cells, "sale_end"):
            last = period(ends, self._order)
            if last is None or last.end < sale.start:
                raise _Wrong("period_invalid")
            sale = Period(sale.start, last.end)
        sale = month_of(sale)
        told = cell(cells, "reporting").strip()
        # What is only a number is that of a run, and says nothing of when it was.
        statement = sale if not told or (told.isdigit() and len(told) < 6) else period(told, self._order)
        if statement is None:
            raise _Wrong("date_invalid")
        if statement.start > self._latest or sale.start > self._latest:
            raise _Wrong("date_in_future")
        return sale, statement

    def _earned(self, cells: list[str]) -> tuple[Decimal, int | None, str]:
        """Money, units and currency of a row."""
        cell = self._cell
        money = amount(cell(cells, "amount").strip(), decimal_comma=self._decimal_comma)
        if money is None:
            raise _Wrong("amount_invalid")
        text = cell(cells, "units")
        units = count(text, decimal_comma=self._decimal_comma) if text else None
        if text and units is None:
            raise _Wrong("quantity_invalid")
        for field, words in self.profile.voids.items():
            if cell(cells, field).strip().casefold() in words:
                money, units = -abs(money), None if units is None else -abs(units)
        currency = self._currency or cell(cells, "currency").strip().upper()
        if len(currency) != 3 or not (currency.isascii() and currency.isalpha()):
            raise _Wrong("amount_invalid")
        return money, units, currency

    def _subject(self, cells: list[str]) -> tuple[str | None, str | None, str]:
        """What a row is about: an ISRC, a UPC, or neither and why."""
        cell = self._cell
        own = cell(cells, "isrc")
        isrc = _isrc(own or cell(cells, "isrc_else"))
        if own and isrc is None:
            raise _Wrong("isrc_invalid")
        upc = self._upc(cell(cells, "upc"))
        if isrc is not None:
            return isrc, upc, ""
        alone = self._left_alone(cells)
        if alone is not None:
            raise _Ignored(alone)
        title, kind = cell(cells, "title"), cell(cells, "kind").strip().casefold()
        is_release = any(kind in words for words in self.profile.of_release.values()) or (not title and upc is not None)
        if is_release:
            return None, upc, "" if upc is not None else "not_a_recording"
        isrc, reason = self._by_title(cell(cells, "artist"), title)
        return isrc, upc, reason

    def _line(
        self,
        line: int,
        block: int,
        names: tuple[str, ...],
        units: int | None,
        currency: str,
        money: Decimal,
        unresolved: str,
    ) -> str:
        key = int.from_bytes(blake2b("\x1f".join((currency, *names)).encode(), digest_size=8).digest(), signed=True)
        number = format(money, "f")
        bare = number.rstrip("0").rstrip(".") if "." in number else number
        whole = int.from_bytes(blake2b(f"{key}\x1f{units}\x1f{bare}".encode(), digest_size=16).digest())
        self.block_digests[block] = (self.block_digests[block] + whole) & _MASK
        if self._rows_seen is not None:
            self._watch_duplicates(whole + block)
        isrc, upc, title, artist, store, country, kind = map(_text, names)
        counted = "\\N" if units is None else units
        return (
            f"{block}\t{key}\t{line}\t{isrc}\t{upc}\t{title}\t{artist}\t{store}\t{country}\t{kind}\t{counted}\t"
            f"{currency}\t{number}\t{unresolved}\n"
        )

    def _block(self, statement: date, sale: Period) -> int:
        which = (statement, sale.start, sale.end)
        block = self.blocks.get(which)
        if block is None:
            if len(self.blocks) >= PERIODS_MAX:
                raise Unreadable("unknown_format", f"The file names more than {PERIODS_MAX} statements and periods.")
            block = self.blocks[which] = len(self.blocks)
            self.block_digests.append(0)
        return block

    def _watch_duplicates(self, whole: int) -> None:
        """Warn when a row is there twice, as far as can be seen in bounded memory: among the first 100,000."""
        assert self._rows_seen is not None
        short = whole & 0xFFFFFFFFFFFF
        if short in self._rows_seen:
            self.warnings["duplicate_rows"] = None
            self._rows_seen = None
            return
        self._rows_seen.add(short)
        if len(self._rows_seen) > 100_000:
            self._rows_seen = None

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
        isrc, reason = self._known_titles.find(artist or self._options.artist or "", title)
        if isrc is not None:
            self.found_titles[title.strip(), artist.strip(), isrc] += 1
        return isrc, reason

    def _unresolved(self, artist: str, title: str, reason: str) -> int:
        which = (artist.strip()[:500], title.strip()[:500])
        found = self.titles.get(which)
        if found is None:
            if len(self.titles) >= TITLES_MAX:
                raise Unreadable("unknown_format", f"The file names more than {TITLES_MAX} titles without ISRC.")
            found = self.titles[which] = len(self.titles)
            self.title_reasons.append(reason)
        return found

    # --- songs in a window ----------------------------------------------------------------------------------------

    def _song(self, row: Row) -> str:
        cells = row.cells
        title = self._cell(cells, "title").strip()
        if not title:
            raise _Wrong("quantity_invalid")
        values = [self._said(cells, field) for field in ("listeners", "spotify", "saves")]
        isrc, reason = self._by_title("", title)
        unresolved = "\\N"
        if reason:
            self._note(row, "queued", reason)
            unresolved = str(self._unresolved(self._options.artist or "", title, reason))
        else:
            self.counts["accepted"] += 1
        shown = "\t".join("\\N" if each is None else str(each) for each in values)
        line = f"{row.line}\t{_text(title)}\t{_text(isrc or '')}\t{shown}\t{unresolved}\n"
        self._add(line.partition("\t")[2])
        return line

    def _said(self, cells: list[str], field: Field) -> int | None:
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
        periods = sorted({_named(Period(start, end)) for _, start, end in self.blocks})
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
_FIRST_DAY = date(1900, 1, 1).toordinal()


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


__all__ = ["Asks", "Inconsistent", "Located", "Reading", "Titles", "locate"]
