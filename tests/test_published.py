"""What is published keeps its promise, and tells nothing that should stay here."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import jsonschema_rs
import msgspec
import pytest
from msgspec import json

from adapters.log import codec
from adapters.log.recorder import StoredRow
from adapters.published import CloudEvent, Envelopes
from domain.discovery import modules
from domain.kernel import Event, Value, personal
from domain.published import (
    UNREADABLE,
    NoSuchType,
    by_stored_name,
    matches,
    matching,
    promised,
    published,
    published_events,
    schemas,
)
from domain.vocabulary import personal_fields
from infra.promises import BrokenPromise, broken, kept
from tests import history
from tests.walking import vocabulary

ENVELOPES = Envelopes("https://ledger.example")
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def row(name: str, schema_version: int, facts: bytes, trace: str | None = None) -> StoredRow:
    event_id, correlation_id = UUID(int=1), UUID(int=2)
    return (
        7, "thing-1", 1, event_id, name, schema_version, NOON, "w1", "person:p1", correlation_id, None, facts, trace
    )  # fmt: skip


# --- the promise -----------------------------------------------------------------------------------------------------


def test_every_published_shape_is_the_one_that_is_promised() -> None:
    """After a new type or version: `python -m infra.promises`."""
    for module in modules("projections", "published"):
        promises = promised(module.__name__)
        assert set(promises) >= {each.type for each in module.PUBLISHED}
        for each in module.PUBLISHED:
            assert promises[each.type][str(each.version)] == json.decode(json.encode(each.schema())), each.type
            assert each.version == max(map(int, promises[each.type])), each.type


def test_no_version_breaks_the_one_before_and_no_type_goes() -> None:
    for module in modules("projections", "published"):
        promises = promised(module.__name__)
        assert set(promises) == {each.type for each in module.PUBLISHED}, "a published type goes on"
        for versions in promises.values():
            kept(versions)


class Inner(Value):
    weight: float


class Before(Event):
    """Something happened."""

    thing_id: str
    state: Literal["ripe", "green"]
    inner: Inner
    count: int = 0
    said: str | None = None


def _after(**changed: Any) -> dict[str, Any]:
    """The schema of the same event with other fields; None takes one away."""
    fields: dict[str, Any] = {
        "thing_id": str,
        "state": Literal["ripe", "green"],
        "inner": Inner,
        "count": (int, 0),
        "said": (str | None, None),
    }
    kept_fields = {name: kind for name, kind in (fields | changed).items() if kind is not None}
    made: Any = msgspec.defstruct(
        "Before",
        [(name, *kind) if isinstance(kind, tuple) else (name, kind) for name, kind in kept_fields.items()],
        bases=(Event,),
        kw_only=True,
        frozen=True,
        namespace={"__doc__": "Something happened."},
        module=__name__,
    )
    return published(made, nested=("inner",) if "inner" in kept_fields else (), name="x.Before").schema()


Heavier = msgspec.defstruct("Inner", [("weight", int)], bases=(Value,), frozen=True)
Deeper = msgspec.defstruct("Inner", [("weight", float), ("depth", float)], bases=(Value,), frozen=True)


BREAKING: dict[str, dict[str, Any]] = {
    "removed": {"count": None},
    "renamed": {"said": None, "told": (str | None, None)},
    "retyped": {"count": (str, "")},
    "null-allowed": {"count": (int | None, 0)},
    "null-taken": {"said": (str, "")},
    "word-taken": {"state": Literal["ripe"]},
    "words-for-a-text": {"thing_id": Literal["one", "two"]},
    "text-for-words": {"state": str},
    "narrowed": {"thing_id": Annotated[str, msgspec.Meta(max_length=3)]},
    "newly-required": {"count": int},
    "required-field-added": {"more": str},
    "no-more-required": {"thing_id": (str, "")},
    "another-default": {"count": (int, 5)},
    "list-for-one": {"said": (tuple[str, ...], ())},
    "nested-retyped": {"inner": Heavier},
    "nested-required": {"inner": Deeper},
    "nested-removed": {"inner": None},
}


@pytest.mark.parametrize("changed", BREAKING.values(), ids=BREAKING)
def test_a_change_that_breaks_readers_is_refused(changed: dict[str, Any]) -> None:
    before, after = _after(), _after(**changed)
    assert broken(before, after)
    with pytest.raises(BrokenPromise, match=r"x\.Before"):
        kept({"1": before, "2": after})


def test_what_may_be_missing_and_new_words_are_added_in_a_version_of_their_own() -> None:
    grown = _after(more=(str | None, None), state=Literal["ripe", "green", "rotten"])
    assert not broken(_after(), grown)
    kept(
        {
            "1": _after(),
            "2": grown,
            "10": _after(more=(str | None, None), state=Literal["ripe", "green", "rotten", "x"]),
        }
    )


# --- what is told ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", history.lines(), ids=lambda line: f"{line.name}-{line.schema_version}")
def test_every_line_ever_stored_is_told_as_promised(line: history.Line) -> None:
    body = ENVELOPES.write(row(line.name, line.schema_version, line.facts))
    each = by_stored_name().get(line.name)
    if each is None:
        assert body is None
        return
    assert body is not None
    told = json.decode(body)
    assert (told["type"], told["dataschema"]) == (
        each.type,
        f"https://ledger.example/schemas/{each.type}/{each.version}.json",
    )
    for schema in schemas()[each.type].values():
        jsonschema_rs.validator_for(schema).validate(told["data"])
    assert set(told["data"]) == set(schemas()[each.type][each.version]["properties"])


@pytest.mark.parametrize("line", history.lines(), ids=lambda line: f"{line.name}-{line.schema_version}")
def test_what_is_told_of_stored_facts_is_what_is_told_of_their_event(line: history.Line) -> None:
    """To the byte, also where the same facts were written otherwise: spaced, turned round, with more than is known."""
    each = by_stored_name().get(line.name)
    if each is None:
        return
    slowly = each.data(codec.decode(line.name, line.schema_version, line.facts))
    facts = json.decode(line.facts)
    otherwise = json.format(json.encode({"unknown": "://a?b", **dict(reversed(facts.items()))}), indent=1)
    for state in (line.facts, otherwise):
        body = ENVELOPES.write(row(line.name, line.schema_version, state))
        assert body is not None
        assert body.endswith(b',"data":' + slowly + b"}")


def test_facts_of_an_older_shape_are_told_in_the_one_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = by_stored_name()["analyses.AnalysisStarted"].kind
    monkeypatch.setattr(kind, "upcasters", {0: lambda facts: {**facts, "analysis_id": facts["analysis"]}})
    body = Envelopes("https://older.example").write(
        row("analyses.AnalysisStarted", 0, b'{"analysis":"a1","started_at":"2026-11-22T12:00:00Z"}')
    )
    assert body is not None
    assert json.decode(body)["data"] == {"analysis_id": "a1", "started_at": "2026-11-22T12:00:00Z"}


@pytest.mark.parametrize("each", published_events().values(), ids=published_events())
def test_nothing_personal_and_no_key_of_an_object_is_in_a_promise(each: Any) -> None:
    told = set(each.schema()["properties"])
    assert told, "there is something to tell"
    assert not told & {field for field, _ in personal_fields(each.kind)}
    words = json.encode(each.schema()).decode()
    for word in ("digest", "object_key", "workspace_id", "secret_id", "fingerprint"):
        assert f'"{word}' not in words
        assert f'{word}"' not in words


def test_whoever_is_told_of_deliveries_is_not_told_of_being_told() -> None:
    """A delivery of a message about a delivery would have no end."""
    assert not [name for name in published_events() if name.startswith("webhooks.Delivery")]


class Addressed(Event):
    """It has addresses in it."""

    thing_id: str
    reason: str
    places: tuple[str, ...] = ()
    owner: Annotated[str, personal("thing_id")] = ""
    email_digest: str = ""


def test_of_an_address_neither_its_query_nor_who_signs_in_is_told() -> None:
    told = published(Addressed).data(
        Addressed(
            thing_id="1",
            reason='no answer from https://me:pa"ss@example.com/a?token="s\\"ecret" and\nhttp://b/#t, said "ö://?"',
            places=("s3://key@bucket/x?sig=secret", "plain"),
            owner="Ada",
        )
    )
    assert json.decode(told) == {
        "thing_id": "1",
        "reason": 'no answer from https://example.com/a and\nhttp://b/ said "ö://',
        "places": ["s3://bucket/x", "plain"],
    }


def test_the_envelope_is_a_cloud_event() -> None:
    body = ENVELOPES.write(
        row(
            "analyses.AnalysisStarted",
            1,
            b'{"analysis_id":"a1","started_at":"2026-11-22T12:00:00Z"}',
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
    )
    assert body is not None
    assert json.decode(body) == {
        "specversion": "1.0",
        "id": "00000000-0000-0000-0000-000000000001",
        "source": "urn:ledgerline:workspace:w1",
        "type": "analyses.AnalysisStarted",
        "subject": "thing-1",
        "time": "2026-11-22T12:00:00Z",
        "datacontenttype": "application/json",
        "dataschema": "https://ledger.example/schemas/analyses.AnalysisStarted/1.json",
        "partitionkey": "thing-1",
        "sequence": "0000000000000000007",
        "actor": "person:p1",
        "correlationid": "00000000-0000-0000-0000-000000000002",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "data": {"analysis_id": "a1", "started_at": "2026-11-22T12:00:00Z"},
    }
    for name in CloudEvent.__struct_fields__:
        assert re.fullmatch("[a-z0-9]{1,20}", name)


@pytest.mark.parametrize(
    ("name", "version", "facts"),
    [
        ("analyses.AnalysisStarted", 1, b"{}"),
        ("analyses.AnalysisStarted", 9, b'{"analysis_id":"a1","started_at":"2026-11-22T12:00:00Z"}'),
        ("analyses.AnalysisStarted", 1, b"\xff\x00"),
        ("analyses.NotYetKnown", 1, b"{}"),
        ("nothing", 1, b"{}"),
    ],
)
def test_what_cannot_be_read_is_told_in_its_place(name: str, version: int, facts: bytes) -> None:
    body = ENVELOPES.write(row(name, version, facts))
    assert body is not None
    told = json.decode(body)
    assert (told["type"], told["data"], told["sequence"]) == (name, UNREADABLE, "0000000000000000007")
    assert "dataschema" not in told


# --- choosing --------------------------------------------------------------------------------------------------------


def test_types_are_chosen_by_name_or_by_pattern() -> None:
    assert matching([]) == list(published_events().values())
    assert matching(["*"]) == matching([])
    assert {each.context for each in matching(["builds.*"])} == {"builds"}
    assert [each.type for each in matching(["builds.BuildSucceeded"])] == ["builds.BuildSucceeded"]
    both = {each.type for each in matching(["*.AnalysisStarted", "builds.Build*"])}
    assert both == {"analyses.AnalysisStarted"} | set(vocabulary_of("builds.Build"))


def vocabulary_of(beginning: str) -> set[str]:
    return {name for name in published_events() if name.startswith(beginning) and name in vocabulary()}


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("a*b*c", "a1b2c", True),
        ("a*b*c", "abc", True),
        ("a*b*c", "ac", False),
        ("a*b*c", "acb", False),
        ("ab*bc", "abc", False),
        ("*", "", True),
        ("", "", True),
        ("", "a", False),
        ("*a", "ba", True),
        ("*ab*ab*", "xabx", False),
        ("a**b", "ab", True),
    ],
)
def test_a_star_stands_for_anything_and_nothing_else_does(pattern: str, name: str, fits: bool) -> None:
    assert matches(pattern, name) is fits


def test_a_pattern_of_many_stars_costs_no_more_than_its_length() -> None:
    """Ended by the time limit of a test, if it ends at all, where every way to divide the name is tried."""
    assert not matches("*".join("a" * 900), "a" * 890)
    with pytest.raises(NoSuchType):
        matching(["*e" * 40 + "*Z"])


@pytest.mark.parametrize("pattern", ["builds.Nothing", "builds?*", "build", "", "[a-z]*", "BUILDS.*"])
def test_a_pattern_that_no_type_has_is_refused(pattern: str) -> None:
    with pytest.raises(NoSuchType):
        matching([pattern])
