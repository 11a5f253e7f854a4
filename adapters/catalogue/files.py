"""Bytes as sellers send them, read as rows of text: packed or not, in whatever encoding, with whatever ends a line.

Nothing here knows what a column means. All of it is synchronous and reads as it goes: a text of any length costs the
same memory.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

HEAD_BYTES = 64 * 1024
#: What a packed file may become, and how many times its size beyond the first megabyte.
UNPACKED_BYTES_MAX = 1024**3
RATIO_MAX = 250
RATIO_FREE_BYTES = 1024**2
MEMBERS_MAX = 100
#: A workbook is read whole by its library, so it may be less; and no report is so wide.
WORKBOOK_BYTES_MAX = 128 * 1024**2
LINE_CHARACTERS_MAX = 256 * 1024
CELL_CHARACTERS_MAX = 32 * 1024
CELLS_MAX = 1_000

Refused = Literal["html", "empty_file", "unknown_format"]

csv.field_size_limit(CELL_CHARACTERS_MAX)


class SupportsRead(Protocol):
    """Something that bytes come from."""

    def read(self, size: int, /) -> bytes:
        """So many of them at most."""


class Unreadable(Exception):
    """This is no file that could be imported: why, as a word and as a sentence."""

    def __init__(self, reason: Refused, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class Row(NamedTuple):
    """A record: the physical line that it begins on (in a workbook: the row), and its cells."""

    line: int
    cells: list[str]


class Dialect(NamedTuple):
    """How cells are told apart."""

    delimiter: str = ","
    quoted: bool = True


class Table(Protocol):
    """One table of a file."""

    name: str
    size: int
    #: How much of it has been read, in the unit of `size`.
    done: int
    #: Its text is in two encodings.
    mixed: bool
    #: It stops in the middle of a record.
    cut: bool
    is_text: bool

    def rows(self, dialect: Dialect) -> Iterator[Row]:
        """Its records from the first."""


# --- text -------------------------------------------------------------------------------------------------------------


def _as_windows_wrote_it(problem: UnicodeError) -> tuple[str, int]:
    """Decode what is not what it should be as cp1252, and what not even that knows as Latin-1."""
    assert isinstance(problem, UnicodeDecodeError)
    odd = problem.object[problem.start : problem.end]
    return "".join(_CP1252[byte] for byte in odd), problem.end


_CP1252 = [bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(256)]
_FALLBACK = "ledgerline-cp1252"
codecs.register_error(_FALLBACK, _as_windows_wrote_it)

_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: Encodings that somebody may name.
ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "cp1252", "iso-8859-1", "cp1250", "cp1251", "mac-roman", "shift_jis")


class Text:
    """A table of text."""

    is_text = True

    def __init__(self, path: Path, name: str, encoding: str | None = None) -> None:
        self.name = name
        self.size = path.stat().st_size
        self.done = 0
        self.mixed = False
        self.cut = False
        self._path = path
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        self._skip = 0
        self._encoding = self._find_encoding(head, encoding)
        self._refuse_other_things(head)

    def _find_encoding(self, head: bytes, told: str | None) -> str:
        """By a fixed ladder: told, byte order mark, pattern of zero bytes, strict UTF-8, cp1252."""
        for mark, encoding in _MARKS:
            if head.startswith(mark):
                self._skip = len(mark)
                return told or encoding
        if told is not None:
            return told
        # Text without zeros that has one in every other place is UTF-16; a stray zero says nothing.
        for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
            half = head[first::2]
            if half and half.count(0) > 0.7 * len(half) and head[1 - first :: 2].count(0) < 0.1 * len(half):
                return encoding
        if self._is_utf8():
            return "utf-8"
        # Some programs write each row as they got it. Where both are found, each byte is read as what it can be.
        with self._path.open("rb") as file:
            self.mixed = any(_MULTIBYTE.search(block) for block in iter(lambda: file.read(1024**2), b""))
        return "utf-8" if self.mixed else "cp1252"

    def _is_utf8(self) -> bool:
        decoder = codecs.getincrementaldecoder("utf-8")()
        with self._path.open("rb") as file:
            try:
                while block := file.read(1024**2):
                    decoder.decode(block)
                decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                return False
        return True

    def _refuse_other_things(self, head: bytes) -> None:
        text = head[self._skip :].decode(self._encoding, "replace").lstrip("\ufeff \t\r\n\0")
        if not text:
            raise Unreadable("empty_file", "The file is empty.")
        if re.match(r"(?i)<(!doctype|html|head|body|\?xml|!--|table|script|meta)", text):
            raise Unreadable("html", "This is a web page saved under another name. Download the report itself.")
        odd = sum(1 for each in text[:4096] if each < " " and each not in "\t\r\n\f\v\x1a\0")
        if odd > 0.05 * len(text[:4096]) or text.startswith("%PDF"):
            raise Unreadable("unknown_format", "This is neither text nor a workbook.")

    def rows(self, dialect: Dialect) -> Iterator[Row]:
        """Its records from the first; one whose quotes never end is the last."""
        quoting: Any = csv.QUOTE_MINIMAL if dialect.quoted else csv.QUOTE_NONE
        reader = csv.reader(self._lines(), delimiter=dialect.delimiter, quoting=quoting)
        line = 1
        try:
            for cells in reader:
                yield Row(line, cells if len(cells) <= CELLS_MAX else cells[:CELLS_MAX])
                line = reader.line_num + 1
        except csv.Error:
            self.cut = True

    def _lines(self) -> Iterator[str]:
        with self._path.open("rb", buffering=0) as file:
            file.seek(self._skip)
            errors = _FALLBACK if self._encoding in {"utf-8", "cp1252"} else "replace"
            buffered = io.BufferedReader(file, 256 * 1024)
            text = io.TextIOWrapper(buffered, encoding=self._encoding, errors=errors, newline="")
            for number, line in enumerate(iter(partial(text.readline, LINE_CHARACTERS_MAX), "")):
                if not number & 0xFFF:
                    self.done = min(self.size, file.tell())
                yield line.replace("\0", "") if "\0" in line else line
            self.done = self.size


# --- workbooks --------------------------------------------------------------------------------------------------------


class Sheet:
    """A sheet of a workbook."""

    is_text = False

    def __init__(self, sheet: Any) -> None:
        self.name = str(sheet.name)
        self.size = int(sheet.total_height)
        self.done = 0
        self.mixed = False
        self.cut = False
        self._sheet = sheet

    def rows(self, dialect: Dialect) -> Iterator[Row]:  # noqa: ARG002 - a sheet has its cells already
        """Its rows from the first that has anything."""
        first = (self._sheet.start or (0, 0))[0]
        for number, cells in enumerate(self._sheet.iter_rows()):
            self.done = first + number + 1
            yield Row(self.done, [_written(cell)[:CELL_CHARACTERS_MAX] for cell in cells])


def _written(cell: object) -> str:
    match cell:
        case bool():
            return "TRUE" if cell else "FALSE"
        case float():
            return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
        case datetime() if (cell.hour, cell.minute, cell.second) == (0, 0, 0):
            return cell.date().isoformat()
        case date() | datetime():
            return cell.isoformat(" ") if isinstance(cell, datetime) else cell.isoformat()
    return str(cell).replace("\0", "")


def _sheets(path: Path) -> list[Table]:
    from python_calamine import CalamineError, CalamineWorkbook  # slow to import, and rarely needed

    try:
        book = CalamineWorkbook.from_path(str(path))
        found: list[Table] = []
        for name in book.sheet_names[:MEMBERS_MAX]:
            sheet = book.get_sheet_by_name(name)
            if sheet.total_width > CELLS_MAX:
                raise Unreadable("unknown_format", f"The sheet {name[:40]!r} has more than {CELLS_MAX} columns.")
            if sheet.total_height:
                found.append(Sheet(sheet))
    except (CalamineError, ValueError, OSError) as problem:
        raise Unreadable("unknown_format", "The workbook is damaged, or protected by a password.") from problem
    if not found:
        raise Unreadable("empty_file", "The workbook has no rows.")
    return found


# --- packed files -----------------------------------------------------------------------------------------------------


def tables(path: Path, name: str, room: Path, encoding: str | None = None) -> list[Table]:
    """The tables of a file, unpacked into `room` where it is packed; raises Unreadable."""
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        raise Unreadable("empty_file", "The file is empty.")
    if head.startswith(b"\x1f\x8b"):
        return [Text(_gunzipped(path, room), name.removesuffix(".gz"), encoding)]
    if head.startswith(b"PK\x03\x04"):
        return _unzipped(path, room, encoding)
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        _check_workbook_size(path.stat().st_size)
        return _sheets(path)
    return [Text(path, name, encoding)]


def _gunzipped(path: Path, room: Path) -> Path:
    to = room / "unpacked"
    try:
        with gzip.open(path) as packed:
            _copy(packed, to, path.stat().st_size)
    except (OSError, EOFError, zlib.error) as problem:
        raise Unreadable("unknown_format", "The packed file is damaged or cut off.") from problem
    return to


def _unzipped(path: Path, room: Path, encoding: str | None) -> list[Table]:
    try:
        with zipfile.ZipFile(path) as packed:
            members = [each for each in packed.infolist() if not each.is_dir()]
            names = {each.filename for each in members}
            if len(members) > 10 * MEMBERS_MAX:
                raise Unreadable("unknown_format", "The archive has too many files.")
            if "[Content_Types].xml" in names or "content.xml" in names:
                _check_workbook_size(sum(each.file_size for each in members))
                _check_honest(packed, members, path.stat().st_size)
                return _sheets(path)
            texts = [each for each in members if re.search(r"(?i)\.(csv|tsv|txt|tab)$", each.filename)]
            found: list[Table] = []
            unpacked = 0
            for number, each in enumerate(texts[:MEMBERS_MAX]):
                to = room / f"member-{number}"
                with packed.open(each) as member:
                    unpacked += _copy(member, to, path.stat().st_size, unpacked)
                try:
                    found.append(Text(to, each.filename, encoding))
                except Unreadable:
                    if len(texts) == 1:
                        raise
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error, RuntimeError, NotImplementedError) as problem:
        raise Unreadable("unknown_format", "The archive is damaged, or protected by a password.") from problem
    if not found:
        raise Unreadable("unknown_format", "The archive has no CSV, TSV or text file.")
    return found


def _check_workbook_size(size: int) -> None:
    if size > WORKBOOK_BYTES_MAX:
        most = WORKBOOK_BYTES_MAX // 1024**2
        raise Unreadable("unknown_format", f"The workbook unpacks to more than {most} MiB. Save it as CSV.")


def _check_honest(packed: zipfile.ZipFile, members: list[zipfile.ZipInfo], size: int) -> None:
    """What an archive says of its own sizes is up to whoever made it, so it is counted."""
    unpacked = 0
    for each in members:
        with packed.open(each) as member:
            while block := member.read(1024**2):
                unpacked += len(block)
                _check_ratio(unpacked, size)
                _check_workbook_size(unpacked)


def _check_ratio(unpacked: int, size: int) -> None:
    if unpacked > UNPACKED_BYTES_MAX or unpacked - RATIO_FREE_BYTES > RATIO_MAX * size:
        raise Unreadable("unknown_format", "The file unpacks to far more than any report has.")


def _copy(packed: SupportsRead, to: Path, size: int, before: int = 0) -> int:
    """Unpack into a file, within limits for it and what was unpacked `before`; how many bytes."""
    unpacked = 0
    with to.open("wb") as file:
        while block := packed.read(1024**2):
            unpacked += len(block)
            _check_ratio(before + unpacked, size)
            file.write(block)
    return unpacked
