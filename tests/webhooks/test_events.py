"""Published events over webhooks: every type, chosen by name or by pattern, in the words of every other way."""

from __future__ import annotations

import pytest
from msgspec import json
from msgspec.structs import replace

from adapters.log import codec
from commands.webhooks.reactions import deliver, queue_event
from domain.kernel import ERASED
from domain.ledger import Recorded
from domain.published import CLOUDEVENT, Published, published_events
from domain.webhooks.deliveries import DeliveryAttempted, DeliveryGivenUp, DeliveryQueued, deliveries
from domain.webhooks.endpoints import (
    EndpointDescribed,
    EndpointRecovered,
    UnknownEventType,
    check_types,
    endpoint_books,
    events_for_endpoints,
)
from tests import history
from tests.scene import NOON, WORKSPACE, PublishedLog, Scene, stored
from tests.webhooks.test_deliveries import answer
from tests.webhooks.test_endpoints import registered
from tests.webhooks.test_messages import verified_at

CONTEXTS = sorted({each.context for each in published_events().values()})


def happened(each: Published, scene: Scene) -> Recorded:
    """An event of this type, as one was stored once."""
    line = [line for line in history.lines() if line.name == each.type][-1]
    scene.log.keep("thing-1", codec.decode(line.name, line.schema_version, line.facts), scene.context)
    return scene.log.all[-1]


def queued(scene: Scene) -> list[DeliveryQueued]:
    return [each.event for each in scene.log.all if isinstance(each.event, DeliveryQueued)]


@pytest.mark.parametrize("context", CONTEXTS)
async def test_every_published_event_is_told_to_whoever_has_chosen_it_and_to_nobody_else(context: str) -> None:
    theirs = [each for each in events_for_endpoints().values() if each.context == context]
    for each in theirs:
        scene = Scene()
        others = tuple(other.type for other in theirs if other is not each)
        scene.given(
            endpoint_books,
            WORKSPACE,
            registered("by name", event_types=(each.type,)),
            registered("by pattern", event_types=(f"{context}.*",)),
            registered("others", event_types=(*others, "analysis.completed")),
            registered("nothing"),
            registered("off", enabled=False, event_types=(each.type,)),
        )
        scene.given(endpoint_books, "another", registered("elsewhere", event_types=("*",)))
        recorded = happened(each, scene)
        await scene.follows(queue_event, recorded)
        await scene.follows(queue_event, recorded)

        told = queued(scene)
        assert [one.endpoint_id for one in told] == ["by name", "by pattern"], each.type
        words = PublishedLog(scene.log).envelopes.write(stored(recorded))
        assert words is not None
        for one in told:
            assert (one.body, one.message_type) == (words.decode(), each.type)
            assert (one.subject_kind, one.subject_id) == ("event", str(recorded.event_id))
        assert told[0].delivery_id != told[1].delivery_id


async def test_an_event_is_signed_and_says_the_same_on_every_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    scene.given(endpoint_books, WORKSPACE, registered("E", event_types=("builds.*",)))
    recorded = happened(published_events()["builds.BuildSucceeded"], scene)
    await scene.follows(queue_event, recorded)
    delivery = scene.last(DeliveryQueued)
    assert isinstance(delivery.event, DeliveryQueued)
    scene.web.answers[delivery.event.url] = [answer(500), answer(200)]
    await scene.follows(deliver, delivery)
    # Meanwhile a new version of the software says the same in other words.
    monkeypatch.setattr("adapters.published.Envelopes.write", lambda self, row: b'{"other": "words"}')
    scene.now = NOON.replace(minute=5)
    await scene.follows(deliver, scene.last(DeliveryAttempted))

    first, second = scene.web.sent
    assert first.body == second.body == (delivery.event.body or "").encode()
    assert json.decode(first.body)["id"] == str(recorded.event_id)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    for sent, scene.now in ((first, NOON), (second, NOON.replace(minute=5))):
        assert sent.headers["Content-Type"] == CLOUDEVENT
        assert verified_at(scene, sent.headers["webhook-id"], sent.body, dict(sent.headers))


async def test_of_a_workspace_that_is_forgotten_nothing_more_is_sent() -> None:
    scene = Scene()
    scene.given(endpoint_books, WORKSPACE, registered("E", event_types=("builds.*",)))
    await scene.follows(queue_event, happened(published_events()["builds.BuildSucceeded"], scene))
    [before] = queued(scene)
    scene = Scene()
    scene.given(endpoint_books, WORKSPACE, registered("E"))
    last = scene.given(deliveries, before.delivery_id, replace(before, url=ERASED, body=ERASED))
    await scene.follows(deliver, last)
    assert [type(each) for each in scene.news] == [DeliveryGivenUp]
    assert not scene.web.sent


def test_messages_and_events_are_chosen_beside_each_other_in_one_order() -> None:
    chosen = ("catalogue.*", "analysis.failed", "builds.BuildSucceeded", "analysis.completed", "catalogue.*")
    assert check_types(chosen) == ("analysis.completed", "analysis.failed", "builds.BuildSucceeded", "catalogue.*")
    assert check_types(("*",)) == ("*",)


@pytest.mark.parametrize(
    ("event_type", "told"),
    [
        ("builds.BuildSuceeded", ["analysis.completed", "builds.BuildSucceeded", "catalogue.*"]),
        ("moon.full", ["analysis.completed", "builds.*", "webhooks.*"]),
        ("moon.*", ["builds.*"]),
        ("analysis.*", ["analysis.completed", "analyses.*"]),
        ("webhooks.EndpointFailing", ["webhooks.EndpointDisabled"]),
        ("webhooks.DeliveryQueued", ["webhooks.EndpointDisabled"]),
        ("", ["builds.*"]),
        ("builds.BUILDSUCCEEDED", ["builds.BuildSucceeded"]),
    ],
)
def test_what_nobody_has_is_refused_and_what_there_is_is_named(event_type: str, told: list[str]) -> None:
    with pytest.raises(UnknownEventType) as refused:
        check_types((event_type,))
    choices = refused.value.sentence.partition("Choose from ")[2].rstrip(".").split(", ")
    assert set(told) <= set(choices)
    for each in choices:
        assert check_types((each,)) == (each,)


async def test_whoever_is_told_by_messages_is_not_told_how_messages_fare() -> None:
    """A receiver that takes the news of its recovery ill would fail and recover for ever."""
    scene = Scene()
    scene.given(endpoint_books, WORKSPACE, registered("E", event_types=("*",)))
    recovered = scene.given(
        endpoint_books, WORKSPACE, EndpointRecovered(endpoint_id="E", workspace_id=WORKSPACE, recovered_at=NOON)
    )
    assert not queue_event.concerns(recovered.event)
    described = EndpointDescribed(endpoint_id="E", workspace_id=WORKSPACE, description="d", described_at=NOON)
    assert queue_event.concerns(described)
