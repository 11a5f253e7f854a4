"""Postgres arrays in the binary format, built from columns of ready bytes: one parameter for a thousand rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, ClassVar
from uuid import UUID

import psycopg
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_length: Callable[[int], bytes] = Struct("!i").pack
_header = Struct("!iiIii").pack
_int8 = Struct("!iq").pack
_int2 = Struct("!ih").pack

NULL = _length(-1)
_UUID_LENGTH = _length(16)


class Column:
    """One array parameter; `items` hold each element with its length in front, as `text`, `int8` ... below make it."""

    array_oid: ClassVar[int]
    element_oid: ClassVar[int]
    __slots__ = ("data",)

    def __init__(self, items: Sequence[bytes]) -> None:
        # A null anywhere is flagged always: the server accepts the flag without a null, never the reverse.
        self.data = _header(1, 1, self.element_oid, len(items), 1) + b"".join(items)


class TextColumn(Column):
    """text[]"""

    array_oid, element_oid = 1009, 25


class BytesColumn(Column):
    """bytea[]"""

    array_oid, element_oid = 1001, 17


class Int8Column(Column):
    """bigint[]"""

    array_oid, element_oid = 1016, 20


class Int2Column(Column):
    """smallint[]"""

    array_oid, element_oid = 1005, 21


class UuidColumn(Column):
    """uuid[]"""

    array_oid, element_oid = 2951, 2950


def text(value: str) -> bytes:
    """An element of a `TextColumn`."""
    data = value.encode()
    return _length(len(data)) + data


def raw(data: bytes) -> bytes:
    """An element of a `BytesColumn`."""
    return _length(len(data)) + data


def uuid(value: UUID) -> bytes:
    """An element of a `UuidColumn`."""
    return _UUID_LENGTH + value.int.to_bytes(16, "big")


def uuid_of(data: bytes) -> bytes:
    """An element of a `UuidColumn`, of its 16 bytes."""
    return _UUID_LENGTH + data


def int8(value: int) -> bytes:
    """An element of an `Int8Column`."""
    return _int8(8, value)


def int2(value: int) -> bytes:
    """An element of an `Int2Column`."""
    return _int2(2, value)


def register(context: AdaptContext) -> None:
    """Teach connections to send columns."""
    for kind in (TextColumn, BytesColumn, Int8Column, Int2Column, UuidColumn):
        context.adapters.register_dumper(kind, _dumper(kind))


def _dumper(kind: type[Column]) -> type[Dumper]:
    class ColumnDumper(Dumper):
        format = Format.BINARY
        oid = kind.array_oid

        def dump(self, obj: Any) -> Buffer:
            return bytes(obj.data)

    return ColumnDumper


register(psycopg.adapters)
