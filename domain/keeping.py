"""What can be kept: texts and moments that the log, every fold and every surface can carry."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

import msgspec
from msgspec import inspect

from domain.kernel import Invalid

#: A year from either end of the calendar, so that nothing that is reckoned from a moment falls off it.
EARLIEST, LATEST = datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, tzinfo=UTC)

NO_TEXT = "a text has a zero character, or half of a character"
NO_MOMENT = "a moment needs a time zone and lies between the years 2 and 9998"


class CannotBeKept(Invalid):
    """This cannot be kept: {problem}."""


def is_text(text: str) -> bool:
    """Whether Postgres and JSON can hold it: there is no zero character in it, and no half of one."""
    if "\0" in text:
        return False
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


@cache
def moments(kind: type) -> tuple[str, ...]:
    """The fields of this struct that hold moments, at whatever depth."""
    info = inspect.type_info(kind)
    return tuple(each.name for each in info.fields if _has_moment(each)) if isinstance(info, inspect.StructType) else ()


def _has_moment(kind: object) -> bool:
    if isinstance(kind, inspect.DateTimeType):
        return True
    if isinstance(kind, inspect.Type):
        return any(_has_moment(getattr(kind, name)) for name in kind.__struct_fields__)
    if isinstance(kind, inspect.Field):
        return _has_moment(kind.type)
    return isinstance(kind, tuple) and any(map(_has_moment, kind))


def check_moments(value: object) -> None:
    """Refuse moments, at whatever depth of a struct, that could not be compared, moved or written."""
    if isinstance(value, datetime):
        # A naive one cannot be compared with those that are not; one at the end of the calendar falls off in UTC.
        if value.tzinfo is None or not EARLIEST <= value <= LATEST:
            raise CannotBeKept(problem=NO_MOMENT)
    elif isinstance(value, msgspec.Struct):
        for name in moments(type(value)):
            check_moments(getattr(value, name))
    elif isinstance(value, dict):
        for each in value.values():
            check_moments(each)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for each in value:
            check_moments(each)
