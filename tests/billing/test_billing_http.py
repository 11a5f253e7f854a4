"""Billing over HTTP, against a small Stripe that signs like the real one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from domain.sections import Secret, Url
from tests.billing.little_stripe import LittleStripe, little_stripe
from tests.identity.crowd import sign_in
from tests.journeys.kit import Stack, eventually

LIMITS = {"free": 2, "pro": 1_000}


@pytest.fixture(scope="module")
def stripe() -> Iterator[LittleStripe]:
    with little_stripe() as running:
        yield running


@pytest.fixture(scope="module")
def http(stack: Stack, stripe: LittleStripe) -> Iterator[httpx.Client]:
    """A client of an API process with billing turned on."""
    with (
        stack.door(
            stripe_secret_key=Secret("sk_test_little"),
            stripe_webhook_secrets=Secret(f"whsec_retired,{stripe.secret}"),
            stripe_prices={"pro": "price_pro", "studio": "price_studio"},
            stripe_api_url=Url(stripe.url),
            monthly_analysis_limits=LIMITS,
        ) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        yield client


class Owner:
    """A person signed in, with a key of their workspace as well."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.person = sign_in(http)
        self.workspace_id = self.person.workspace_id
        key = self.person.key("analyses:create")
        self.key = {"X-API-Key": key["plaintext_key"]}
        self.bearer = self.person.headers

    def submit(self) -> int:
        """Ask for an analysis with the key; the status of the answer."""
        job = {"url": "http://127.0.0.1:9/song.mp3"}
        return self.http.post("/v1/analyze/url", json=job, headers=self.key).status_code

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.http.post(path, headers=self.bearer, **options)

    def status(self) -> dict[str, Any]:
        answer = self.http.get("/v1/billing/status", headers=self.bearer)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture
def owner(http: httpx.Client) -> Owner:
    return Owner(http)


def tell(http: httpx.Client, stripe: LittleStripe, body: bytes, path: str = "/webhooks/stripe") -> httpx.Response:
    return http.post(path, content=body, headers={"Stripe-Signature": stripe.signature(body)})


def subscribe(owner: Owner, stripe: LittleStripe) -> tuple[dict[str, Any], dict[str, Any]]:
    """A checkout that has been paid: the session and the subscription at the provider."""
    session = owner.post("/v1/billing/checkout-sessions", json={}).json()
    subscription = stripe.pay(session["id"])
    return stripe.sessions[session["id"]], subscription


def test_a_workspace_that_never_subscribed_is_on_the_free_plan(owner: Owner) -> None:
    assert owner.status() == {
        "local_credit_balance": 2,
        "plan": "free",
        "status": "none",
        "workspace_id": owner.workspace_id,
        "unlimited": False,
        "current_period_end": None,
        "cancel_at_period_end": False,
    }


def test_a_checkout_has_an_id_and_an_address_and_knows_the_workspace(owner: Owner, stripe: LittleStripe) -> None:
    answer = owner.post("/v1/billing/checkout-sessions", json={})

    assert answer.status_code == 200
    assert set(answer.json()) == {"id", "url"}
    session = stripe.sessions[answer.json()["id"]]
    assert session["client_reference_id"] == owner.workspace_id
    assert session["price"] == "price_pro"


def test_a_plan_that_is_not_sold_is_refused(owner: Owner) -> None:
    answer = owner.post("/v1/billing/checkout-sessions", json={"plan": "gold"})

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "plan"]


def test_two_checkouts_at_once_make_one_customer(owner: Owner, stripe: LittleStripe) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: owner.post("/v1/billing/checkout-sessions", json={}), range(4)))

    assert [answer.status_code for answer in answers] == [200] * 4
    pages = [stripe.sessions[answer.json()["id"]] for answer in answers]
    assert len({page["customer"] for page in pages}) == 1
    assert [page["status"] for page in pages].count("open") == 1, "nobody pays at two of them"


def test_a_page_that_was_opened_before_is_closed(owner: Owner, http: httpx.Client, stripe: LittleStripe) -> None:
    pages = [
        owner.post("/v1/billing/checkout-sessions", json={"plan": plan}).json()["id"] for plan in ("pro", "studio")
    ]
    pages.append(owner.post("/v1/billing/checkout-sessions", json={}).json()["id"])

    assert [stripe.sessions[page]["status"] for page in pages] == ["expired", "expired", "open"]
    stripe.pay(pages[-1])
    tell(http, stripe, stripe.event("checkout.session.completed", stripe.sessions[pages[-1]]))
    assert owner.status()["plan"] == "pro"


def test_whoever_has_paid_already_is_not_given_another_page_although_nobody_has_told_us_yet(
    owner: Owner, http: httpx.Client, stripe: LittleStripe
) -> None:
    _, subscription = subscribe(owner, stripe)

    answer = owner.post("/v1/billing/checkout-sessions", json={"plan": "studio"})

    assert answer.status_code == 409
    assert answer.json() == {"detail": "This workspace has a subscription. Change it in the portal."}
    assert (owner.status()["plan"], owner.status()["status"]) == ("pro", "active")
    mine = [each for each in stripe.sessions.values() if each["client_reference_id"] == owner.workspace_id]
    assert [each["status"] for each in mine] == ["complete"]
    # Over is over: then there may be another.
    subscription["status"] = "canceled"
    tell(http, stripe, stripe.event("customer.subscription.deleted", subscription))
    assert owner.post("/v1/billing/checkout-sessions", json={}).status_code == 200


def test_a_workspace_that_pays_twice_all_the_same_is_told_of_loudly_and_nobody_else_is(
    owner: Owner, http: httpx.Client, stripe: LittleStripe, stack: Stack
) -> None:
    session, first = subscribe(owner, stripe)

    def told_of(subscription: dict[str, Any]) -> None:
        answer = tell(http, stripe, stripe.event("customer.subscription.updated", subscription))
        assert answer.status_code == 200

    told_of(first)
    told_of(first)  # it is no second one because it is told of again
    told_of(stripe.pay(session["id"], status="incomplete_expired"))
    first["status"] = "canceled"  # there, and nobody has told us
    told_of(second := stripe.pay(session["id"]))
    told_of(third := stripe.pay(session["id"]))

    def told() -> list[Any]:
        lines = [json.loads(line) for line in stack.log.splitlines() if "billing.paid_twice" in line]
        return [line for line in lines if line["workspace_id"] == owner.workspace_id]

    [line] = eventually(told)
    assert line["subscription_ids"] == [second["id"], third["id"]]
    assert line["level"] == "error"


def test_a_customer_of_another_workspace_is_never_taken_over(
    owner: Owner, http: httpx.Client, stripe: LittleStripe
) -> None:
    session, _ = subscribe(owner, stripe)
    stripe.gives_always = session["customer"]
    try:
        answer = Owner(http).post("/v1/billing/checkout-sessions", json={})
    finally:
        stripe.gives_always = None

    assert answer.status_code == 409
    assert answer.json()["detail"].startswith(
        "The payment provider names a customer that belongs to another workspace."
    )


@pytest.mark.parametrize("path", ["/webhooks/stripe", "/v1/billing/stripe/webhook"])
def test_a_paid_checkout_turns_the_plan_on(owner: Owner, http: httpx.Client, stripe: LittleStripe, path: str) -> None:
    session, _ = subscribe(owner, stripe)

    answer = tell(http, stripe, stripe.event("checkout.session.completed", session), path)

    assert answer.status_code == 200
    assert answer.json() == {"accepted": True, "event_type": "checkout.session.completed"}
    status = owner.status()
    assert (status["plan"], status["status"], status["local_credit_balance"]) == ("pro", "active", 1_000)


def test_events_that_come_twice_and_out_of_order_end_where_stripe_is(
    owner: Owner, http: httpx.Client, stripe: LittleStripe
) -> None:
    session, subscription = subscribe(owner, stripe)
    created = stripe.event("customer.subscription.created", subscription)
    completed = stripe.event("checkout.session.completed", session)
    subscription["status"] = "canceled"
    deleted = stripe.event("customer.subscription.deleted", subscription)

    answers = [tell(http, stripe, body) for body in (deleted, created, completed, created, deleted)]

    assert [answer.status_code for answer in answers] == [200] * 5
    status = owner.status()
    assert (status["plan"], status["status"]) == ("free", "canceled")


def test_an_answer_that_was_overtaken_on_its_way_brings_nothing_back(
    owner: Owner, http: httpx.Client, stripe: LittleStripe
) -> None:
    session, subscription = subscribe(owner, stripe)

    def end() -> None:
        stripe.meanwhile = lambda: None
        subscription["status"] = "canceled"
        assert tell(http, stripe, stripe.event("customer.subscription.deleted", subscription)).status_code == 200
        assert owner.status()["status"] == "canceled"

    stripe.meanwhile = end
    assert tell(http, stripe, stripe.event("checkout.session.completed", session)).status_code == 200
    assert (owner.status()["plan"], owner.status()["status"]) == ("free", "canceled")


def test_a_status_that_stripe_has_invented_since_spoils_nothing(
    owner: Owner, http: httpx.Client, stripe: LittleStripe
) -> None:
    _, subscription = subscribe(owner, stripe)
    tell(http, stripe, stripe.event("customer.subscription.created", subscription))
    subscription["status"] = "hibernating"

    unknown = tell(http, stripe, stripe.event("customer.subscription.updated", subscription))
    assert (unknown.status_code, owner.status()["status"]) == (200, "active")

    subscription["status"] = "past_due"
    known = tell(http, stripe, stripe.event("customer.subscription.updated", subscription))
    assert (known.status_code, owner.status()["status"]) == (200, "past_due")


def test_the_monthly_quota_follows_the_plan(owner: Owner, http: httpx.Client, stripe: LittleStripe) -> None:
    assert [owner.submit() for _ in range(3)] == [202, 202, 429]
    session, _ = subscribe(owner, stripe)
    tell(http, stripe, stripe.event("checkout.session.completed", session))
    assert owner.submit() == 202


def test_submissions_at_once_never_exceed_the_quota(owner: Owner) -> None:
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: owner.submit(), range(8)))

    assert sorted(statuses) == [202] * LIMITS["free"] + [429] * (8 - LIMITS["free"])


def test_bills_are_noted_under_the_workspace_of_their_customer(
    owner: Owner, http: httpx.Client, stripe: LittleStripe
) -> None:
    session, _ = subscribe(owner, stripe)
    invoice = {
        "id": "in_1",
        "object": "invoice",
        "customer": session["customer"],
        "amount_paid": 900,
        "amount_due": 900,
        "currency": "eur",
    }

    failed = tell(http, stripe, stripe.event("invoice.payment_failed", invoice))
    paid = tell(http, stripe, stripe.event("invoice.paid", invoice))

    assert (failed.json()["event_type"], paid.json()["event_type"]) == ("invoice.payment_failed", "invoice.paid")


def test_the_portal_needs_a_customer(owner: Owner, stripe: LittleStripe) -> None:
    before = owner.post("/v1/billing/portal-sessions")
    subscribe(owner, stripe)
    after = owner.post("/v1/billing/portal-sessions")

    assert before.status_code == 409
    assert before.json() == {"detail": "This workspace has never subscribed. Open a checkout first."}
    assert after.status_code == 200
    assert set(after.json()) == {"id", "url"}


def test_nobody_subscribes_twice(owner: Owner, http: httpx.Client, stripe: LittleStripe) -> None:
    session, _ = subscribe(owner, stripe)
    tell(http, stripe, stripe.event("checkout.session.completed", session))

    answer = owner.post("/v1/billing/checkout-sessions", json={})

    assert answer.status_code == 409
    assert answer.json() == {"detail": "This workspace has a subscription. Change it in the portal."}


def test_an_unknown_event_is_accepted_and_changes_nothing(http: httpx.Client, stripe: LittleStripe) -> None:
    answer = tell(http, stripe, stripe.event("radar.early_fraud_warning.created", {"id": "issfr_1"}))

    assert answer.status_code == 200
    assert answer.json() == {"accepted": True, "event_type": "radar.early_fraud_warning.created"}


@pytest.mark.parametrize("kind", ["missing", "of another secret", "of another body", "too old", "garbage"])
def test_a_webhook_that_is_not_stripes_is_refused(http: httpx.Client, stripe: LittleStripe, kind: str) -> None:
    body = stripe.event("customer.subscription.updated", {"id": "sub_404"})
    signatures = {
        "of another secret": stripe.signature(body, secret="whsec_other"),
        "of another body": stripe.signature(body + b" "),
        "too old": stripe.signature(body, age_seconds=301),
        "garbage": "t=now,v1=not hexadecimal",
    }
    headers = {"Stripe-Signature": signatures[kind]} if kind in signatures else {}

    answer = http.post("/webhooks/stripe", content=body, headers=headers)

    assert answer.status_code == 400
    assert answer.json() == {"detail": "The Stripe-Signature header is missing or does not match the body."}


#: Signed bodies that are no event, and what an event of a type that is read says of its object.
NO_EVENTS = [
    b"{}",
    b"[]",
    b"\xff",
    b'{"type":null,"data":{"object":{}}}',
    b'{"type":"invoice.paid","data":[]}',
    b"[" * 10**5,
]
ODD_OBJECTS = [
    b"null",
    b"[]",
    b"{}",
    b'{"id":5}',
    b'{"id":"in_\\ud800"}',
    b'{"id":"in_1","amount_paid":NaN}',
    b'{"id":"in_1","amount_paid":1' + b"0" * 400 + b"}",
    b'{"id":"in_1","customer":{"id":"cus_1"}}',
    b'{"a":' * 10**5 + b"1" + b"}" * 10**5,
]


@pytest.mark.parametrize(
    "body", [*NO_EVENTS, *(b'{"type":"invoice.paid","data":{"object":%b}}' % each for each in ODD_OBJECTS)]
)
def test_what_is_signed_and_cannot_be_read_is_refused_in_words(
    http: httpx.Client, stripe: LittleStripe, body: bytes
) -> None:
    answer = tell(http, stripe, body)

    assert answer.status_code == 400
    assert list(answer.json()) == ["detail"]


def test_a_subscription_that_is_not_in_the_account_is_ignored(http: httpx.Client, stripe: LittleStripe) -> None:
    answer = tell(http, stripe, stripe.event("customer.subscription.updated", {"id": "sub_404"}))

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "odd",
    [{"customer": ...}, {"items": {"data": [{"current_period_end": 10**18}]}}, {"items": []}, {"metadata": 7}],
    ids=str,
)
def test_an_answer_of_stripe_that_makes_no_sense_is_a_503_and_the_event_can_come_again(
    owner: Owner, http: httpx.Client, stripe: LittleStripe, odd: dict[str, Any]
) -> None:
    session, subscription = subscribe(owner, stripe)
    body = stripe.event("checkout.session.completed", session)
    kept = stripe.subscriptions[subscription["id"]]
    garbled = {name: value for name, value in {**kept, **odd}.items() if value is not ...}
    stripe.subscriptions[subscription["id"]] = garbled
    refused = tell(http, stripe, body)
    stripe.subscriptions[subscription["id"]] = kept
    again = tell(http, stripe, body)

    assert (refused.status_code, again.status_code) == (503, 200)
    assert refused.headers["retry-after"]


def test_stripe_being_away_is_a_503_and_the_event_can_come_again(
    owner: Owner, http: httpx.Client, stripe: LittleStripe
) -> None:
    session, _ = subscribe(owner, stripe)
    body = stripe.event("checkout.session.completed", session)
    stripe.is_away = True
    try:
        away = tell(http, stripe, body)
    finally:
        stripe.is_away = False
    again = tell(http, stripe, body)

    assert away.status_code == 503
    assert again.status_code == 200
    assert owner.status()["plan"] == "pro"


def test_without_stripe_only_the_paying_routes_are_unavailable(client: httpx.Client) -> None:
    owner = Owner(client)

    for path in ("/v1/billing/checkout-sessions", "/v1/billing/portal-sessions"):
        answer = owner.post(path, json={})
        assert answer.status_code == 503
        assert answer.json() == {"detail": "Billing is not configured on this server."}
    assert client.post("/webhooks/stripe", json={}).status_code == 503
    assert owner.status()["plan"] == "free"
