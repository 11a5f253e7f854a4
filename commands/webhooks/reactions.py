"""What follows for those who want to be told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from commands.kernel import MAIL, Queue, derived_id, reacts_to
from commands.ports import Letter
from commands.webhooks.deliveries import QueueDelivery, delivery_of_event
from commands.webhooks.ports import Ports
from commands.webhooks.sending import end_abandoned, reader, send
from commands.webhooks.settings import Webhooks
from domain.identity.people import PersonRegistered, people
from domain.identity.workspaces import workspaces
from domain.kernel import ERASED, Event
from domain.ledger import PUBLIC, Recorded
from domain.vocabulary import parted
from domain.webhooks.deliveries import DeliveryAttempted, DeliveryBegun, DeliveryQueued, DeliveryResumed
from domain.webhooks.endpoints import EndpointDisabled, endpoint_books, events_for_endpoints
from domain.webhooks.messages import Message, Subject, messages
from domain.webhooks.signing import STANDARD_WEBHOOKS, Signer

log = structlog.get_logger(__name__)

#: When somebody looks whether a forced attempt has an end.
ABANDONED_AFTER = timedelta(minutes=1)

WEBHOOKS = Queue("webhooks", concurrency=64, timeout=lambda settings: settings[Webhooks].webhook_seconds_max + 30.0)


#: What there is to tell of an event.
MESSAGES: dict[type[Event], list[Message]] = {
    event: [message for message in messages().values() if message.on is event]
    for event in dict.fromkeys(message.on for message in messages().values())
    if event is not None
}


@reacts_to(*MESSAGES, name="queue-delivery")
async def queue_delivery(recorded: Recorded, ports: Ports) -> None:
    """The address left with the subject, the endpoint it names, and all endpoints that want to, hear what happened.

    What they are told is written now, as of the event: the same for all of them, and on every attempt.
    """
    kind, identity = parted(recorded.stream)
    subject = Subject(kind=kind, id=identity, workspace_id=recorded.workspace_id)
    events = (await ports.log.read(recorded.stream)).events[: recorded.version]
    for message in MESSAGES[type(recorded.event)]:
        for delivery in await _deliveries(message, subject, events, recorded, ports):
            await ports.execute(delivery, recorded.context())


async def _deliveries(
    message: Message, subject: Subject, events: Sequence[Event], recorded: Recorded, ports: Ports
) -> list[QueueDelivery]:
    def to(url: str, endpoint_id: str | None, body: str, signer: Signer) -> QueueDelivery:
        return QueueDelivery(
            delivery_id=derived_id("delivery", str(recorded.event_id), message.name, endpoint_id or url),
            workspace_id=subject.workspace_id,
            subject_kind=subject.kind,
            subject_id=subject.id,
            url=url,
            message_type=message.name,
            body=body,
            endpoint_id=endpoint_id,
            signer=signer.name,
        )

    found = []
    find = reader(ports.log)
    if message.own is not None:
        url = await message.own.url(subject, events, find)
        # The address left with a thing goes with its workspace, as endpoints do.
        if url is not None and url != ERASED:
            body = message.write(subject, events, recorded.recorded_at, own=True)
            found.append(to(url, None, body, message.own.signer))
    if subject.workspace_id == PUBLIC:
        return found
    named = message.endpoint(events)
    body = message.write(subject, events, recorded.recorded_at)
    for endpoint_id, endpoint in (await find(endpoint_books, subject.workspace_id)).endpoints.items():
        if endpoint_id == named or endpoint.wants(message):
            found.append(to(endpoint.url, endpoint_id, body, STANDARD_WEBHOOKS))
    return found


#: The published events that endpoints may choose, by their kinds.
EVENTS: dict[type[Event], str] = {each.kind: each.type for each in events_for_endpoints().values()}


@reacts_to(*EVENTS, name="queue-event", only_with=endpoint_books)
async def queue_event(recorded: Recorded, ports: Ports) -> None:
    """The endpoints that have chosen this type hear of it in the words that every subscriber is told."""
    endpoints = (await reader(ports.log)(endpoint_books, recorded.workspace_id)).endpoints
    kind = EVENTS[type(recorded.event)]
    wanting = {name: each.url for name, each in endpoints.items() if each.wants_event(kind)}
    if not wanting or (told := await ports.published.at(recorded.position)) is None:
        return
    for endpoint_id, url in wanting.items():
        await ports.execute(delivery_of_event(told, recorded.workspace_id, endpoint_id, url), recorded.context())


def _awaits_another(event: Event) -> bool:
    return isinstance(event, DeliveryQueued | DeliveryResumed) or (
        isinstance(event, DeliveryAttempted) and event.next_attempt_at is not None
    )


def _due(event: Event) -> datetime | None:
    if isinstance(event, DeliveryQueued) and event.replay_id is not None:
        # Its replay sends it, and only where that died in between nobody would.
        return event.queued_at + ABANDONED_AFTER
    return event.next_attempt_at if isinstance(event, DeliveryAttempted) else None


@reacts_to(
    DeliveryQueued,
    DeliveryAttempted,
    DeliveryResumed,
    name="deliver",
    only=_awaits_another,
    due=_due,
    queue=WEBHOOKS,
)
async def deliver(recorded: Recorded, ports: Ports) -> None:
    """Send the message when its time has come, unless somebody was quicker."""
    event = recorded.event
    assert isinstance(event, DeliveryQueued | DeliveryAttempted | DeliveryResumed)
    await send(
        event.delivery_id, ports, recorded.context(), sender=str(recorded.event_id), attempt=_attempt_after(event)
    )


def _attempt_after(event: DeliveryQueued | DeliveryAttempted | DeliveryResumed) -> int:
    match event:
        case DeliveryAttempted():
            return event.attempt + 1
        case DeliveryResumed():
            return event.attempts + 1
    return 1


def _is_forced(event: Event) -> bool:
    return isinstance(event, DeliveryBegun) and event.forced


@reacts_to(
    DeliveryBegun,
    name="end-abandoned-attempt",
    only=_is_forced,
    due=lambda event: event.begun_at + ABANDONED_AFTER,
    queue=WEBHOOKS,
)
async def end_abandoned_attempt(recorded: Recorded, ports: Ports) -> None:
    """An attempt that somebody forced ends, also when the process that sends it does not live to see the answer."""
    event = recorded.event
    assert isinstance(event, DeliveryBegun)
    await end_abandoned(event, ports, recorded.context())


def _by_itself(event: Event) -> bool:
    return isinstance(event, EndpointDisabled) and event.because != "asked"


@reacts_to(EndpointDisabled, name="mail-endpoint-disabled", only=_by_itself, queue=MAIL)
async def mail_endpoint_disabled(recorded: Recorded, ports: Ports) -> None:
    """The owner learns that an endpoint is not told any more, since nobody else may notice."""
    event = recorded.event
    assert isinstance(event, EndpointDisabled)
    if ports.post is None:
        return
    book = await ports.log.state(endpoint_books, event.workspace_id)
    endpoint = book.endpoints.get(event.endpoint_id)
    if endpoint is None or endpoint.enabled:
        return
    workspace = await ports.log.state(workspaces, event.workspace_id)
    why = (
        "It answered that it is gone for good (410)."
        if event.because == "gone"
        else "Every message to it has failed for days."
    )
    for person_id in [person for person, role in workspace.roles.items() if role == "owner"]:
        history = await ports.log.read(people.stream(person_id))
        email = next((past.email for past in history.events if isinstance(past, PersonRegistered)), ERASED)
        if email in (ERASED, ""):
            continue
        letter_id = derived_id("endpoint disabled", str(recorded.event_id), person_id)
        try:
            await ports.post.send(
                Letter(
                    letter_id=letter_id,
                    to=email,
                    subject="A webhook endpoint has been disabled",
                    text=f"The webhook endpoint {endpoint.url.partition('?')[0]} ({event.endpoint_id}) is no longer "
                    f"told anything, since {event.disabled_at:%Y-%m-%d %H:%M} UTC. {why}\n\n"
                    "What it has missed is kept. Enable it again when it works, and ask for a replay.\n",
                )
            )
        except Exception as problem:
            if getattr(problem, "transient", True):
                raise
            # No server will ever take it, and later letters about other endpoints would wait behind it.
            log.warning("mail.refused", letter_id=letter_id, problem=str(problem))
