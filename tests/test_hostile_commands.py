"""Whatever is wished for is refused, or leads to events that can be stored, read, folded and shown: a law for all."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from msgspec import Struct, inspect, json
from msgspec.structs import replace

from adapters.log import codec
from adapters.log.memory import MemoryLedger
from api.surfaces import surfaces
from commands.kernel import execute
from commands.webhooks.reactions import MESSAGES
from domain.keeping import is_text
from domain.kernel import Refusal
from domain.ledger import Recorded
from domain.vocabulary import categories
from domain.webhooks.messages import Subject
from projections.audit.actions import action_of, particulars, target_of
from projections.kernel import PROJECTIONS, TALLIES, milliseconds, seconds
from tests.examples import Example, examples
from tests.spec import CONTEXT, NOW
from tests.test_laws import Marks
from tests.walking import modules

modules()

FAR_WEST, FAR_EAST = timezone(timedelta(hours=-14)), timezone(timedelta(hours=14))

TEXTS = st.sampled_from(
    [
        "",
        "\0",
        "a\0b",
        "\ud800",
        "a\udfffb",
        "\\u0000",
        "\\\\u0000",
        "\u2028",
        "\uffff",
        "\U0010ffff",
        "é" * 300,
        "e" + "\u0301" * 300,
        "ſ@ſ.ſ",
        "-",
        "../..",
        "://",
        "http://[",
        "https://a/?" + "b" * 5_000,
        '{"a":1}',
        "'; DROP TABLE ledger_events; --",
        "x" * (codec.EVENT_BYTES_MAX + 1),
    ]
) | st.text(st.characters(), max_size=20)

MOMENTS = st.sampled_from(
    [
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        datetime.min.replace(tzinfo=FAR_EAST),
        datetime.max.replace(tzinfo=FAR_WEST),
        datetime.max.replace(tzinfo=FAR_EAST),
        datetime(9999, 12, 31, tzinfo=UTC),
        datetime(9998, 12, 30, tzinfo=FAR_WEST),
        datetime(1, 1, 2, tzinfo=UTC),
        datetime(2, 1, 2, tzinfo=FAR_EAST),
        datetime(2050, 1, 1),  # noqa: DTZ001 - that it has no zone is the point
        NOW,
        NOW + timedelta(microseconds=1),
    ]
) | st.datetimes(timezones=st.just(UTC))


#: Beyond what Postgres counts with, what a double tells apart, and any bound that a route has.
NUMBERS = st.sampled_from([-1, 0, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**400])
MEASURES = st.sampled_from([-1.0, -0.0, 1e308, 5e-324, float("inf"), float("-inf"), float("nan")])
DAYS = st.sampled_from([date.min, date.max, date(9998, 12, 31), date(2, 1, 1)]) | st.dates()


def hostile(value: Any) -> st.SearchStrategy[Any]:
    """Values like this one with texts, numbers and moments that nobody in their right mind would send."""
    match value:
        case bool() | timedelta() | bytes():
            return st.just(value)
        case int():
            return st.just(value) | NUMBERS
        case float():
            return st.just(value) | MEASURES
        case str():
            return st.just(value) | TEXTS
        case datetime():
            return st.just(value) | MOMENTS
        case date():
            return st.just(value) | DAYS
        case Struct():
            info = inspect.type_info(type(value))
            assert isinstance(info, inspect.StructType)
            fields = {
                field.name: hostile(there) if (there := getattr(value, field.name)) is not None else absent(field.type)
                for field in info.fields
            }
            return st.fixed_dictionaries(fields).map(lambda drawn: replace(value, **drawn))
        case tuple():
            return st.tuples(*map(hostile, value)) if value else st.just(value)
        case dict():
            return (
                st.dictionaries(TEXTS, st.sampled_from(list(value.values())), max_size=2) if value else st.just(value)
            )
        case _:
            return st.just(value)


def absent(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Nothing, or what may stand there instead."""
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    plain = [each.type if isinstance(each, inspect.Metadata) else each for each in kinds]
    texts = [TEXTS for each in plain if isinstance(each, inspect.StrType)]
    moments = [MOMENTS for each in plain if isinstance(each, inspect.DateTimeType)]
    days = [DAYS for each in plain if isinstance(each, inspect.DateType)]
    numbers = [NUMBERS for each in plain if isinstance(each, inspect.IntType)]
    measures = [MEASURES for each in plain if isinstance(each, inspect.FloatType)]
    return st.one_of(st.none(), *texts, *moments, *days, *numbers, *measures)


def show(recorded: Recorded) -> None:
    """Everything that is ever made of an event, but for what its streams add up to."""
    event = recorded.event
    stored = codec.decode(recorded.name, recorded.schema_version, codec.encode(event, Marks()))
    assert codec.unseal(stored, Marks()) == event
    recorded.stream.encode()
    json.encode((action_of(recorded.name), target_of(event), particulars(event)))
    for tally in TALLIES.values():
        for key, number in tally.counted(event):
            assert is_text(key)
            assert -(2**63) <= number < 2**63
    for field in event.__struct_fields__:
        if isinstance(moment := getattr(event, field), datetime):
            seconds(moment)
            milliseconds(moment)
            datetime.fromtimestamp(moment.timestamp(), UTC)
            moment + timedelta(days=30)
            moment - timedelta(days=30)


@pytest.mark.parametrize("example", examples().values(), ids=lambda example: type(example.command).__name__)
@settings(max_examples=20)
@given(data=st.data())
def test_whatever_is_wished_for_is_refused_or_can_be_shown(example: Example, data: st.DataObject) -> None:
    command = data.draw(hostile(example.command))

    asyncio.run(_carried(example, command))


async def _carried(example: Example, command: Any) -> None:
    ledger = MemoryLedger(lambda: NOW)
    for wish in example.before:
        await execute(wish, ledger, NOW, CONTEXT)
    with suppress(Refusal):
        await execute(command, ledger, NOW, CONTEXT)
    documents: dict[tuple[str, str], Any] = {}
    for recorded in ledger.all:
        show(recorded)
        await _tell(recorded, ledger)
        for projection in PROJECTIONS.values():
            key = projection.concerns(recorded.event)
            if key is not None:
                place = (projection.name, key)
                documents[place] = projection.evolve(documents.get(place), recorded.event)
    for (_, key), document in documents.items():
        assert is_text(key)
        for surface in surfaces():
            surface.write(document)
        assert b"\\u0000" not in json.encode(document).replace(b"\\\\", b"")
    streams = {each.stream for each in ledger.all}
    for category in categories().values():
        for stream in streams:
            if stream.startswith(f"{category.name}-"):
                category.fold((await ledger.read(stream)).events)


async def _tell(recorded: Recorded, ledger: MemoryLedger) -> None:
    """What endpoints and the address of a thing are told of an event."""
    events = (await ledger.read(recorded.stream)).events[: recorded.version]
    kind, _, identity = recorded.stream.partition("-")
    subject = Subject(kind=kind, id=identity, workspace_id=recorded.workspace_id)
    for message in MESSAGES.get(type(recorded.event), ()):
        message.endpoint(events)
        for own in {False, message.own is not None}:
            text = message.write(subject, events, recorded.recorded_at, own=own)
            assert "\\u0000" not in text.replace("\\\\", "")
