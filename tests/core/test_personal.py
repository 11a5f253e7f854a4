"""What identifies a person is sealed in every event, and unreadable everywhere once their key is destroyed."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from uuid import uuid4

import pytest
from cryptography.exceptions import InvalidTag
from msgspec import json

from adapters.log import codec, data_keys
from adapters.log.data_keys import DataKeys, SubjectIsForgotten
from adapters.readmodels.audit import Audit, Question
from adapters.readmodels.projector import request_rebuild
from domain.analyses.analyses import AnalysisRequested
from domain.kernel import ERASED, Event, personal
from domain.ledger import Change, Context
from domain.vocabulary import addresses, name_of, personal_fields
from domain.webhooks.deliveries import DeliveryQueued
from domain.webhooks.endpoints import EndpointMoved, EndpointRegistered
from projections.audit.actions import particulars
from tests.core.conftest import House, eventually
from tests.core.orchard import NOW, SECRET, GardenerHired, TreeWatered, gardeners

hired = GardenerHired(gardener_id="ada", email="ada@example.com", nickname="Countess")


async def raw(house: House) -> str:
    """All that anybody finds in the ledger's table."""
    rows = await house.fetch("SELECT convert_from(state, 'UTF8') FROM ledger_events")
    return " ".join(row[0] for row in rows)


async def test_personal_fields_are_sealed_on_disk_and_in_messages_and_read_in_clear(house: House) -> None:
    async with house.relaying():
        await house.record("gardener-ada", hired)
        subscription = house.bus.client.jetstream()
        await eventually(lambda: _has_message(house))
        message = await subscription.get_msg(house.bus.stream, 1)

    assert "ada@" not in await raw(house)
    assert "Countess" not in await raw(house)
    assert b"ada@" not in (message.data or b"")
    assert (await house.ledger.read("gardener-ada")).events == [hired]
    assert [each.event for each in await house.everything()] == [hired]


async def _has_message(house: House) -> bool:
    info = await house.bus.client.jetstream().streams_info()
    return any(each.config.name == house.bus.stream and each.state.messages for each in info)


async def test_an_optional_personal_field_that_is_absent_stays_absent(house: House) -> None:
    plain = GardenerHired(gardener_id="bob", email="")
    await house.record("gardener-bob", plain)

    assert (await house.ledger.read("gardener-bob")).events == [plain]


TOKEN = "X-Amz-Signature=s3cret"
ADDRESS = f"https://ada:pass@example.com/a.mp3?{TOKEN}"
addressed: dict[str, Event] = {
    "analysis-1": AnalysisRequested(
        analysis_id="1", workspace_id="w1", origin="url", source_url=ADDRESS, webhook_url=ADDRESS, requested_at=NOW
    ),
    "delivery-1": DeliveryQueued(
        delivery_id="1",
        workspace_id="w1",
        subject_kind="analysis",
        subject_id="1",
        url=ADDRESS,
        message_type="analysis.completed",
        queued_at=NOW,
    ),
    "endpoints-1": EndpointRegistered(
        endpoint_id="1", workspace_id="w1", url=ADDRESS, secret_id="1", registered_at=NOW, description="mine"
    ),
    "endpoints-2": EndpointMoved(endpoint_id="1", workspace_id="w1", url=ADDRESS, moved_at=NOW),
}


@pytest.mark.parametrize("stream", addressed)
async def test_an_address_is_sealed_shown_in_the_audit_without_its_secrets_and_gone_with_its_workspace(
    house: House, stream: str
) -> None:
    event = addressed[stream]
    await house.ledger.append(
        [Change(stream=stream, after=0, events=[event])], Context(correlation_id=uuid4(), workspace_id="w1")
    )
    audit = Audit(house.pool, house.keys, house.progress, house.followers, wait_seconds_max=1.0)

    async def told() -> dict[str, Any]:
        [entry] = await audit.find(Question(workspace_id="w1", limit=9)) or []
        assert entry.event is not None
        return particulars(entry.event)

    assert "example.com" not in await raw(house)
    assert (await house.ledger.read(stream)).events == [event]
    shown = await told()
    assert {shown[name] for name in shown if "url" in name} == {"https://example.com/a.mp3"}
    assert "description" not in shown, "what else is personal stays sealed"

    await house.keys.destroy("w1")
    [erased] = (await house.ledger.read(stream)).events
    assert "example.com" not in str(erased)
    assert ERASED in str(erased)
    assert "example.com" not in str(await told())


@pytest.mark.parametrize("stream", addressed)
async def test_an_address_from_before_it_was_sealed_is_read_until_its_workspace_is_forgotten(
    house: House, stream: str
) -> None:
    event = addressed[stream]
    await house.keys.ensure({"w1"})
    sealed = json.decode(codec.encode(event, house.keys))
    old = sealed | {name: ADDRESS for name in addresses(type(event)) if sealed[name] is not None}
    if "subject_id" in old:
        # Then deliveries were about analyses only, and their texts were not kept.
        old = old | {"analysis_id": old["subject_id"]}
        del old["subject_id"], old["subject_kind"], old["body"], old["signer"]
    await house.fetch(
        "INSERT INTO ledger_events (originator_id, originator_version, topic, state, schema_version, workspace_id) "
        "VALUES (%s, 1, %s, %s, 1, 'w1') RETURNING 1",
        stream,
        name_of(type(event)),
        json.encode(old),
    )
    assert (await house.ledger.read(stream)).events == [event]
    assert [each.event for each in await house.everything()] == [event]
    await house.keys.destroy("w1")
    [erased] = (await house.ledger.read(stream)).events
    assert "example.com" not in str(erased)


async def test_the_same_text_is_sealed_differently_each_time_and_bound_to_its_place(house: House) -> None:
    await house.keys.ensure({"ada", "bob"})
    first, second = (house.keys.seal("ada", "email", "x@y.z") for _ in range(2))

    assert first != second
    assert house.keys.unseal("ada", "email", first) == "x@y.z"
    assert house.keys.unseal("ada", "nickname", first) is None
    assert house.keys.unseal("bob", "email", first) is None
    assert house.keys.unseal("ada", "email", "x@y.z") is None


async def test_keys_are_of_no_use_without_the_servers_secret(house: House) -> None:
    await house.record("gardener-ada", hired)
    [(wrapped,)] = await house.fetch("SELECT wrapped FROM data_keys")
    stranger = DataKeys(house.pool, b"another secret of thirty-two bytes")

    assert len(wrapped) == 12 + 32 + 16
    with pytest.raises(InvalidTag):
        await stranger.load({"ada"})


async def test_a_forgotten_person_is_unreadable_in_replays_and_rebuilds_and_in_other_processes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = DataKeys(house.pool, SECRET)
    async with house.relaying(), house.projecting([gardeners()], []):
        await house.record("gardener-ada", hired)
        await house.record("gardener-bob", GardenerHired(gardener_id="bob", email="bob@example.com"))
        await house.caught_up("gardeners")
        await elsewhere.load({"ada"})
        await house.keys.destroy("ada")

        [ada] = (await house.ledger.read("gardener-ada")).events
        assert ada == GardenerHired(gardener_id="ada", email=ERASED, nickname=ERASED)
        # Another process goes on for as long as it remembers keys, and no longer.
        assert elsewhere._known["ada"].cipher is not None
        monkeypatch.setattr(data_keys, "CACHE_SECONDS", 0.0)
        await elsewhere.load({"ada"})
        assert elsewhere._known["ada"].cipher is None

        async with house.pool.connection() as connection:
            await request_rebuild(connection, "gardeners", 1)
        await eventually(
            lambda: house.fetch("SELECT 1 FROM checkpoints WHERE name = 'gardeners' AND live AND version = 2")
        )
        await eventually(lambda: _only_version(house, 2))
        documents = await house.documents("gardeners")

    assert json.decode(documents["ada"])["email"] == ERASED
    assert json.decode(documents["bob"])["email"] == "bob@example.com"


async def _only_version(house: House, version: int) -> bool:
    rows = await house.fetch("SELECT DISTINCT version FROM documents")
    return [row[0] for row in rows] == [version]


async def test_nothing_more_is_written_about_a_forgotten_person(house: House) -> None:
    await house.record("gardener-ada", hired)
    await house.keys.destroy("ada")

    with pytest.raises(SubjectIsForgotten):
        await house.record("gardener-ada", hired)
    with pytest.raises(SubjectIsForgotten):
        await DataKeys(house.pool, SECRET).ensure({"ada"})


async def test_many_who_need_a_new_key_at_once_get_the_same(house: House) -> None:
    everybody = [DataKeys(house.pool, SECRET) for _ in range(5)]
    await asyncio.gather(*(keys.ensure({"ada"}) for keys in everybody))
    sealed = everybody[0].seal("ada", "email", "x")

    assert [keys.unseal("ada", "email", sealed) for keys in everybody] == ["x"] * 5


def test_a_personal_field_is_found_wherever_its_mark_stands() -> None:
    class Marked(Event):
        owner: str
        plain: str
        one: Annotated[str, personal("owner")]
        two: Annotated[str, personal("owner")] | None = None
        three: Annotated[str | None, personal("owner")] = None

    assert personal_fields(Marked) == (("one", "owner"), ("two", "owner"), ("three", "owner"))


# --- shapes of old ---------------------------------------------------------------------------------------------------


def test_an_old_shape_is_read_as_todays_one_version_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TreeWatered, "schema_version", 3)
    monkeypatch.setattr(
        TreeWatered,
        "upcasters",
        {
            1: lambda facts: {"tree": facts["tree"], "gallons": facts["buckets"] * 2},
            2: lambda facts: {"tree_id": facts["tree"], "litres": facts["gallons"] * 4},
        },
    )

    assert codec.decode("core.TreeWatered", 1, b'{"tree":"1","buckets":2}') == TreeWatered(tree_id="1", litres=16)
    assert codec.decode("core.TreeWatered", 2, b'{"tree":"1","gallons":2}') == TreeWatered(tree_id="1", litres=8)
    assert codec.decode("core.TreeWatered", 3, b'{"tree_id":"1","litres":5}') == TreeWatered(tree_id="1", litres=5)


def test_a_shape_from_the_future_is_not_guessed_at() -> None:
    with pytest.raises(codec.UnknownEvent):
        codec.decode("core.TreeWatered", 2, b'{"tree_id":"1"}')


def test_a_renamed_event_keeps_its_old_name_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "renamed", lambda: {"garden.Sprinkled": "core.TreeWatered"})

    assert codec.decode("garden.Sprinkled", 1, b'{"tree_id":"1"}') == TreeWatered(tree_id="1")
