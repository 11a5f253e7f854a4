"""The delivery log, and sending again what did not arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import uuid4
from weakref import WeakValueDictionary

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct, json

from api.auth import Asker, needs
from api.kernel import IdempotencyKey, check_moment, stored
from api.paging import LIMIT, PRINTABLE, Before, Limit
from api.webhooks.ports import Ports
from commands.kernel import derived_id
from commands.webhooks.deliveries import AskForDelivery
from commands.webhooks.sending import body_of, reader, send
from domain.analyses.analyses import AnalysisIsNotOver, NoSuchAnalysis, analyses
from domain.kernel import Event, Invalid
from domain.webhooks.deliveries import (
    DELIVERIES_MAX,
    DeliveryInProgress,
    TooManyDeliveries,
    deliveries,
    redelivery_counts,
)
from domain.webhooks.endpoints import NoEndpointToTell, NoSuchEndpoint, endpoint_books
from domain.webhooks.messages import Message, Subject, messages
from projections.analyses.messages import analysis_completed, analysis_failed
from projections.kernel import seconds
from projections.webhooks.deliveries import DeliveryLog, delivery_logs

#: As many messages as one request sends while its client waits; the others go by themselves, or with the next one.
SENT_AT_ONCE_MAX = 100
#: So many of them at a time, in all requests of a workspace together: whoever asks often leaves connections to others.
SENDERS = 8
_GATES: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
#: How far back one request looks through the log.
LOOKED_THROUGH_MAX = 5_000
PAGE = 200

ONE = {200: ResponseSpec(DeliveryLog, generate_examples=False, description="The delivery as it stands")}


class BackwardsRange(Invalid):
    """The range ends before it begins."""


class Replay(Struct, forbid_unknown_fields=True):
    """What to send again: messages of this time, to one endpoint or to all, those that failed or all of them."""

    since: Annotated[datetime, Meta(tz=True)]
    until: Annotated[datetime, Meta(tz=True)] | None = None
    endpoint_id: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+\Z")] | None = None
    only: Literal["failed", "all"] = "failed"


class Replayed(Struct):
    """How many messages are on their way again, and how many of that time did not need it."""

    queued: int
    skipped: int


@get(
    "/v1/webhook-deliveries",
    tags=["platform"],
    opt=needs("webhooks:manage", "viewer"),
    responses={200: ResponseSpec(list[DeliveryLog], generate_examples=False, description="Newest first")},
)
async def list_webhook_deliveries(
    request: Request[Any, Any, Any],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    limit: Limit = LIMIT,
    before: Before = None,
    job_id: Annotated[
        str | None, QueryParameter(max_length=64, pattern=PRINTABLE, description="Only those about this job")
    ] = None,
) -> Response[bytes]:
    """Read the delivery log: every message to every address, each with its attempts, newest first."""
    return await ports.pages.answer(
        request, delivery_logs, asker.workspace_id, limit=limit, before=before, parent=job_id
    )


@get(
    "/v1/webhook-deliveries/{delivery_id:str}",
    tags=["platform"],
    opt=needs("webhooks:manage", "viewer"),
    responses=ONE,
)
async def get_webhook_delivery(
    delivery_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Read one delivery with its attempts."""
    return stored(await ports.views.get(delivery_logs, delivery_id, asker.workspace_id))


@post(
    "/v1/analyses/{job_id:str}/webhook-deliveries",
    status_code=200,
    tags=["platform"],
    opt={**needs("webhooks:manage", "member"), "statuses": ("409",)},
    responses=ONE,
)
async def redeliver_analysis(
    job_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Tell the job's endpoint, or else the newest enabled one, about a job that is over, once more.

    A job is told 100 times at most; after that the answer is a 409.
    """
    history = (await ports.log.read(analyses.stream(job_id))).events
    analysis = analyses.fold(history)
    if analysis.workspace_id != asker.workspace_id:
        raise NoSuchAnalysis
    if analysis.status not in ("completed", "failed"):
        raise AnalysisIsNotOver
    message = analysis_completed if analysis.status == "completed" else analysis_failed
    subject = Subject(kind=analyses.name, id=job_id, workspace_id=asker.workspace_id)
    events = message.until(history)
    endpoint_id, url = await _whom_to_tell(ports, message, subject, events)
    again = AskForDelivery(
        delivery_id=ports.vault.new_id(),
        workspace_id=subject.workspace_id,
        subject_kind=subject.kind,
        subject_id=subject.id,
        url=url,
        message_type=message.name,
        body=message.write(subject, events, ports.now(), own=endpoint_id is None),
        endpoint_id=endpoint_id,
        seen=await _seen(ports, subject),
    )
    await ports.execute(again, asker.context)
    return stored(await ports.views.get(delivery_logs, again.delivery_id, asker.workspace_id))


async def _whom_to_tell(
    ports: Ports, message: Message, subject: Subject, events: Sequence[Event]
) -> tuple[str | None, str]:
    """The endpoint and address for a job: its own endpoint, its own address, the newest enabled endpoint."""
    find = reader(ports.log)
    book = await find(endpoint_books, subject.workspace_id)
    named = message.endpoint(events)
    if named is not None and named in book.endpoints:
        return named, book.endpoints[named].url
    own = None if message.own is None else await message.own.url(subject, events, find)
    if own is not None:
        return None, own
    newest = book.newest_enabled()
    if newest is None:
        raise NoEndpointToTell
    return newest, book.endpoints[newest].url


async def _seen(ports: Ports, subject: Subject) -> int:
    """How many messages about a thing came by themselves, as long as its count does not know: before the first."""
    if (await reader(ports.log)(redelivery_counts, subject.id)).deliveries:
        return 0
    workspace_id = subject.workspace_id
    return len(await ports.views.page(delivery_logs, workspace_id, limit=DELIVERIES_MAX, parent=subject.id))


@post("/v1/webhook-deliveries/deliver", status_code=200, tags=["platform"], opt=needs("webhooks:manage", "admin"))
async def deliver_webhooks(
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    force: Annotated[
        bool, QueryParameter(description="Send also what is not due yet, was given up, or goes to a disabled endpoint")
    ] = False,
) -> dict[str, int]:
    """Send now what is due, and say how it went: attempted, delivered, failed, skipped.

    A message is sent 50 times at most, however often that is forced; then it is skipped.
    """
    now = seconds(ports.now())
    waiting: list[str] = []
    skipped = 0
    async for log in _undelivered(ports, asker):
        due = log.status == "pending" and log.next_attempt_at is not None and log.next_attempt_at <= now
        if (force or due) and len(waiting) < SENT_AT_ONCE_MAX:
            waiting.append(log.id)
        else:
            skipped += 1
    gate = _GATES.setdefault(asker.workspace_id, asyncio.Semaphore(SENDERS))

    async def send_one(delivery_id: str) -> str:
        async with gate:
            try:
                return await send(delivery_id, ports.sending, asker.context, sender=str(uuid4()), force=force)
            except DeliveryInProgress:
                return "skipped"

    # Oldest first, because that is the order in which they happened.
    outcomes = await asyncio.gather(*(send_one(each) for each in reversed(waiting)))
    delivered, failed = outcomes.count("delivered"), outcomes.count("failed")
    return {
        "attempted": delivered + failed,
        "delivered": delivered,
        "failed": failed,
        "skipped": skipped + outcomes.count("skipped"),
    }


@post("/v1/webhook-deliveries/replay", status_code=202, tags=["platform"], opt=needs("webhooks:manage", "admin"))
async def replay_webhooks(
    data: JSONBody[Replay],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    idempotency_key: IdempotencyKey = None,
) -> Replayed:
    """Send again the messages of a time, as new deliveries to the endpoints of then. The same key replays once.

    They say what they said the first time. A job that has been told 100 times is skipped.
    """
    since = check_moment(data.since, ("body", "since")).astimezone(UTC)
    until = check_moment(data.until or ports.now(), ("body", "until")).astimezone(UTC)
    if until < since:
        raise BackwardsRange(loc=("body", "until"))
    find = reader(ports.log)
    book = await find(endpoint_books, asker.workspace_id)
    if data.endpoint_id is not None and data.endpoint_id not in book.endpoints:
        raise NoSuchEndpoint
    replay = idempotency_key or ports.vault.new_id()
    first, last = seconds(since), seconds(until)
    queued = skipped = 0
    # Of several deliveries of one message to one place the newest tells whether it has arrived.
    seen: set[tuple[str, str, str]] = set()
    async for log in _all(ports, asker, since=first):
        message = (log.endpoint_id or log.url, log.job_id, log.event_type)
        declared = messages().get(log.event_type)
        if message in seen or declared is None or declared.on is None:
            continue
        seen.add(message)
        if log.created_at > last or data.endpoint_id not in (None, log.endpoint_id):
            continue
        gone = log.endpoint_id is not None and log.endpoint_id not in book.endpoints
        if gone or (data.only == "failed" and log.status not in ("failed", "disabled")):
            skipped += 1
            continue
        before = await find(deliveries, log.id)
        subject = Subject(kind=before.subject_kind, id=before.subject_id, workspace_id=asker.workspace_id)
        again = AskForDelivery(
            delivery_id=derived_id("replay", asker.workspace_id, replay, *message),
            workspace_id=subject.workspace_id,
            subject_kind=subject.kind,
            subject_id=subject.id,
            url=log.url,
            message_type=log.event_type,
            body=await body_of(before, ports.log),
            endpoint_id=log.endpoint_id,
            signer=before.signer,
            seen=await _seen(ports, subject),
        )
        try:
            await ports.execute(again, asker.context)
        except TooManyDeliveries:
            skipped += 1
        else:
            queued += 1
    return Replayed(queued=queued, skipped=skipped)


async def _undelivered(ports: Ports, asker: Asker) -> AsyncIterator[DeliveryLog]:
    async for log in _all(ports, asker):
        if log.status != "delivered":
            yield log


async def _all(ports: Ports, asker: Asker, since: str = "") -> AsyncIterator[DeliveryLog]:
    """The delivery log of the workspace back to a moment, newest first, as far as one request looks."""
    before: int | None = None
    for _ in range(LOOKED_THROUGH_MAX // PAGE):
        found = await ports.views.page(delivery_logs, asker.workspace_id, limit=PAGE, before=before)
        for each in found:
            log = json.decode(each.body, type=DeliveryLog)
            if log.created_at < since:
                return
            yield log
        if len(found) < PAGE:
            return
        before = found[-1].created
