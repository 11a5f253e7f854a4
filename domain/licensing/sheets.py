"""Activation keys as a sheet: CSV that other systems export, and that spreadsheets open."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from domain.kernel import Invalid, Value
from domain.licensing.codes import InvalidCode, normal_code
from domain.licensing.licenses import MACHINES_MAX, KeyType

ROWS_MAX = 1000
NOTES_LENGTH_MAX = 500
ENTITLEMENTS_MAX = 50
ENTITLEMENT_LENGTH_MAX = 64
TRIAL_DAYS_MAX = 3650
HEARTBEAT_SECONDS = (60, 366 * 24 * 3600)

#: What a sheet may say of a key, and what an exported one says besides, which nobody can set.
COLUMNS = (
    "code",
    "key_type",
    "max_activations",
    "notes",
    "expires_at",
    "trial_days",
    "entitlements",
    "updates_until",
    "heartbeat_seconds",
)
COUNTS = ("current_activations", "is_revoked", "created_at", "last_activated_at", "trial_ends_at")


class Row(Value):
    """What one line says; without a code there will be a new one."""

    code: str | None = None
    key_type: KeyType = "purchase"
    max_activations: int = 2
    notes: str = ""
    expires_at: datetime | None = None
    trial_days: int | None = None
    entitlements: tuple[str, ...] = ()
    updates_until: datetime | None = None
    heartbeat_seconds: int | None = None


class InvalidSheet(Invalid):
    """Nothing was imported. {problem}"""

    def __init__(self, problem: str, line: int | None = None) -> None:
        where = {} if line is None else {"line": line}
        super().__init__(problem=problem if line is None else f"Line {line}: {problem}", loc=("body",), **where)


def read_sheet(text: str) -> list[Row]:
    """The rows of a sheet, all of them or none; raises InvalidSheet that names the first line that is wrong."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if not header or not set(header) <= {*COLUMNS, *COUNTS} or len(set(header)) < len(header):
            raise InvalidSheet(f"The first line names columns, each once, out of {', '.join(COLUMNS)}.", 1)
        rows: list[Row] = []
        codes: dict[str, int] = {}
        for cells in reader:
            line = reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise InvalidSheet(f"It has {len(cells)} cells, and the first line has {len(header)}.", line)
            row = _row(dict(zip(header, cells, strict=True)), line)
            if row.code is not None and codes.setdefault(row.code, line) != line:
                raise InvalidSheet(f"Its code is in line {codes[row.code]} already.", line)
            rows.append(row)
            if len(rows) > ROWS_MAX:
                raise InvalidSheet(f"A sheet has {ROWS_MAX} keys at most. Send the rest in another.", line)
    except csv.Error as problem:
        raise InvalidSheet(f"It is not CSV ({problem}).", reader.line_num) from problem
    if not rows:
        raise InvalidSheet("There is no key in it.")
    return rows


def _row(cells: Mapping[str, str], line: int) -> Row:
    said: dict[str, Any] = {}
    for name, read in _READERS.items():
        cell = cells.get(name, "").strip()
        if not cell:
            continue
        try:
            said[name] = read(cell)
        except (ValueError, InvalidCode) as problem:
            raise InvalidSheet(f"{name} is {_WANTED[name]}.", line) from problem
    return Row(**said)


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(cell: str) -> int:
        if not (cell.isascii() and cell.isdigit() and len(cell) <= 12 and least <= int(cell) <= most):
            raise ValueError(cell)
        return int(cell)

    return read


def _key_type(cell: str) -> str:
    if cell.lower() not in get_args(KeyType):
        raise ValueError(cell)
    return cell.lower()


def _moment(cell: str) -> datetime:
    """A moment, or a day: of a day its end counts, so that whoever paid for it has it."""
    moment = datetime.fromisoformat(cell)
    if len(cell) == len("2026-01-31"):
        return moment.replace(tzinfo=UTC) + timedelta(days=1, seconds=-1)
    if moment.tzinfo is None:
        raise ValueError(cell)
    return moment


def _notes(cell: str) -> str:
    plain = cell.removeprefix("'") if cell[1:2] and cell[1] in _FORMULAS else cell
    if len(plain) > NOTES_LENGTH_MAX or "\0" in plain:
        raise ValueError(cell)
    return plain


def _entitlements(cell: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in cell.split(";") if name.strip()))
    if len(names) > ENTITLEMENTS_MAX or any(len(name) > ENTITLEMENT_LENGTH_MAX or "\0" in name for name in names):
        raise ValueError(cell)
    return names


_READERS: Mapping[str, Callable[[str], Any]] = {
    "code": normal_code,
    "key_type": _key_type,
    "max_activations": _whole(1, MACHINES_MAX),
    "notes": _notes,
    "expires_at": _moment,
    "trial_days": _whole(1, TRIAL_DAYS_MAX),
    "entitlements": _entitlements,
    "updates_until": _moment,
    "heartbeat_seconds": _whole(*HEARTBEAT_SECONDS),
}
_WANTED = {
    "code": "a UUID or XXXX-XXXX-XXXX-XXXX, or empty for a new one",
    "key_type": f"one of {', '.join(get_args(KeyType))}",
    "max_activations": f"a whole number from 1 to {MACHINES_MAX}",
    "notes": f"a text of {NOTES_LENGTH_MAX} characters at most",
    "expires_at": "a day such as 2026-01-31 or a moment such as 2026-01-31T12:00:00Z",
    "trial_days": f"a whole number from 1 to {TRIAL_DAYS_MAX}",
    "entitlements": f"at most {ENTITLEMENTS_MAX} names with semicolons between them",
    "updates_until": "a day such as 2026-01-31 or a moment such as 2026-01-31T12:00:00Z",
    "heartbeat_seconds": "a whole number from {} to {}".format(*HEARTBEAT_SECONDS),
}

#: What a spreadsheet takes for the beginning of a formula.
_FORMULAS = "=+-@\t\r"


def write_sheet(rows: Iterable[Mapping[str, Any]]) -> str:
    """A sheet of keys with their counts; texts that a spreadsheet would run are written with an apostrophe before."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow((*COLUMNS, *COUNTS))
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in (*COLUMNS, *COUNTS)])
    return out.getvalue()


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case list() | tuple():
            return _safe(";".join(map(str, value)))
        case str():
            return _safe(value)
    return str(value)


def _safe(text: str) -> str:
    return f"'{text}" if text[:1] and text[0] in _FORMULAS else text
