"""What can be kept: texts, numbers and moments that the log, every fold and every surface can carry."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from math import isfinite

import msgspec
from msgspec import inspect

from domain.kernel import Invalid

#: A year from either end of the calendar, so that nothing that is reckoned from a moment falls off it.
EARLIEST, LATEST = datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, tzinfo=UTC)

NO_TEXT = "a text has a zero character, or half of a character"
NO_MOMENT = "a moment needs a time zone and lies between the years 2 and 9998"
NO_NUMBER = "a number is infinite or none"


class CannotBeKept(Invalid):
    """This cannot be kept: {problem}."""


def is_text(text: str) -> bool:
    """Whether Postgres and JSON can hold it: there is no zero character in it, and no half of one."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_text(text: str) -> str:
    """The text, if it can be kept; raises CannotBeKept."""
    if not is_text(text):
        raise CannotBeKept(problem=NO_TEXT)
    return text


def size_of(value: object) -> int:
    """The bytes that a value takes as JSON; raises CannotBeKept."""
    try:
        return len(msgspec.json.encode(value))
    except UnicodeEncodeError:
        raise CannotBeKept(problem=NO_TEXT) from None


@cache
def checked_fields(kind: type) -> tuple[str, ...]:
    """The fields of this struct that hold moments or fractions, at whatever depth."""
    info = inspect.type_info(kind)
    return tuple(each.name for each in info.fields if _is_checked(each)) if isinstance(info, inspect.StructType) else ()


def _is_checked(kind: object) -> bool:
    if isinstance(kind, (inspect.DateTimeType, inspect.FloatType)):
        return True
    if isinstance(kind, inspect.Type):
        return any(_is_checked(getattr(kind, name)) for name in kind.__struct_fields__)
    if isinstance(kind, inspect.Field):
        return _is_checked(kind.type)
    return isinstance(kind, tuple) and any(map(_is_checked, kind))


def check_values(value: object) -> None:
    """Refuse moments that could not be compared, moved or written, and numbers that are none, at whatever depth."""
    if isinstance(value, msgspec.Struct):
        for name in checked_fields(type(value)):
            each = getattr(value, name)
            # Most are moments in the middle of the calendar: that is asked here, where it costs no call.
            if type(each) is not datetime or each.tzinfo is not UTC or not EARLIEST <= each <= LATEST:
                check_values(each)
    elif isinstance(value, datetime):
        # A naive one cannot be compared with those that are not; one at the end of the calendar falls off in UTC.
        if value.tzinfo is None or not EARLIEST <= value <= LATEST:
            raise CannotBeKept(problem=NO_MOMENT)
    elif isinstance(value, float):
        # JSON has no word for them: they would come back as null.
        if not isfinite(value):
            raise CannotBeKept(problem=NO_NUMBER)
    elif isinstance(value, (dict, list, tuple, set, frozenset)):
        for each in value.values() if isinstance(value, dict) else value:
            check_values(each)
