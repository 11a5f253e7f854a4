"""Whenever whoever opens a checkout is killed, no page of the provider stays open that is not written down."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from adapters.log.memory import MemoryLedger
from adapters.payments.stripe import Payments, PaymentsUnavailable
from api.auth import Asker
from api.billing.payments import Checkout, open_checkout
from commands.billing.ports import Order, Subscriptions
from commands.billing.reactions import CHECKOUT_TIME, close_checkout
from commands.billing.settings import Plans
from commands.billing.subscriptions import BeginCheckout
from commands.kernel import Execute
from domain.billing.subscriptions import (
    AlreadySubscribed,
    CheckoutAbandoned,
    CheckoutBegun,
    CheckoutOpened,
    CustomerLinked,
    SubscriptionObserved,
    billings,
)
from domain.kernel import ERASED
from domain.ledger import Change, Context
from tests.billing.little_stripe import LittleStripe
from tests.scene import NOON, WORKSPACE, Scene


class Killed(BaseException):
    """The process is no more."""


@dataclass
class Life:
    """So many more effects outside itself has a process, and is killed right after the last."""

    left: int | None = None

    def spend(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise Killed


class MortalLedger(MemoryLedger):
    """A ledger whose writer may be killed after any append."""

    life = Life()

    async def append(self, changes: Sequence[Change], context: Context) -> int:
        position = await super().append(changes, context)
        if changes:
            self.life.spend()
        return position


class MortalPayments(Payments):
    """A provider whose client may be killed after any answer."""

    life = Life()

    async def create_customer(self, workspace_id: str) -> str:
        customer_id = await super().create_customer(workspace_id)
        self.life.spend()
        return customer_id

    async def open_checkout(self, order: Order) -> Any:
        opened = await super().open_checkout(order)
        self.life.spend()
        return opened

    async def close_checkout(self, order: Order) -> tuple[str, bool]:
        closed = await super().close_checkout(order)
        self.life.spend()
        return closed

    async def close_page(self, checkout_id: str) -> Any:
        closed = await super().close_page(checkout_id)
        self.life.spend()
        return closed


@pytest.fixture
async def scene(stripe: LittleStripe) -> AsyncIterator[Scene]:
    payments = MortalPayments("sk_test_little", [stripe.secret], api_url=stripe.url)
    yield Scene(log=MortalLedger(lambda: NOON), more={Subscriptions: payments})
    await payments.close()


def live(scene: Scene, effects: int | None) -> None:
    """From now on whoever acts is killed after so many effects."""
    scene.log.life = scene.more[Subscriptions].life = Life(effects)  # type: ignore[attr-defined]  # it is a mortal one


async def ask(scene: Scene) -> Any:
    """Open a checkout, as the route does it."""
    ports = SimpleNamespace(
        execute=Execute(scene.log, lambda: scene.now),
        log=scene.log,
        now=lambda: scene.now,
        plans=SimpleNamespace(settings={Plans: Plans(stripe_prices={"pro": "price_pro"})}),
        service=SimpleNamespace(url="https://beats.example"),
        vault=scene.vault,
        payments=scene.more[Subscriptions],
    )
    asker = Asker(
        workspace_id=WORKSPACE, person_id="ada", actor="person:ada", scopes=(), correlation_id=UUID(int=1), role="owner"
    )
    return await open_checkout.fn(data=Checkout(), ports=ports, asker=asker)


async def settle(scene: Scene) -> None:
    """What follows from every attempt once its time is over."""
    for each in [each for each in scene.log.all if isinstance(each.event, CheckoutBegun)]:
        await scene.follows(close_checkout, each)


def written_down(scene: Scene, stripe: LittleStripe) -> None:
    """What is open at the provider is known as opened, what was closed there as abandoned, and nothing else is."""
    events = [each.event for each in scene.log.all]
    opened = {each.checkout_id for each in events if isinstance(each, CheckoutOpened)}
    abandoned = {each.checkout_id for each in events if isinstance(each, CheckoutAbandoned)}
    states = {session_id: session["status"] for session_id, session in stripe.sessions.items()}
    assert {each for each, status in states.items() if status == "open"} == opened
    assert {each for each, status in states.items() if status == "expired"} == abandoned
    assert {each.customer_id for each in events if isinstance(each, CustomerLinked)} == set(stripe.customers)


#: What opening a checkout does outside its process: written down that it begins, a customer made, that written down,
#: a page made, that written down.
EFFECTS = 5


@pytest.mark.parametrize("effects", range(1, EFFECTS + 1))
@pytest.mark.parametrize("then", [None, 1, 2, 3])
async def test_whoever_is_killed_leaves_no_page_that_nobody_knows(
    scene: Scene, stripe: LittleStripe, effects: int, then: int | None
) -> None:
    live(scene, effects)
    with pytest.raises(Killed):
        await ask(scene)
    # Whoever looks after it may be killed as well, at any moment, and begins again.
    live(scene, then)
    with suppress(Killed):
        await settle(scene)
    live(scene, None)
    await settle(scene)
    await settle(scene)
    written_down(scene, stripe)
    assert len(stripe.sessions) == len(stripe.customers) == 1


@pytest.mark.parametrize("effects", range(1, EFFECTS + 1))
async def test_whoever_begins_again_after_one_was_killed_has_the_only_page_that_is_open(
    scene: Scene, stripe: LittleStripe, effects: int
) -> None:
    live(scene, effects)
    with pytest.raises(Killed):
        await ask(scene)
    live(scene, None)
    page = await ask(scene)

    def open_pages() -> list[str]:
        return [session_id for session_id, session in stripe.sessions.items() if session["status"] == "open"]

    assert open_pages() == [page.id], "at once, and not only when somebody looks after what was left"
    await settle(scene)
    assert open_pages() == [page.id]
    assert [each.id for each in (await scene.log.state(billings, WORKSPACE)).pages] == [page.id]


@pytest.mark.parametrize("effects", range(1, 9))
async def test_whoever_is_killed_while_they_close_what_was_before_leaves_one_page_at_most(
    scene: Scene, stripe: LittleStripe, effects: int
) -> None:
    await ask(scene)
    live(scene, effects)
    with suppress(Killed):
        await ask(scene)
    live(scene, None)
    assert [session["status"] for session in stripe.sessions.values()].count("open") <= 1
    page = await ask(scene)
    await settle(scene)
    open_pages = [session_id for session_id, session in stripe.sessions.items() if session["status"] == "open"]
    assert open_pages == [page.id]


async def test_whoever_is_overtaken_leaves_the_page_of_those_who_came_after_them(
    scene: Scene, stripe: LittleStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    payments = scene.more[Subscriptions]
    create_customer = payments.create_customer
    later: list[str] = []

    async def overtaken(workspace_id: str) -> str:
        monkeypatch.setattr(payments, "create_customer", create_customer)
        later.append((await ask(scene)).id)
        customer_id: str = await create_customer(workspace_id)
        return customer_id

    monkeypatch.setattr(payments, "create_customer", overtaken)
    first = await ask(scene)

    assert {first.id: "expired", later[0]: "open"} == {
        session_id: session["status"] for session_id, session in stripe.sessions.items()
    }
    assert [each.id for each in (await scene.log.state(billings, WORKSPACE)).pages] == later


async def test_a_page_that_somebody_was_sent_to_stays_open(scene: Scene, stripe: LittleStripe) -> None:
    page = await ask(scene)
    [begun] = [each for each in scene.log.all if isinstance(each.event, CheckoutBegun)]
    assert close_checkout.due(begun.event) == NOON + CHECKOUT_TIME
    await settle(scene)
    assert stripe.sessions[page.id]["status"] == "open"
    written_down(scene, stripe)


async def test_nothing_is_asked_of_the_provider_that_is_not_written_down_first(
    scene: Scene, stripe: LittleStripe
) -> None:
    live(scene, 1)
    with pytest.raises(Killed):
        await ask(scene)
    assert not stripe.customers
    assert not stripe.sessions
    scene.given(
        billings,
        WORKSPACE,
        SubscriptionObserved(
            workspace_id=WORKSPACE, subscription_id="sub_1", plan="pro", status="active", observed_at=NOON
        ),
    )
    live(scene, None)
    with pytest.raises(AlreadySubscribed):
        await ask(scene)
    assert not stripe.customers


async def test_whoever_wakes_late_is_given_the_page_that_was_closed(scene: Scene, stripe: LittleStripe) -> None:
    live(scene, 3)
    with pytest.raises(Killed):
        await ask(scene)
    live(scene, None)
    await settle(scene)
    [begun] = [each.event for each in scene.log.all if isinstance(each.event, CheckoutBegun)]
    [customer_id] = stripe.customers
    late = await scene.more[Subscriptions].open_checkout(
        Order(begun.attempt_id, WORKSPACE, customer_id, begun.price_id, begun.success_url, begun.cancel_url)
    )
    assert stripe.sessions[late.id]["status"] == "expired"
    assert len(stripe.sessions) == 1


async def test_a_page_that_was_paid_at_is_known_as_opened(scene: Scene, stripe: LittleStripe) -> None:
    live(scene, 4)
    with pytest.raises(Killed):
        await ask(scene)
    [session_id] = stripe.sessions
    stripe.pay(session_id)
    live(scene, None)
    await settle(scene)
    assert isinstance(scene.news[-1], CheckoutOpened)
    assert scene.news[-1].checkout_id == session_id


async def test_while_the_provider_is_away_it_is_tried_again_and_what_cannot_be_read_is_left(
    scene: Scene, stripe: LittleStripe
) -> None:
    live(scene, 1)
    with pytest.raises(Killed):
        await ask(scene)
    live(scene, None)
    stripe.is_away = True
    with pytest.raises(PaymentsUnavailable):
        await settle(scene)
    stripe.is_away = False
    await settle(scene)
    written_down(scene, stripe)
    forgotten = Scene(more=scene.more)
    erased = CheckoutBegun(
        workspace_id=WORKSPACE,
        attempt_id="a",
        plan="pro",
        price_id="price_pro",
        success_url=ERASED,
        cancel_url=ERASED,
        begun_at=NOON,
    )
    (await forgotten.follows(close_checkout, forgotten.given(billings, WORKSPACE, erased))).then()


async def test_an_attempt_is_begun_once(scene: Scene) -> None:
    wish = BeginCheckout(
        workspace_id=WORKSPACE,
        attempt_id="a",
        plan="pro",
        price_id="p",
        success_url="https://a",
        cancel_url="https://b",
    )
    assert len((await scene.when(wish)).news) == 1
    (await scene.when(wish)).then()
