"""Webhook endpoints as rules, and as they are shown."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from commands.webhooks.endpoints import ChangeEndpoint, RegisterEndpoint, RemoveEndpoint, RotateEndpointSecret
from domain.kernel import Event
from domain.webhooks.endpoints import (
    ENDPOINTS_MAX,
    SECRETS_MAX,
    EndpointDescribed,
    EndpointDisabled,
    EndpointEnabled,
    EndpointMoved,
    EndpointRegistered,
    EndpointRemoved,
    EndpointSecretRotated,
    EndpointSubscribed,
    NoSuchEndpoint,
    TooManyEndpoints,
    UnknownEventType,
    endpoint_books,
)
from domain.webhooks.messages import messages
from projections.webhooks.endpoints import EndpointView, webhook_endpoints
from tests.scene import NOON, WORKSPACE, Scene

DAY = timedelta(hours=24)
register = RegisterEndpoint(
    endpoint_id="E", workspace_id=WORKSPACE, url="https://example.com/hook", secret_id="S1", description="studio"
)


def registered(endpoint_id: str = "E", **more: Any) -> EndpointRegistered:
    """An endpoint, enabled and open for everything."""
    facts: dict[str, Any] = {"url": "https://example.com/hook", "secret_id": "S1", "registered_at": NOON} | more
    return EndpointRegistered(endpoint_id=endpoint_id, workspace_id=WORKSPACE, **facts)


def known(*events: EndpointRegistered) -> Scene:
    """A workspace with these endpoints."""
    scene = Scene()
    scene.given(endpoint_books, WORKSPACE, *(events or (registered(),)))
    return scene


def change(**what: Any) -> ChangeEndpoint:
    return ChangeEndpoint(endpoint_id="E", workspace_id=WORKSPACE, **what)


async def test_an_endpoint_is_registered_once() -> None:
    scene = await Scene().when(register)
    scene.then(registered(description="studio"))
    (await scene.when(register)).then()


async def test_chosen_types_are_kept_in_one_order_each_once() -> None:
    chosen = ("analysis.failed", "analysis.completed", "analysis.failed")
    scene = await Scene().when(RegisterEndpoint(**{**_facts(register), "event_types": chosen}))
    scene.then(registered(description="studio", event_types=("analysis.completed", "analysis.failed")))


async def test_a_type_that_no_message_has_is_refused() -> None:
    wish = RegisterEndpoint(**{**_facts(register), "event_types": ("moon.full",)})
    assert "moon.full" in (await Scene().refused(wish, UnknownEventType)).sentence


async def test_a_workspace_has_only_so_many_endpoints() -> None:
    scene = known(*(registered(f"E{number}") for number in range(ENDPOINTS_MAX)))
    await scene.refused(register, TooManyEndpoints)
    await scene.when(RemoveEndpoint(endpoint_id="E7", workspace_id=WORKSPACE))
    assert isinstance((await scene.when(register)).news[0], EndpointRegistered)


async def test_only_what_is_different_is_written_down() -> None:
    scene = known()
    (await scene.when(change(url="https://example.com/hook", description="", enabled=True))).then()
    (await scene.when(change(url="https://example.org", description="d"))).then(
        EndpointMoved(endpoint_id="E", workspace_id=WORKSPACE, url="https://example.org", moved_at=NOON),
        EndpointDescribed(endpoint_id="E", workspace_id=WORKSPACE, description="d", described_at=NOON),
    )
    (await scene.when(change(event_types=("analysis.failed",), enabled=False))).then(
        EndpointSubscribed(
            endpoint_id="E", workspace_id=WORKSPACE, event_types=("analysis.failed",), subscribed_at=NOON
        ),
        EndpointDisabled(endpoint_id="E", workspace_id=WORKSPACE, because="asked", disabled_at=NOON),
    )
    (await scene.when(change(enabled=True))).then(
        EndpointEnabled(endpoint_id="E", workspace_id=WORKSPACE, enabled_at=NOON)
    )


async def test_what_is_not_there_can_be_neither_changed_nor_removed() -> None:
    for wish in (
        change(enabled=False),
        RemoveEndpoint(endpoint_id="E", workspace_id=WORKSPACE),
        RotateEndpointSecret(endpoint_id="E", workspace_id=WORKSPACE, secret_id="S2", overlap=DAY),
    ):
        await Scene().refused(wish, NoSuchEndpoint)
    elsewhere = RemoveEndpoint(endpoint_id="E", workspace_id="another")
    await known().refused(elsewhere, NoSuchEndpoint)


async def test_a_removed_endpoint_is_gone() -> None:
    scene = await known().when(RemoveEndpoint(endpoint_id="E", workspace_id=WORKSPACE))
    scene.then(EndpointRemoved(endpoint_id="E", workspace_id=WORKSPACE, removed_at=NOON))
    await scene.refused(RemoveEndpoint(endpoint_id="E", workspace_id=WORKSPACE), NoSuchEndpoint)


async def test_the_old_secret_signs_for_a_day_beside_the_new_one() -> None:
    rotate = RotateEndpointSecret(endpoint_id="E", workspace_id=WORKSPACE, secret_id="S2", overlap=DAY)
    scene = await known().when(rotate)
    scene.then(
        EndpointSecretRotated(
            endpoint_id="E", workspace_id=WORKSPACE, secret_id="S2", rotated_at=NOON, old_expires_at=NOON + DAY
        )
    )
    (await scene.when(rotate)).then()
    endpoint = endpoint_books.fold([each.event for each in scene.log.all]).endpoints["E"]
    assert endpoint.valid_secrets(NOON) == ["S2", "S1"]
    assert endpoint.valid_secrets(NOON + DAY) == ["S2"]


async def test_a_second_rotation_does_not_prolong_the_first_secret() -> None:
    scene = known()
    for number in range(2, SECRETS_MAX + 5):
        await scene.when(
            RotateEndpointSecret(endpoint_id="E", workspace_id=WORKSPACE, secret_id=f"S{number}", overlap=DAY)
        )
        scene.later(hours=12)
    endpoint = endpoint_books.fold([each.event for each in scene.log.all]).endpoints["E"]
    assert len(endpoint.secrets) == SECRETS_MAX
    assert len(endpoint.valid_secrets(scene.now)) == 2


def test_an_endpoint_wants_what_it_chose_and_nothing_while_disabled() -> None:
    book = endpoint_books.fold([registered("all"), registered("some", event_types=("analysis.failed",))])
    assert book.endpoints["all"].wants(messages()["analysis.completed"])
    assert not book.endpoints["some"].wants(messages()["analysis.completed"])
    assert book.endpoints["some"].wants(messages()["analysis.failed"])
    optional = messages()["analysis.artifacts_ready"]
    assert not book.endpoints["all"].wants(optional), "it was registered when there was no such message"
    pictures = endpoint_books.fold([registered("pictures", event_types=(optional.name,))])
    assert pictures.endpoints["pictures"].wants(optional)
    off = endpoint_books.fold([registered("off", enabled=False)])
    assert not off.endpoints["off"].wants(messages()["analysis.failed"])


def test_the_newest_enabled_endpoint_is_the_last_registered_that_is_not_disabled() -> None:
    assert endpoint_books.fold([]).newest_enabled() is None
    book = endpoint_books.fold([registered("1"), registered("2"), registered("3", enabled=False)])
    assert book.newest_enabled() == "2"


# --- the view -------------------------------------------------------------------------------------------------------


def shown(*events: Event) -> EndpointView | None:
    """The endpoint after these events."""
    document = None
    for event in events:
        assert webhook_endpoints.concerns(event) == "E"
        document = webhook_endpoints.evolve(document, event)
    return document


def test_an_endpoint_is_shown_with_everything_but_its_secrets() -> None:
    view = shown(registered(description="studio"))
    assert view == EndpointView(
        created_at="2026-11-22T12:00:00Z",
        updated_at="2026-11-22T12:00:00Z",
        id="E",
        url="https://example.com/hook",
        description="studio",
    )
    assert "S1" not in str(view)


def test_a_removed_endpoint_is_shown_no_more() -> None:
    removed = EndpointRemoved(endpoint_id="E", workspace_id=WORKSPACE, removed_at=NOON)
    assert shown(registered(), removed) is None


def test_one_word_sums_up_how_an_endpoint_is() -> None:
    disabled = EndpointDisabled(endpoint_id="E", workspace_id=WORKSPACE, because="gone", disabled_at=NOON)
    enabled = EndpointEnabled(endpoint_id="E", workspace_id=WORKSPACE, enabled_at=NOON)
    view = shown(registered(), disabled)
    assert view is not None
    assert (view.status, view.enabled, view.disabled_because) == ("disabled", False, "gone")
    view = shown(registered(), disabled, enabled)
    assert view is not None
    assert (view.status, view.enabled, view.disabled_because) == ("healthy", True, None)


def _facts(command: RegisterEndpoint) -> dict[str, Any]:
    return {name: getattr(command, name) for name in command.__struct_fields__}
