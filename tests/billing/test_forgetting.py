"""Nobody pays for a workspace that is no more."""

from __future__ import annotations

from datetime import timedelta
from secrets import token_hex

import pytest
from structlog.testing import capture_logs

from adapters.payments.stripe import Payments, PaymentsUnavailable
from commands.billing.ports import Order, Ports, Subscriptions
from commands.billing.reactions import end_subscriptions
from domain.billing.subscriptions import CustomerLinked, Status, SubscriptionObserved, billings
from domain.identity.workspaces import WorkspaceForgotten, WorkspaceOpened, workspaces
from domain.ledger import Recorded
from domain.sections import Secret, Url
from infra.container import container
from tests.billing.little_stripe import LittleStripe, little_stripe
from tests.journeys.kit import Stack
from tests.scene import NOON, WORKSPACE, Scene


async def subscribed(payments: Payments, stripe: LittleStripe, *, times: int = 1) -> tuple[str, list[str]]:
    """A customer with subscriptions that cost something."""
    customer_id = await payments.create_customer(WORKSPACE)
    return customer_id, [await paid(payments, stripe, customer_id) for _ in range(times)]


async def paid(payments: Payments, stripe: LittleStripe, customer_id: str, status: Status = "active") -> str:
    url = "https://a.example"
    opened = await payments.open_checkout(Order(token_hex(4), WORKSPACE, customer_id, "price_pro", url, url))
    return str(stripe.pay(opened.id, status=status)["id"])


def seen(subscription_id: str, status: Status = "active", *, minutes: int = 0) -> SubscriptionObserved:
    return SubscriptionObserved(
        workspace_id=WORKSPACE,
        subscription_id=subscription_id,
        plan="pro",
        status=status,
        observed_at=NOON + timedelta(minutes=minutes),
    )


def forgotten(scene: Scene) -> Recorded:
    scene.given(workspaces, WORKSPACE, WorkspaceOpened(workspace_id=WORKSPACE, name="studio", opened_at=NOON))
    return scene.given(workspaces, WORKSPACE, WorkspaceForgotten(workspace_id=WORKSPACE, forgotten_at=NOON))


def linked(customer_id: str) -> CustomerLinked:
    return CustomerLinked(workspace_id=WORKSPACE, customer_id=customer_id, linked_at=NOON)


async def test_forgetting_a_workspace_ends_everything_it_pays_for_and_nothing_else(
    stripe: LittleStripe, payments: Payments
) -> None:
    stripe.page_size = 2
    customer_id, mine = await subscribed(payments, stripe, times=5)
    others = await paid(payments, stripe, await payments.create_customer("workspace-2"))
    scene = Scene(more={Subscriptions: payments})
    scene.given(billings, WORKSPACE, linked(customer_id), seen(mine[0]))
    last = forgotten(scene)
    for _ in range(2):
        (await scene.follows(end_subscriptions, last)).then()
    assert [stripe.subscriptions[each]["status"] for each in mine] == ["canceled"] * 5
    assert stripe.subscriptions[others]["status"] == "active"


async def test_what_expired_before_it_was_paid_for_is_left_alone(stripe: LittleStripe, payments: Payments) -> None:
    stripe.page_size = 2
    customer_id, _ = await subscribed(payments, stripe, times=0)
    expired = [await paid(payments, stripe, customer_id, "incomplete_expired") for _ in range(3)]
    running = await paid(payments, stripe, customer_id)
    assert await payments.end_subscriptions(customer_id) == [running]
    assert await payments.end_subscriptions(customer_id) == []
    assert [stripe.subscriptions[each]["status"] for each in expired] == ["incomplete_expired"] * 3
    assert stripe.subscriptions[running]["status"] == "canceled"


async def test_what_should_have_ended_and_is_not_found_is_told_to_the_operator(
    stripe: LittleStripe, payments: Payments
) -> None:
    with little_stripe() as another:
        elsewhere = Payments("sk_test_other", [another.secret], api_url=another.url)
        customer_id, [mine] = await subscribed(elsewhere, another)
        await elsewhere.close()
        told_of: dict[Status, list[str]] = {
            "active": [mine],
            "past_due": [mine],
            "canceled": [],
            "incomplete_expired": [],
        }
        for status, warned in told_of.items():
            scene = Scene(more={Subscriptions: payments})
            scene.given(billings, WORKSPACE, linked(customer_id), seen(mine, status))
            with capture_logs() as lines:
                (await scene.follows(end_subscriptions, forgotten(scene))).then()
            told = [line for line in lines if line["event"] == "billing.not_ended"]
            assert [line["subscription_id"] for line in told] == warned, status
            assert all((line["log_level"], line["workspace_id"]) == ("warning", WORKSPACE) for line in told)
    assert another.subscriptions[mine]["status"] == "active"
    customer_id, [mine] = await subscribed(payments, stripe)
    scene = Scene(more={Subscriptions: payments})
    scene.given(billings, WORKSPACE, linked(customer_id), seen(mine))
    with capture_logs() as lines:
        await scene.follows(end_subscriptions, forgotten(scene))
    assert [line["event"] for line in lines] == ["billing.ended"], "what did end is no reason to worry"


async def test_while_the_provider_is_away_it_is_tried_again(stripe: LittleStripe, payments: Payments) -> None:
    customer_id, [mine] = await subscribed(payments, stripe)
    scene = Scene(more={Subscriptions: payments})
    scene.given(billings, WORKSPACE, linked(customer_id), seen(mine))
    last = forgotten(scene)
    stripe.is_away = True
    # A job that fails like this is tried again for as long as it takes.
    with pytest.raises(PaymentsUnavailable):
        await scene.follows(end_subscriptions, last)
    stripe.is_away = False
    await scene.follows(end_subscriptions, last)
    assert stripe.subscriptions[mine]["status"] == "canceled"


async def test_what_is_paid_for_after_the_workspace_was_forgotten_ends_too(
    stripe: LittleStripe, payments: Payments
) -> None:
    customer_id, _ = await subscribed(payments, stripe, times=0)
    scene = Scene(more={Subscriptions: payments})
    scene.given(billings, WORKSPACE, linked(customer_id))
    await scene.follows(end_subscriptions, forgotten(scene))
    late = await paid(payments, stripe, customer_id)
    await scene.follows(end_subscriptions, scene.given(billings, WORKSPACE, seen(late)))
    assert stripe.subscriptions[late]["status"] == "canceled"
    assert not end_subscriptions.concerns(seen(late, "canceled"))


async def test_a_workspace_that_lives_keeps_what_it_pays_for(stripe: LittleStripe, payments: Payments) -> None:
    customer_id, [mine] = await subscribed(payments, stripe)
    scene = Scene(more={Subscriptions: payments})
    scene.given(workspaces, WORKSPACE, WorkspaceOpened(workspace_id=WORKSPACE, name="studio", opened_at=NOON))
    await scene.follows(end_subscriptions, scene.given(billings, WORKSPACE, linked(customer_id), seen(mine)))
    assert stripe.subscriptions[mine]["status"] == "active"


async def test_without_a_customer_without_billing_or_with_one_unknown_there_nothing_happens(payments: Payments) -> None:
    never = Scene(more={Subscriptions: payments})
    (await never.follows(end_subscriptions, forgotten(never))).then()
    unconfigured = Scene()
    unconfigured.given(billings, WORKSPACE, linked("cus_1"), seen("sub_1"))
    (await unconfigured.follows(end_subscriptions, forgotten(unconfigured))).then()
    unknown = Scene(more={Subscriptions: payments})
    unknown.given(billings, WORKSPACE, linked("cus_1"), seen("sub_1"))
    (await unknown.follows(end_subscriptions, forgotten(unknown))).then()


async def test_reactions_reach_the_provider_where_there_is_one(stack: Stack, stripe: LittleStripe) -> None:
    configured = stack.settings.changed(stripe_secret_key=Secret("sk_test_little"), stripe_api_url=Url(stripe.url))
    for settings, there in ((configured, True), (stack.settings, False)):
        async with container(settings) as here:
            assert ((await here.get(Ports)).payments is not None) is there
