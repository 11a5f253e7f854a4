"""Replays of published events: each is told once under one id, beside what happens now, until somebody ends it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec import json
from msgspec.structs import replace

from commands.webhooks.endpoints import ChangeEndpoint, RemoveEndpoint
from commands.webhooks.reactions import deliver, queue_event
from commands.webhooks.replaying import SENDERS, STEP_EVENTS, replay_events
from commands.webhooks.replays import AdvanceReplay, AskForReplay, EndReplay
from domain.kernel import Event, Refusal
from domain.ledger import Recorded
from domain.webhooks.deliveries import DeliveryAttempted, DeliveryGivenUp, DeliveryQueued, deliveries
from domain.webhooks.endpoints import EndpointDescribed, NoSuchEndpoint, endpoint_books
from domain.webhooks.replays import (
    REPLAYS_MAX,
    EndpointIsOff,
    OpenReplaysChanged,
    ReplayAdvanced,
    ReplayAsked,
    ReplayEnded,
    TooManyReplays,
    open_replays,
    replays,
)
from projections.webhooks.replays import ReplayView, webhook_replays
from tests.scene import NOON, WORKSPACE, Scene
from tests.webhooks.test_deliveries import answer
from tests.webhooks.test_endpoints import registered

TYPE = "webhooks.EndpointDescribed"
URL = "https://example.com/hook"


def described(number: int) -> EndpointDescribed:
    return EndpointDescribed(endpoint_id="another", workspace_id=WORKSPACE, description=str(number), described_at=NOON)


def happened(count: int) -> tuple[Scene, list[Recorded]]:
    """A workspace in which so much has happened, with an endpoint that has chosen none of it."""
    scene = Scene()
    events = [scene.given(endpoint_books, "other", described(number)) for number in range(count)]
    scene.given(endpoint_books, WORKSPACE, registered("E", event_types=("analysis.failed",)))
    return scene, events


def wish(scene: Scene, **more: Any) -> AskForReplay:
    facts: dict[str, Any] = {
        "replay_id": "R",
        "workspace_id": WORKSPACE,
        "endpoint_id": "E",
        "after": 0,
        "until": len(scene.log.all),
        "event_types": (TYPE,),
        "events": 3,
    } | more
    return AskForReplay(**facts)


async def run(scene: Scene, asked: AskForReplay) -> ReplayView:
    """A replay from its beginning to where nothing follows any more, each step twice."""
    await scene.when(asked)
    return await carry_on(scene, asked.replay_id)


async def carry_on(scene: Scene, replay_id: str = "R") -> ReplayView:
    for each in scene.log.all:
        if replay_events.concerns(each.event) and getattr(each.event, "replay_id", "") == replay_id:
            await scene.follows(replay_events, each)
            await scene.follows(replay_events, each)
    return shown(scene, replay_id)


def shown(scene: Scene, replay_id: str = "R") -> ReplayView:
    events = [each.event for each in scene.log.all if each.stream == f"webhookreplay-{replay_id}"]
    view: ReplayView | None = None
    for event in events:
        view = webhook_replays.evolve(view, event)
    assert view is not None
    return view


def open_now(scene: Scene) -> tuple[str, ...]:
    changes = [each.event for each in scene.log.all if each.stream == f"openreplays-{WORKSPACE}"]
    return open_replays.fold(changes).replay_ids


async def test_a_range_is_told_once_and_the_replay_says_how_far_it_is() -> None:
    count = 2 * STEP_EVENTS + 5
    scene, events = happened(count)
    view = await run(scene, wish(scene, after=events[0].position, events=count - 1))

    ids = [json.decode(each.body)["id"] for each in scene.web.sent]
    assert ids == [str(each.event_id) for each in events[1:]]
    assert len({each.headers["webhook-id"] for each in scene.web.sent}) == count - 1
    steps = [each.event for each in scene.log.all if isinstance(each.event, ReplayAdvanced)]
    assert [step.delivered for step in steps] == [STEP_EVENTS, STEP_EVENTS, 4]
    assert (view.status, view.delivered, view.failed, view.skipped) == ("done", count - 1, 0, 0)
    assert view.position == view.until
    assert view.ended_at is not None
    assert open_now(scene) == ()


async def test_what_is_told_now_is_not_told_again_by_a_replay_nor_the_other_way_round() -> None:
    scene, _ = happened(0)
    scene.given(endpoint_books, WORKSPACE, registered("E", event_types=(TYPE,)))
    arrived, on_its_way, missed, before = [
        scene.given(endpoint_books, f"other {number}", described(number)) for number in range(4)
    ]
    for each in (arrived, on_its_way, missed):
        await scene.follows(queue_event, each)
    queued = [each for each in scene.log.all if isinstance(each.event, DeliveryQueued)]
    scene.web.answers[URL] = [answer(200)]
    await scene.follows(deliver, queued[0])
    given_up = queued[2].event
    assert isinstance(given_up, DeliveryQueued)
    scene.given(
        deliveries,
        given_up.delivery_id,
        DeliveryGivenUp(
            delivery_id=given_up.delivery_id, subject_kind="event", subject_id="x", reason="no", given_up_at=NOON
        ),
    )
    scene.web.answers[URL] = [answer(200), answer(200)]
    view = await run(scene, wish(scene, event_types=(TYPE,)))

    assert (view.delivered, view.skipped, view.failed) == (2, 2, 0)
    told = [json.decode(each.body)["id"] for each in scene.web.sent]
    assert told == [str(arrived.event_id), str(missed.event_id), str(before.event_id)]
    assert scene.web.sent[1].headers["webhook-id"] == f"msg_{given_up.delivery_id}"
    # And what happens to be noticed only now has been told.
    await scene.follows(queue_event, before)
    assert scene.news == []
    # Nor is what is on its way told by one that tells again what has arrived.
    view = await run(scene, wish(scene, replay_id="again", event_types=(TYPE,), again=True))
    assert (view.delivered, view.skipped, view.failed) == (3, 1, 0)
    assert str(on_its_way.event_id) not in [json.decode(each.body)["id"] for each in scene.web.sent]


async def test_what_has_arrived_is_told_again_only_where_that_is_asked_and_under_its_id_and_in_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene, _ = happened(3)
    await run(scene, wish(scene))
    before = list(scene.web.sent)
    monkeypatch.setattr("adapters.published.Envelopes.write", lambda self, row: b'{"other": "words"}')
    assert (await run(scene, wish(scene, replay_id="missed"))).skipped == 3
    assert (await run(scene, wish(scene, replay_id="again", again=True))).delivered == 3
    again = scene.web.sent[3:]
    assert [each.body for each in again] == [each.body for each in before]
    assert [each.headers["webhook-id"] for each in again] == [each.headers["webhook-id"] for each in before]


async def test_where_nothing_arrives_it_goes_on_later_and_later_and_what_failed_is_tried_again() -> None:
    scene, _ = happened(3 * STEP_EVENTS)
    scene.settings["webhook_retry_seconds"] = (5, 300)
    scene.web.answers[URL] = [answer(500) for _ in range(3 * STEP_EVENTS)]
    view = await run(scene, wish(scene))
    steps = [each.event for each in scene.log.all if isinstance(each.event, ReplayAdvanced)]
    assert [each.goes_on_at for each in steps if each.goes_on_at] == [
        NOON + timedelta(seconds=seconds) for seconds in (5, 300, 300)
    ]
    assert [replay_events.due(each) for each in steps] == [each.goes_on_at for each in steps]
    assert (view.failed, view.delivered) == (3 * STEP_EVENTS, 0)
    attempts = [each for each in scene.log.all if isinstance(each.event, DeliveryAttempted)]
    assert len(attempts) == 3 * STEP_EVENTS
    scene.web.answers[URL] = [answer(200)]
    await scene.follows(deliver, attempts[0])
    assert len(scene.web.sent) == 3 * STEP_EVENTS + 1


async def test_its_deliveries_are_its_own_to_send_and_others_do_so_only_where_it_died() -> None:
    scene, events = happened(1)
    await run(scene, wish(scene))
    recorded = scene.last(DeliveryQueued)
    assert deliver.due(recorded.event) == NOON + timedelta(minutes=1)
    await scene.follows(deliver, recorded)
    assert len(scene.web.sent) == len(events)
    # It died before it sent anything.
    scene, _ = happened(0)
    died = scene.given(endpoint_books, "x", described(1))
    await scene.follows(queue_event, died)
    assert isinstance(recorded.event, DeliveryQueued)
    scene.log.keep(recorded.stream, recorded.event, scene.context)
    await scene.follows(deliver, scene.log.all[-1])
    assert len(scene.web.sent) == 1


@pytest.mark.parametrize("how", ["cancelled", "removed", "disabled"])
async def test_a_replay_that_is_ended_sends_nothing_more(how: str) -> None:
    scene, _ = happened(2 * STEP_EVENTS)
    await scene.when(wish(scene))
    await scene.follows(replay_events, scene.last(ReplayAsked))
    assert len(scene.web.sent) == STEP_EVENTS
    match how:
        case "cancelled":
            await scene.when(EndReplay(replay_id="R", because="cancelled"))
        case "removed":
            await scene.when(RemoveEndpoint(endpoint_id="E", workspace_id=WORKSPACE))
        case "disabled":
            await scene.when(ChangeEndpoint(endpoint_id="E", workspace_id=WORKSPACE, enabled=False))
    view = await carry_on(scene)
    assert view.status == how
    assert len(scene.web.sent) == STEP_EVENTS
    assert open_now(scene) == ()
    (await scene.when(EndReplay(replay_id="R", because="done"))).then()
    advance = AdvanceReplay(replay_id="R", after=view.position, position=99, delivered=1, failed=0, skipped=0)
    (await scene.when(advance)).then()


async def test_it_is_cancelled_between_two_events_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, _ = happened(STEP_EVENTS)
    await scene.when(wish(scene))
    asked = scene.last(ReplayAsked)
    post = scene.web.post

    async def posted(*what: Any, **more: Any) -> Any:
        scene.log.keep(asked.stream, ReplayEnded(replay_id="R", because="cancelled", ended_at=NOON), scene.context)
        return await post(*what, **more)

    monkeypatch.setattr(scene.web, "post", posted)
    await scene.follows(replay_events, asked)
    assert 1 <= len(scene.web.sent) <= SENDERS
    assert not [each for each in scene.news if isinstance(each, ReplayAdvanced)]


async def test_a_step_that_died_before_it_was_written_down_is_done_once_and_counted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene, _ = happened(3)
    scene.web.answers[URL] = [answer(200), answer(500), answer(200)]
    await scene.when(wish(scene))
    asked = scene.last(ReplayAsked)

    def dies(**_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("commands.webhooks.replaying.AdvanceReplay", dies)
        with pytest.raises(KeyboardInterrupt):
            await scene.follows(replay_events, asked)
    await scene.follows(replay_events, asked)
    assert len(scene.web.sent) == 3
    view = shown(scene)
    assert (view.status, view.delivered, view.failed, view.skipped) == ("done", 2, 1, 0)


async def test_of_two_who_take_the_same_step_one_is_counted() -> None:
    scene, _ = happened(3)
    await scene.when(wish(scene))
    step = AdvanceReplay(replay_id="R", after=0, position=1, delivered=1, failed=0, skipped=0)
    await scene.when(step)
    (await scene.when(step)).then()
    (await scene.when(replace(step, position=2))).then()


async def test_a_replay_is_begun_once_and_there_are_only_so_many() -> None:
    scene, _ = happened(1)
    await scene.when(wish(scene))
    assert [type(each) for each in scene.news] == [ReplayAsked, OpenReplaysChanged]
    (await scene.when(wish(scene, until=1))).then()
    for number in range(REPLAYS_MAX - 1):
        await scene.when(wish(scene, replay_id=f"R{number}"))
    await scene.refused(wish(scene, replay_id="more"), TooManyReplays)
    await scene.when(EndReplay(replay_id="R2", because="cancelled"))
    await scene.when(wish(scene, replay_id="more"))
    assert open_now(scene) == ("R", "R0", "R1", "R3", "more")


@pytest.mark.parametrize(
    ("what", "refusal"),
    [
        ({"endpoint_id": "nobody's"}, NoSuchEndpoint),
        ({"workspace_id": "another"}, NoSuchEndpoint),
        ({"endpoint_id": "off"}, EndpointIsOff),
    ],
)
async def test_nobody_else_is_told(what: dict[str, str], refusal: type[Refusal]) -> None:
    scene, _ = happened(1)
    scene.given(endpoint_books, WORKSPACE, registered("off", enabled=False))
    await scene.refused(wish(scene, **what), refusal)


async def test_one_that_cannot_go_on_says_so_and_makes_room() -> None:
    scene, _ = happened(1)
    await scene.when(wish(scene))
    asked = scene.last(ReplayAsked)
    assert replay_events.gives_up is not None
    await replay_events.gives_up(asked, await scene.ports(replay_events.ports), "no")
    ended: Event = scene.log.all[-2].event
    assert ended == ReplayEnded(replay_id="R", because="failed", ended_at=scene.now)
    assert open_now(scene) == ()
    assert replays.fold([asked.event, ended]).is_over
