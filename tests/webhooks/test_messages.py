"""Every message there is, tried in all that its declaration promises."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import pytest
from msgspec import json
from msgspec.structs import replace

from api.webhooks.messages import event_types
from commands.webhooks.reactions import MESSAGES, deliver, queue_delivery
from domain.analyses.analyses import Artifact, ReportDrawn
from domain.kernel import Event, Value
from domain.ledger import Recorded
from domain.vocabulary import events
from domain.webhooks.deliveries import DeliveryAttempted, DeliveryQueued
from domain.webhooks.endpoints import UnknownEventType, check_types, endpoint_books, events_for_endpoints
from domain.webhooks.messages import Find, Message, OwnAddress, Recipient, Subject, messages
from domain.webhooks.signing import SIGNERS, Outgoing, standard_webhooks
from projections.analyses.messages import analysis_completed
from tests.scene import NOON, WORKSPACE, Scene
from tests.webhooks.test_deliveries import answer
from tests.webhooks.test_endpoints import registered

ALL = messages()
ON_EVENTS = {name: each for name, each in ALL.items() if each.on is not None}


def happened(message: Message, scene: Scene) -> Recorded:
    """The example of a message, happened: its last event."""
    kind = subject_of(message).kind
    for event in message.example:
        scene.log.keep(f"{kind}-{subject_of(message).id}", event, scene.context)
    return scene.log.all[-1]


def subject_of(message: Message) -> Subject:
    """What the example is about: the first id that its last event names."""
    event = message.example[-1]
    field = next(field for field in event.__struct_fields__ if field.endswith("_id"))
    return Subject(kind=field.removesuffix("_id"), id=getattr(event, field), workspace_id=WORKSPACE)


def data(message: Message, text: str) -> Any:
    """What a message tells, read by its schema and by nothing else."""
    told = json.decode(text)
    assert told["type"] == message.name
    read = msgspec.convert(told["data"], message.schema, strict=True)
    assert json.decode(json.encode(read)) == told["data"], "there is more in it than its schema says"
    return told["data"]


@pytest.mark.parametrize("message", ALL.values(), ids=ALL)
def test_a_message_is_documented(message: Message) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9_]+(\.[a-zA-Z0-9_]+)+", message.name), "as Standard Webhooks wants it"
    assert re.fullmatch(r"[A-Z].*\.", message.says)
    assert json.schema(message.schema)
    subject = subject_of(message) if message.example else Subject(kind="endpoint", id="E", workspace_id=WORKSPACE)
    text = message.write(subject, message.example, NOON)
    data(message, text)
    assert len(text) < 20_000


@pytest.mark.parametrize("message", ON_EVENTS.values(), ids=ON_EVENTS)
def test_a_message_is_on_an_event_that_ends_its_example(message: Message) -> None:
    assert message.on in events().values()
    assert type(message.example[-1]) is message.on
    assert getattr(message.example[-1], message.at).tzinfo is not None
    assert list(message.until(message.example)) == list(message.example)
    assert message.until(message.example[:-1]) == ()
    assert message.sample() == message.write(subject_of(message), message.example, NOON)


def test_the_list_of_event_types_is_made_from_the_declarations() -> None:
    listed = event_types("https://ledger.example")
    assert [each.name for each in listed] == [*ON_EVENTS, *events_for_endpoints()]
    for each in listed:
        assert check_types((each.name,)) == (each.name,)
        assert each.published == (each.name not in ON_EVENTS)
    for each, message in zip(listed, ON_EVENTS.values(), strict=False):
        assert each.description == message.says
        assert each.example == json.decode(message.sample())
        assert set(each.example["data"]) == set(schema_of(each.schema)["properties"])


def schema_of(schema: dict[str, Any]) -> dict[str, Any]:
    """What a JSON Schema refers to at its top."""
    found: dict[str, Any] = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    return found


@pytest.mark.parametrize("message", ON_EVENTS.values(), ids=ON_EVENTS)
async def test_endpoints_that_want_a_message_get_it_once_and_no_others(message: Message) -> None:
    scene = Scene()
    others = tuple(name for name in ON_EVENTS if name != message.name)
    scene.given(
        endpoint_books,
        WORKSPACE,
        registered("chose it", event_types=check_types((message.name,))),
        registered("chose others", event_types=check_types(others)),
        registered("chose nothing"),
        registered("off", enabled=False, event_types=(message.name,)),
    )
    last = happened(message, scene)
    await scene.follows(queue_delivery, last)
    await scene.follows(queue_delivery, last)
    queued = [each.event for each in scene.log.all if isinstance(each.event, DeliveryQueued)]
    to_endpoints = [each.endpoint_id for each in queued if each.endpoint_id and each.message_type == message.name]
    assert to_endpoints == (["chose it"] if message.optional else ["chose it", "chose nothing"])
    assert {each.message_type for each in queued} == {message.name}
    for each in queued:
        assert f"{each.subject_kind}-{each.subject_id}" == last.stream
        if each.endpoint_id:
            data(message, each.body or "")


@pytest.mark.parametrize("message", ON_EVENTS.values(), ids=ON_EVENTS)
async def test_a_message_is_sent_as_of_its_event_and_the_same_on_every_attempt(
    message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene()
    scene.given(endpoint_books, WORKSPACE, registered("E", event_types=(message.name,)))
    last = happened(message, scene)
    # It is noticed late: more has happened, and between two attempts the software changes what such a message tells.
    for event in later(message):
        scene.log.keep(last.stream, event, scene.context)
    await scene.follows(queue_delivery, last)
    [queued] = [each for each in scene.log.all if isinstance(each.event, DeliveryQueued) and each.event.endpoint_id]
    assert isinstance(queued.event, DeliveryQueued)
    assert queued.event.body == message.write(subject_of(message), message.example, NOON)
    scene.web.answers[queued.event.url] = [answer(500), answer(200)]
    await scene.follows(deliver, queued)
    monkeypatch.setitem(messages(), message.name, replace(message, body=lambda subject, events: subject))
    await scene.follows(deliver, scene.last(DeliveryAttempted))
    first, second = scene.web.sent
    assert first.body == second.body == (queued.event.body or "").encode()
    assert verified_at(scene, second.headers["webhook-id"], second.body, dict(second.headers))


def later(message: Message) -> list[Event]:
    """More that happens to the subject of a message: all examples of its context, once more."""
    return [each.example[-1] for each in ON_EVENTS.values() if subject_of(each) == subject_of(message)]


def verified_at(scene: Scene, message_id: str, body: bytes, headers: dict[str, str]) -> bool:
    """Whether the endpoint's secret signed it; the library wants a time near now, and the test has its own."""
    text = scene.vault.signing_secret("S1")
    mine = Outgoing(message_id=message_id, message_type="", sent_at=scene.now, body=body, secrets=[text])
    return standard_webhooks(mine)["webhook-signature"] == headers["webhook-signature"]


async def test_an_address_of_its_own_gets_its_own_body_under_its_own_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    class Status(Value):
        """What the studio's receivers read."""

        event: str
        build_id: str

    async def address(subject: Subject, events: Sequence[Event], find: Find) -> str | None:
        # It may stand elsewhere than in the subject's own events.
        known = await find(endpoint_books, subject.workspace_id)
        return "https://studio.example/hook" if known.endpoints else None

    async def recipient(subject: Subject, find: Find, now: datetime) -> Recipient | None:
        return Recipient(secret_ids=[f"project of {subject.id}"])

    studio = OwnAddress(
        url=address,
        body=lambda subject, events: Status(event="build.status", build_id=subject.id),
        schema=Status,
        signer=SIGNERS["beatconnect"],
        recipient=recipient,
    )
    message = replace(analysis_completed, own=studio)
    assert message.on is not None
    monkeypatch.setitem(messages(), message.name, message)
    monkeypatch.setitem(MESSAGES, message.on, [message])
    scene = Scene()
    scene.given(endpoint_books, WORKSPACE, registered("E", enabled=False))
    last = happened(message, scene)
    await scene.follows(queue_delivery, last)
    await scene.follows(deliver, scene.last(DeliveryQueued))

    [sent] = scene.web.sent
    assert sent.url == "https://studio.example/hook"
    assert json.decode(sent.body) == {"event": "build.status", "build_id": subject_of(message).id}
    secret = scene.vault.signing_secret(f"project of {subject_of(message).id}")
    expected = "sha256=" + hmac.new(secret.encode(), sent.body, hashlib.sha256).hexdigest()
    assert sent.headers["X-BeatConnect-Signature"] == expected
    assert sent.headers["X-BeatConnect-Event"] == message.name
    event = scene.last(DeliveryAttempted).event
    assert isinstance(event, DeliveryAttempted)
    assert event.signature == expected


async def test_a_message_from_before_bodies_were_kept_tells_what_was_so_then() -> None:
    scene = Scene()
    scene.given(endpoint_books, WORKSPACE, registered("E"))
    last = happened(analysis_completed, scene)
    drawn = ReportDrawn(
        analysis_id=subject_of(analysis_completed).id,
        artifacts=(Artifact(name="overview.png", object_key="k", content_type="image/png", size=1),),
        drawn_at=NOON,
    )
    scene.log.keep(last.stream, drawn, scene.context)
    await scene.follows(queue_delivery, last)
    event = scene.last(DeliveryQueued).event
    assert isinstance(event, DeliveryQueued)
    scene.log.keep("delivery-old", replace(event, delivery_id="old", body=None), scene.context)
    await scene.follows(deliver, scene.log.all[-1])
    assert scene.web.sent[-1].body == (event.body or "").encode()


def test_endpoints_choose_among_the_messages_that_are_on_events() -> None:
    assert check_types(tuple(reversed(ON_EVENTS))) == tuple(ON_EVENTS)
    with pytest.raises(UnknownEventType, match=r"analysis\.artifacts_ready"):
        check_types(("webhook.ping",))


def test_signers_are_named() -> None:
    assert {name: each.name for name, each in SIGNERS.items()} == {name: name for name in SIGNERS}
    assert set(SIGNERS) >= {"standard-webhooks", "beatconnect"}
