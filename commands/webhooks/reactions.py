"""What follows for those who want to be told."""

from __future__ import annotations

from datetime import datetime

from msgspec import Raw, json

from commands.kernel import derived_id, reacts_to
from commands.ports import World
from commands.webhooks.deliveries import QueueDelivery, RecordAttempt
from domain.analyses.analyses import AnalysisCompleted, AnalysisFailed, AnalysisRequested, analyses
from domain.kernel import Event, Value
from domain.ledger import Recorded
from domain.webhooks.deliveries import DeliveryAttempted, DeliveryQueued, deliveries, next_attempt
from domain.webhooks.secrets import signing_secrets


class Message(Value):
    """The body of a webhook, as Standard Webhooks recommends it."""

    type: str
    timestamp: str
    data: Raw


@reacts_to(AnalysisCompleted, AnalysisFailed, name="queue-delivery")
async def queue_delivery(recorded: Recorded, world: World) -> None:
    """Whoever left an address with the job hears of its end."""
    event = recorded.event
    assert isinstance(event, AnalysisCompleted | AnalysisFailed)
    history = await world.log.read(analyses.stream(event.analysis_id))
    requested = next(past for past in history.events if isinstance(past, AnalysisRequested))
    if requested.webhook_url is None:
        return
    completed = isinstance(event, AnalysisCompleted)
    await world.execute(
        QueueDelivery(
            delivery_id=derived_id("delivery", event.analysis_id, requested.webhook_url),
            workspace_id=requested.workspace_id,
            analysis_id=event.analysis_id,
            url=requested.webhook_url,
            message_type="analysis.completed" if completed else "analysis.failed",
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
async def deliver(recorded: Recorded, world: World) -> None:
    """Send the message once more, under the same id and a new time, and write down how it went."""
    event = recorded.event
    assert isinstance(event, DeliveryQueued | DeliveryAttempted)
    history = await world.log.read(deliveries.stream(event.delivery_id))
    delivery = deliveries.fold(history.events)
    attempt = event.attempt + 1 if isinstance(event, DeliveryAttempted) else 1
    if delivery.is_over or delivery.attempts >= attempt:
        return
    queued = next(past for past in history.events if isinstance(past, DeliveryQueued))
    now = world.now()
    secrets = signing_secrets.fold((await world.log.read(signing_secrets.stream(queued.workspace_id))).events)
    message = Message(
        type=queued.message_type,
        timestamp=queued.queued_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        data=Raw(await world.analysis_body(queued.analysis_id)),
    )
    body = json.encode(message)
    signed = world.secrets.sign(f"msg_{event.delivery_id}", now, body, secrets.valid(queued.workspace_id, now))
    status: int | None = None
    error: str | None = None
    wait: float | None = None
    duration = 0.0
    gone = False
    try:
        answer = await world.web.post(
            queued.url,
            body,
            {**signed, "User-Agent": "Ledgerline-Webhooks/1"},
            seconds_max=world.limits.webhook_seconds_max,
        )
    except Exception as problem:
        if not hasattr(problem, "transient"):
            raise
        # A forbidden address stays forbidden; whatever else went wrong on the way may be over next time.
        gone, error = not problem.transient, str(problem)
    else:
        status, wait, duration = answer.status, answer.retry_after_seconds, answer.duration_seconds
        gone = status == 410
        if not 200 <= status < 300:
            error = f"The receiver answered {status}."
    success = status is not None and 200 <= status < 300
    again = next_attempt(
        attempt,
        now,
        waits=world.limits.webhook_retry_seconds,
        jitter=world.limits.webhook_jitter * world.chance(),
        retry_after_seconds=wait,
    )
    await world.execute(
        RecordAttempt(
            delivery_id=event.delivery_id,
            attempt=attempt,
            success=success,
            status_code=status,
            error_detail=error,
            signature=signed["webhook-signature"],
            duration_seconds=duration,
            next_attempt_at=None if gone else again,
            gives_up="the receiver is gone" if gone else "no attempt is left",
        ),
        recorded.context(),
    )
