"""Every event has a name for what was done, a target, and particulars that give nobody away."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from msgspec.structs import replace

from domain.analyses.analyses import AnalysisRequested
from domain.identity.people import PersonRegistered
from domain.kernel import ERASED, Event
from domain.vocabulary import events, personal_fields
from domain.webhooks.endpoints import EndpointSecretRotated
from projections.audit.actions import action_of, names_of, particulars, target_of

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)

KINDS = sorted(events().items())


def any_value(hint: Any, name: str) -> Any:
    """Some value of a type; texts say which field they are in."""
    if get_origin(hint) is Annotated:
        return any_value(get_args(hint)[0], name)
    if get_origin(hint) is Literal:
        return get_args(hint)[0]
    if get_origin(hint) in (Union, types.UnionType):
        return any_value(next(part for part in get_args(hint) if part is not types.NoneType), name)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return example(hint)
    plain = get_origin(hint) or hint
    values: dict[Any, Any] = {
        str: f"the {name}",
        int: 7,
        float: 7.5,
        bool: True,
        datetime: NOON,
        date: NOON.date(),
        dict: {},
        Mapping: {},
        bytes: b"",
    }
    return values[plain] if plain in values else plain()


def example(kind: type[Any]) -> Any:
    """A thing with something in every field."""
    return kind(**{name: any_value(hint, name) for name, hint in _hints(kind).items()})


def _hints(kind: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {name: hints[name] for name in kind.__struct_fields__}


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_every_event_says_what_was_done_to_what(name: str, kind: type[Event]) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*", action_of(name))
    target_type, target_id = target_of(example(kind))
    assert target_type
    assert target_id
    assert names_of(action_of(name)) == (name,), "two events have one action"


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_no_personal_field_and_no_digest_of_one_is_among_the_particulars(name: str, kind: type[Event]) -> None:
    shown = particulars(example(kind))
    hidden = {field for field, _ in personal_fields(kind)}
    assert not hidden & shown.keys()
    assert not [field for field in shown if field.endswith("digest")]
    for field in hidden:
        assert not re.search(rf"\bthe {field}\b", str(shown))
    msgspec.json.encode(shown)


def test_the_names_read_as_people_say_them() -> None:
    assert action_of("analyses.AnalysisRequested") == "analysis.requested"
    assert action_of("webhooks.DeliveryGivenUp") == "delivery.given_up"
    assert action_of("identity.ApiKeyRevoked") == "api_key.revoked"
    assert names_of("nothing.done") == ()


def test_the_query_and_the_password_of_an_address_are_nobodys_business() -> None:
    requested = AnalysisRequested(
        analysis_id="A",
        workspace_id="W",
        origin="url",
        source_url="https://user:secret@example.com/a.mp3?token=secret#secret",
        requested_at=NOON,
        metadata='{"secret": 1}',
    )
    shown = particulars(requested)
    assert shown["source_url"] == "https://example.com/a.mp3"
    assert "secret" not in str(shown)


@pytest.mark.parametrize("scheme", ["HTTPS", "Http", "STORAGE"])
def test_an_address_is_one_however_its_scheme_is_written_and_what_was_erased_is_none(scheme: str) -> None:
    written = example(AnalysisRequested)
    shown = particulars(replace(written, source_url=f"{scheme}://example.com/a.mp3?token=secret"))
    assert shown["source_url"] == f"{scheme.lower()}://example.com/a.mp3"
    assert "source_url" not in particulars(replace(written, source_url=ERASED))


def test_a_person_is_known_by_their_id_only() -> None:
    shown = particulars(PersonRegistered(person_id="P", email="ada@example.com", registered_at=NOON))
    assert "ada" not in str(shown)
    assert target_of(PersonRegistered(person_id="P", email="ada@example.com", registered_at=NOON)) == ("person", "P")


def test_things_that_share_a_stream_are_told_apart() -> None:
    rotated = EndpointSecretRotated(
        endpoint_id="E", workspace_id="W", secret_id="S", rotated_at=NOON, old_expires_at=NOON
    )
    assert target_of(rotated) == ("webhook_endpoint", "E")
