"""Stripe through its own library: customers, checkouts, the portal, subscriptions, and webhooks that are theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple, TypeVar

import stripe
import structlog
from msgspec import Meta, Raw, Struct, convert, json

from adapters.payments.settings import Stripe
from adapters.provides import provides
from adapters.web.parties import NoAnswer, Party
from commands.billing.ports import Order, Subscriptions
from domain.billing.subscriptions import OVER
from domain.kernel import Unavailable, Untrusted

log = structlog.get_logger(__name__)
S = TypeVar("S", bound=Struct)

#: How old a webhook may be, in seconds, before it counts as a replay.
TOLERANCE_SECONDS = 300
#: How long one answer may take, and how long all that is asked for one purpose, tried again and page by page.
ANSWER_SECONDS_MAX = 15.0
SECONDS_MAX = 30.0


class PaymentsUnavailable(Unavailable):
    """The payment provider cannot be reached at the moment. Try again shortly."""


class BadSignature(Untrusted):
    """The Stripe-Signature header is missing or does not match the body."""


class Opened(NamedTuple):
    """A page of the provider: its id and address."""

    id: str
    url: str


class Closed(NamedTuple):
    """A page at which nobody can pay any more, and the subscription that somebody has paid for there."""

    is_complete: bool
    subscription_id: str | None


class NotAnEvent(Untrusted):
    """This is signed, but is no event as Stripe sends them: {problem}"""


Name = Annotated[str, Meta(min_length=1, max_length=255)]
Amount = Annotated[int, Meta(ge=-(2**53), le=2**53)]
#: Seconds since 1970, up to the year 9999.
Moment = Annotated[int, Meta(ge=0, lt=253_402_300_800)]


class About(Struct):
    """What a webhook is about, as far as anybody here reads it; amounts are in the smallest unit of the currency."""

    id: Name
    customer: Name | None = None
    subscription: Name | None = None
    amount_paid: Amount = 0
    amount_due: Amount = 0
    currency: Annotated[str, Meta(max_length=16)] | None = None


class _Data(Struct):
    object: Raw


class Told(Struct):
    """A webhook of the provider, verified. What it is about is read by whoever knows its type."""

    type: Name
    data: _Data

    def about(self) -> About:
        """What it is about; raises NotAnEvent."""
        return _read(self.data.object, About)


class _Made(Struct):
    """Anything of the provider's, as far as it has an id."""

    id: Name


class _Page(_Made):
    url: str | None = None
    status: str | None = None
    subscription: Name | None = None


class _Price(Struct):
    id: Name | None = None


class _Item(Struct):
    price: _Price | None = None
    current_period_end: Moment | None = None


class _Items(Struct):
    data: list[_Item] = []


class _Labels(Struct):
    workspace_id: str | None = None


class _Standing(_Made):
    """A subscription as the provider tells it."""

    customer: Name
    status: Name
    metadata: _Labels | None = None
    items: _Items | None = None
    # Since 2025 the period belongs to the item; accounts on older API versions have it on the subscription.
    current_period_end: Moment | None = None
    cancel_at_period_end: bool | None = None


class _Listed(_Made):
    status: Name


class Subscription(NamedTuple):
    """A subscription as it stands at the provider."""

    id: str
    customer_id: str
    workspace_id: str | None
    status: str
    price_id: str | None
    current_period_end: datetime | None
    cancel_at_period_end: bool


class Payments(Subscriptions):
    """One Stripe account. Webhooks are verified against each of the secrets, so that they can be rotated."""

    def __init__(self, secret_key: str, webhook_secrets: Sequence[str], *, api_url: str | None = None) -> None:
        self._webhook_secrets = tuple(webhook_secrets)
        self._party = Party(seconds_max=ANSWER_SECONDS_MAX)
        self._client = stripe.StripeClient(
            secret_key,
            base_addresses={"api": api_url} if api_url else None,
            http_client=_Http(self._party),
            max_network_retries=2,
        )

    async def create_customer(self, workspace_id: str) -> str:
        """The customer of a workspace; asking twice gives the same one."""
        async with _answering():
            customer = await self._client.v1.customers.create_async(
                {"metadata": {"workspace_id": workspace_id}},
                {"idempotency_key": f"ledgerline-customer-{workspace_id}"},
            )
            return _understood(customer, _Made).id

    async def open_checkout(self, order: Order) -> Opened:
        """A page on which a customer subscribes; asking twice gives the same one."""
        async with _answering():
            session = await self._client.v1.checkout.sessions.create_async(
                {
                    "mode": "subscription",
                    "customer": order.customer_id,
                    "client_reference_id": order.workspace_id,
                    "line_items": [{"price": order.price_id, "quantity": 1}],
                    "subscription_data": {"metadata": {"workspace_id": order.workspace_id}},
                    "success_url": order.success_url,
                    "cancel_url": order.cancel_url,
                },
                {"idempotency_key": f"ledgerline-checkout-{order.attempt_id}"},
            )
            return _opened(session)

    async def close_checkout(self, order: Order) -> tuple[str, bool]:
        """The page of an order, and whether it is closed: not when somebody has completed it.

        If it was never asked for it is now, so that whoever asks after this, however late, gets the one that is closed.
        """
        opened = await self.open_checkout(order)
        return opened.id, not (await self.close_page(opened.id)).is_complete

    async def close_page(self, checkout_id: str) -> Closed:
        """See to it that nobody can pay at a page any more, and say whether somebody has."""
        async with _answering():
            try:
                await self._client.v1.checkout.sessions.expire_async(checkout_id)
            except stripe.InvalidRequestError as refusal:
                if refusal.code == "resource_missing":  # of another account, which is not ours any more
                    return Closed(is_complete=False, subscription_id=None)
                # Only what is open can be closed.
                page = _understood(await self._client.v1.checkout.sessions.retrieve_async(checkout_id), _Page)
                return Closed(page.status == "complete", page.subscription)
        return Closed(is_complete=False, subscription_id=None)

    async def open_portal(self, customer_id: str, return_url: str) -> Opened:
        """A page on which a customer manages what they pay."""
        async with _answering():
            session = await self._client.v1.billing_portal.sessions.create_async(
                {"customer": customer_id, "return_url": return_url}
            )
            return _opened(session)

    async def subscription(self, subscription_id: str) -> Subscription | None:
        """A subscription as it stands now; None when the account has no such one."""
        async with _answering():
            try:
                found = await self._client.v1.subscriptions.retrieve_async(subscription_id)
            except stripe.InvalidRequestError:
                return None
            return _subscription(_understood(found, _Standing))

    async def end_subscriptions(self, customer_id: str) -> list[str]:
        """End at once what a customer pays for, and say which subscriptions those were; what is over stays so."""
        async with _answering():
            running = await self._running(customer_id)
            for subscription_id in running:
                await self._end(subscription_id)
        return running

    async def _running(self, customer_id: str) -> list[str]:
        try:
            found = await self._client.v1.subscriptions.list_async({"customer": customer_id, "limit": 100})
            if not isinstance(found, stripe.ListObject):
                raise TypeError(f"a {type(found).__name__} is no list")
            # What expired before it was paid for stays in the list.
            listed = [_understood(each, _Listed) async for each in found.auto_paging_iter()]
            return [each.id for each in listed if each.status not in OVER]
        except stripe.InvalidRequestError as refusal:
            return _nothing_there(refusal)

    async def _end(self, subscription_id: str) -> None:
        try:
            await self._client.v1.subscriptions.cancel_async(subscription_id)
        except stripe.InvalidRequestError as refusal:
            _nothing_there(refusal)

    def verify(self, body: bytes, signature: str | None) -> Told:
        """The event in a webhook; raises BadSignature for one that is not Stripe's, or too old, and NotAnEvent."""
        if not any(_is_signed(body, signature or "", secret) for secret in self._webhook_secrets):
            raise BadSignature
        return _read(body, Told)

    async def close(self) -> None:
        """Let go of connections."""
        await self._party.close()


def _understood(answer: stripe.StripeObject, shape: type[S]) -> S:
    """What we read of an answer; raises ValueError for one that is not as Stripe documents it."""
    return convert(answer.to_dict(), shape)


def _opened(session: stripe.StripeObject) -> Opened:
    page = _understood(session, _Page)
    return Opened(page.id, page.url or "")


def _subscription(found: _Standing) -> Subscription:
    item = found.items.data[0] if found.items and found.items.data else _Item()
    end = item.current_period_end or found.current_period_end
    return Subscription(
        id=found.id,
        customer_id=found.customer,
        workspace_id=found.metadata.workspace_id if found.metadata else None,
        status=found.status,
        price_id=item.price.id if item.price else None,
        current_period_end=datetime.fromtimestamp(end, UTC) if end else None,
        cancel_at_period_end=bool(found.cancel_at_period_end),
    )


class _Http(stripe.HTTPClient):
    """How the library reaches its server: its own way has no deadline once the head of an answer is there."""

    name = "ledgerline"

    def __init__(self, party: Party) -> None:
        super().__init__()
        self._party = party

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Status, headers and body of an answer; raises what the library tries again."""
        try:
            answer = await self._party.ask(method.upper(), url, headers=headers, body=post_data)
            answer.object()  # the library lets out whatever decoding it raises
        except NoAnswer as problem:
            failed: type[Any] = stripe.APIConnectionError  # its signature is untyped
            raise failed(str(problem), should_retry=True) from problem
        return answer.body, answer.status, answer.headers

    def sleep_async(self, secs: float) -> Awaitable[None]:
        """Wait before something is tried again."""
        return asyncio.sleep(secs)


def _is_signed(body: bytes, signature: str, secret: str) -> bool:
    verify: Any = stripe.WebhookSignature.verify_header  # it is untyped
    try:
        verify(body.decode(), signature, secret, TOLERANCE_SECONDS)
    except (stripe.SignatureVerificationError, ValueError):
        return False
    return True


def _read(body: bytes | Raw, shape: type[S]) -> S:
    try:
        return json.decode(body, type=shape)
    except (ValueError, RecursionError) as problem:
        raise NotAnEvent(problem=str(problem)) from None


def _nothing_there(refusal: stripe.InvalidRequestError) -> list[str]:
    """What is not there has ended already; any other refusal is our mistake and stays loud."""
    if refusal.code != "resource_missing":
        raise refusal
    return []


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """Stripe's failures in our words, in time; what it refuses for good is our mistake and stays loud.

    An answer that makes no sense is a failure of its, too, whoever stumbles over it: its library or we.
    """
    try:
        async with asyncio.timeout(SECONDS_MAX):
            yield
    except (stripe.APIConnectionError, stripe.RateLimitError, stripe.APIError, TimeoutError) as problem:
        log.warning("payments.unavailable", problem=type(problem).__name__)
        raise PaymentsUnavailable from problem
    except (LookupError, TypeError, AttributeError, ValueError) as problem:
        log.warning("payments.garbled", problem=repr(problem), exc_info=True)
        raise PaymentsUnavailable from problem


@provides
def payments(settings: Stripe) -> Payments | None:
    """The payment provider, where there is one."""
    if not settings.stripe_secret_key:
        return None
    secrets = [each.strip() for each in settings.stripe_webhook_secrets.reveal().split(",") if each.strip()]
    return Payments(settings.stripe_secret_key.reveal(), secrets, api_url=settings.stripe_api_url or None)
