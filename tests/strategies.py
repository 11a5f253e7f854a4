"""Hypothesis strategies for the house's values, made from their types."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import hypothesis.strategies as st
from hypothesis import Phase, given, seed, settings
from msgspec import inspect, json

T = TypeVar("T")

_WHEN = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001
# JSON and Postgres hold every text but lone surrogates, and no zero byte.
_TEXT = st.characters(exclude_categories=["Cs"], exclude_characters="\0")

_SIMPLE: dict[type, Callable[[Any], st.SearchStrategy[Any]]] = {
    inspect.AnyType: lambda _: st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(_TEXT),
    inspect.NoneType: lambda _: st.none(),
    inspect.BoolType: lambda _: st.booleans(),
    inspect.IntType: lambda kind: st.integers(
        kind.ge if kind.ge is not None else -(2**53), kind.le if kind.le is not None else 2**53
    ),
    inspect.FloatType: lambda kind: st.floats(kind.ge, kind.le, allow_nan=False, allow_infinity=False),
    inspect.StrType: lambda kind: (
        st.from_regex(kind.pattern, fullmatch=True)
        if kind.pattern
        else st.text(_TEXT, min_size=kind.min_length or 0, max_size=min(kind.max_length or 30, 30))
    ),
    inspect.DateTimeType: lambda _: _WHEN,
    inspect.DateType: lambda _: st.dates(),
    inspect.TimeDeltaType: lambda _: st.timedeltas(timedelta(0), timedelta(days=1000)),
    inspect.UUIDType: lambda _: st.uuids(),
    inspect.BytesType: lambda _: st.binary(max_size=30),
    inspect.LiteralType: lambda kind: st.sampled_from(list(kind.values)),
    inspect.EnumType: lambda kind: st.sampled_from(list(kind.cls)),
    inspect.UnionType: lambda kind: st.one_of(*map(of_type, kind.types)),
    inspect.Metadata: lambda kind: of_type(kind.type),
    inspect.StructType: lambda kind: st.builds(kind.cls, **{field.name: of_type(field.type) for field in kind.fields}),
    inspect.ListType: lambda kind: st.lists(of_type(kind.item_type), max_size=4),
    inspect.VarTupleType: lambda kind: st.lists(of_type(kind.item_type), max_size=4).map(tuple),
    inspect.TupleType: lambda kind: st.tuples(*map(of_type, kind.item_types)),
    inspect.FrozenSetType: lambda kind: st.frozensets(of_type(kind.item_type), max_size=4),
    inspect.SetType: lambda kind: st.sets(of_type(kind.item_type), max_size=4),
    inspect.DictType: lambda kind: st.dictionaries(of_type(kind.key_type), of_type(kind.value_type), max_size=3),
}

_STRUCTS: dict[type[Any], st.SearchStrategy[Any]] = {}


def of_type(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Any value of a type as msgspec understands it."""
    return _SIMPLE[type(kind)](kind)


def any_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Any value of a struct."""
    # Kept: what Hypothesis works out about a strategy costs more than to draw from it.
    if kind not in _STRUCTS:
        _STRUCTS[kind] = of_type(inspect.type_info(kind))
    return _STRUCTS[kind]


def ordinary(kind: type[T]) -> T:
    """One value of a struct with something in most of its fields, the same on every machine."""
    found: list[T] = []

    @seed(7)
    @settings(max_examples=40, phases=[Phase.generate], database=None, deadline=None)
    @given(any_of(kind))
    def collect(value: T) -> None:
        found.append(value)

    collect()
    return max(found, key=lambda value: (len(json.encode(value)) < 2000, len(json.encode(value))))
