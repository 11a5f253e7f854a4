"""What follows for those who want to be told."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from commands.kernel import derived_id, reacts_to
from commands.ports import Letter
from commands.webhooks.deliveries import QueueDelivery
from commands.webhooks.ports import Ports
from commands.webhooks.sending import end_abandoned, send
from domain.analyses.analyses import AnalysisCompleted, AnalysisFailed, AnalysisRequested, analyses
from domain.identity.people import PersonRegistered, people
from domain.identity.workspaces import workspaces
from domain.kernel import ERASED, Event
from domain.ledger import PUBLIC, Recorded
from domain.webhooks.deliveries import DeliveryAttempted, DeliveryBegun, DeliveryQueued, MessageType
from domain.webhooks.endpoints import EndpointDisabled, endpoint_books

log = structlog.get_logger(__name__)

#: When somebody looks whether a forced attempt has an end.
ABANDONED_AFTER = timedelta(minutes=1)


@reacts_to(AnalysisCompleted, AnalysisFailed, name="queue-delivery")
async def queue_delivery(recorded: Recorded, ports: Ports) -> None:
    """The address left with the job, the job's endpoint, and all endpoints that want to, hear of its end."""
    event = recorded.event
    assert isinstance(event, AnalysisCompleted | AnalysisFailed)
    history = await ports.log.read(analyses.stream(event.analysis_id))
    requested = next(past for past in history.events if isinstance(past, AnalysisRequested))
    message_type: MessageType = "analysis.completed" if isinstance(event, AnalysisCompleted) else "analysis.failed"
    # The address left with a job goes with its workspace, as endpoints do.
    if requested.webhook_url is not None and requested.webhook_url != ERASED:
        await ports.execute(
            QueueDelivery(
                delivery_id=derived_id("delivery", event.analysis_id, requested.webhook_url),
                workspace_id=requested.workspace_id,
                analysis_id=event.analysis_id,
                url=requested.webhook_url,
                message_type=message_type,
            ),
            recorded.context(),
        )
    if requested.workspace_id == PUBLIC:
        return
    book = endpoint_books.fold((await ports.log.read(endpoint_books.stream(requested.workspace_id))).events)
    for endpoint_id, endpoint in book.endpoints.items():
        if endpoint_id == requested.webhook_endpoint_id or endpoint.wants(message_type):
            await ports.execute(
                QueueDelivery(
                    delivery_id=derived_id("delivery", event.analysis_id, endpoint_id),
                    workspace_id=requested.workspace_id,
                    analysis_id=event.analysis_id,
                    url=endpoint.url,
                    message_type=message_type,
                    endpoint_id=endpoint_id,
                ),
                recorded.context(),
            )


def _awaits_another(event: Event) -> bool:
    return isinstance(event, DeliveryQueued) or (
        isinstance(event, DeliveryAttempted) and event.next_attempt_at is not None
    )


def _due(event: Event) -> datetime | None:
    return event.next_attempt_at if isinstance(event, DeliveryAttempted) else None


@reacts_to(DeliveryQueued, DeliveryAttempted, name="deliver", only=_awaits_another, due=_due, queue="webhooks")
async def deliver(recorded: Recorded, ports: Ports) -> None:
    """Send the message when its time has come, unless somebody was quicker."""
    event = recorded.event
    assert isinstance(event, DeliveryQueued | DeliveryAttempted)
    await send(
        event.delivery_id,
        ports,
        recorded.context(),
        sender=str(recorded.event_id),
        attempt=event.attempt + 1 if isinstance(event, DeliveryAttempted) else 1,
    )


def _is_forced(event: Event) -> bool:
    return isinstance(event, DeliveryBegun) and event.forced


@reacts_to(
    DeliveryBegun,
    name="end-abandoned-attempt",
    only=_is_forced,
    due=lambda event: event.begun_at + ABANDONED_AFTER,
    queue="webhooks",
)
async def end_abandoned_attempt(recorded: Recorded, ports: Ports) -> None:
    """An attempt that somebody forced ends, also when the process that sends it does not live to see the answer."""
    event = recorded.event
    assert isinstance(event, DeliveryBegun)
    await end_abandoned(event, ports, recorded.context())


def _by_itself(event: Event) -> bool:
    return isinstance(event, EndpointDisabled) and event.because != "asked"


@reacts_to(EndpointDisabled, name="mail-endpoint-disabled", only=_by_itself)
async def mail_endpoint_disabled(recorded: Recorded, ports: Ports) -> None:
    """The owner learns that an endpoint is not told any more, since nobody else may notice."""
    event = recorded.event
    assert isinstance(event, EndpointDisabled)
    if ports.post is None:
        return
    book = endpoint_books.fold((await ports.log.read(endpoint_books.stream(event.workspace_id))).events)
    endpoint = book.endpoints.get(event.endpoint_id)
    if endpoint is None or endpoint.enabled:
        return
    workspace = workspaces.fold((await ports.log.read(workspaces.stream(event.workspace_id))).events)
    why = (
        "It answered that it is gone for good (410), or its address is one that we may not connect to."
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
