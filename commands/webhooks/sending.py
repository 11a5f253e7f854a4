"""Sending one message once: signed, under the same id as before and a new time, and written down how it went."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

import structlog
from msgspec import Raw, json

from commands.webhooks.deliveries import BeginAttempt, GiveUpDelivery, RecordAttempt
from commands.webhooks.ports import Ports
from domain.kernel import ERASED, Value
from domain.ledger import Context
from domain.webhooks.deliveries import (
    Delivery,
    DeliveryBegun,
    DeliveryInProgress,
    DeliveryIsOver,
    NoAttemptLeft,
    NoSuchDelivery,
    deliveries,
    next_attempt,
)
from domain.webhooks.endpoints import Endpoint, endpoint_books
from domain.webhooks.secrets import signing_secrets

log = structlog.get_logger(__name__)

#: How long after its time a sender is still believed to be sending; then somebody else may.
RETRY_SECONDS = 30.0

Outcome = Literal["delivered", "failed", "skipped"]


class Message(Value):
    """The body of a webhook, as Standard Webhooks recommends it."""

    type: str
    timestamp: str
    data: Raw


class _Heard(Value):
    """What came of posting a message."""

    status: int | None = None
    error: str | None = None
    retry_after_seconds: float | None = None
    duration_seconds: float = 0.0
    gone: bool = False

    @property
    def success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


async def send(
    delivery_id: str,
    ports: Ports,
    context: Context,
    *,
    sender: str,
    attempt: int | None = None,
    force: bool = False,
) -> Outcome:
    """Send a message once, unless that is done or pointless; the n-th `attempt` only while it is the next one.

    Raises DeliveryInProgress while another sender is at it. `force` ignores that it was given up, or its endpoint
    disabled.
    """
    delivery = deliveries.fold((await ports.log.read(deliveries.stream(delivery_id))).events)
    if not delivery.queued:
        raise NoSuchDelivery
    turn = delivery.attempts + 1
    if delivery.delivered or (delivery.given_up and not force) or (attempt is not None and turn > attempt):
        return "skipped"
    endpoint: Endpoint | None = None
    if delivery.endpoint_id is None and delivery.url == ERASED:
        await ports.execute(_Pointless(because="removed", reason="the workspace is forgotten")(delivery_id), context)
        return "skipped"
    if delivery.endpoint_id is not None:
        book = endpoint_books.fold((await ports.log.read(endpoint_books.stream(delivery.workspace_id))).events)
        endpoint = book.endpoints.get(delivery.endpoint_id)
        pointless = _pointless(delivery, endpoint, force=force)
        if pointless is not None:
            await ports.execute(pointless(delivery_id), context)
            return "skipped"
    patience = _patience(ports)
    try:
        await ports.execute(
            BeginAttempt(delivery_id=delivery_id, attempt=turn, sender=sender, patience=patience, force=force), context
        )
    except (DeliveryIsOver, NoAttemptLeft):
        return "skipped"
    now = ports.now()
    body = await _body(delivery, ports)
    signed = ports.signer.sign(f"msg_{delivery_id}", now, body, await _secret_ids(delivery, endpoint, now, ports))
    heard = await _post(endpoint.url if endpoint else delivery.url, body, signed, ports)
    again = next_attempt(
        turn,
        now,
        waits=() if delivery.message_type == "webhook.ping" else ports.settings.webhook_retry_seconds,
        jitter=ports.settings.webhook_jitter * ports.chance(),
        retry_after_seconds=heard.retry_after_seconds,
    )
    written = await ports.execute(
        RecordAttempt(
            delivery_id=delivery_id,
            attempt=turn,
            success=heard.success,
            status_code=heard.status,
            error_detail=heard.error,
            signature=signed["webhook-signature"],
            duration_seconds=heard.duration_seconds,
            next_attempt_at=None if heard.gone else again,
            gives_up="gone" if heard.gone else "exhausted",
            reason="the receiver is gone" if heard.gone else "no attempt is left",
            disable_after=timedelta(hours=ports.settings.webhook_disable_hours),
        ),
        context,
    )
    if written:
        await _say(delivery_id, delivery, endpoint, turn, heard, ports)
    return "delivered" if heard.success else "failed"


async def end_abandoned(begun: DeliveryBegun, ports: Ports, context: Context) -> None:
    """Write down that an attempt came to nothing when whoever began it is gone; raises DeliveryInProgress before."""
    delivery = deliveries.fold((await ports.log.read(deliveries.stream(begun.delivery_id))).events)
    if delivery.begun_at != begun.begun_at or delivery.begun_by != begun.begun_by:
        return
    now = ports.now()
    if now < begun.begun_at + _patience(ports):
        raise DeliveryInProgress
    waits = () if delivery.message_type == "webhook.ping" else ports.settings.webhook_retry_seconds
    await ports.execute(
        RecordAttempt(
            delivery_id=begun.delivery_id,
            attempt=begun.attempt,
            success=False,
            status_code=None,
            error_detail="The process that sent this ended before there was an answer.",
            signature=None,
            duration_seconds=0.0,
            next_attempt_at=next_attempt(begun.attempt, now, waits=waits, jitter=0.0),
            disable_after=timedelta(hours=ports.settings.webhook_disable_hours),
        ),
        context,
    )


def _patience(ports: Ports) -> timedelta:
    return timedelta(seconds=ports.settings.webhook_seconds_max + RETRY_SECONDS)


async def _say(
    delivery_id: str, delivery: Delivery, endpoint: Endpoint | None, turn: int, heard: _Heard, ports: Ports
) -> None:
    """Tell the operator how an attempt went; addresses stay out of logs, since they may carry secrets."""
    about = {"workspace_id": delivery.workspace_id, "endpoint_id": delivery.endpoint_id}
    log.info(
        "webhook.delivered" if heard.success else "webhook.failed",
        delivery_id=delivery_id,
        analysis_id=delivery.analysis_id,
        **about,
        attempt=turn,
        status=heard.status,
        seconds=round(heard.duration_seconds, 3),
        problem=heard.error,
    )
    if not heard.success and endpoint is not None and endpoint.enabled:
        book = endpoint_books.fold((await ports.log.read(endpoint_books.stream(delivery.workspace_id))).events)
        now = book.endpoints.get(delivery.endpoint_id or "")
        if now is not None and not now.enabled:
            log.info("webhook.endpoint_disabled", **about)


class _Pointless(Value):
    """Why a message is not sent at all."""

    because: Literal["disabled", "removed"]
    reason: str

    def __call__(self, delivery_id: str) -> GiveUpDelivery:
        return GiveUpDelivery(delivery_id=delivery_id, because=self.because, reason=self.reason)


def _pointless(delivery: Delivery, endpoint: Endpoint | None, *, force: bool) -> _Pointless | None:
    if endpoint is None:
        return _Pointless(because="removed", reason="the endpoint has been deleted")
    # A ping asks whether an endpoint could be told, which is best known before it is enabled.
    if not endpoint.enabled and not force and delivery.message_type != "webhook.ping":
        return _Pointless(because="disabled", reason="the endpoint is disabled")
    return None


async def _body(delivery: Delivery, ports: Ports) -> bytes:
    assert delivery.queued_at is not None
    if delivery.message_type == "webhook.ping":
        data = json.encode({"endpoint_id": delivery.endpoint_id, "workspace_id": delivery.workspace_id})
    elif delivery.endpoint_id is not None:
        data = await ports.bodies.platform_analysis(delivery.analysis_id)
    else:
        data = await ports.bodies.analysis(delivery.analysis_id)
    timestamp = delivery.queued_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.encode(Message(type=delivery.message_type, timestamp=timestamp, data=Raw(data)))


async def _secret_ids(delivery: Delivery, endpoint: Endpoint | None, now: datetime, ports: Ports) -> list[str]:
    """An endpoint has secrets of its own; an address left with a job is signed for with the workspace's."""
    if endpoint is not None:
        return endpoint.valid_secrets(now)
    secrets = signing_secrets.fold((await ports.log.read(signing_secrets.stream(delivery.workspace_id))).events)
    return secrets.valid(delivery.workspace_id, now)


async def _post(url: str, body: bytes, signed: Mapping[str, str], ports: Ports) -> _Heard:
    try:
        answer = await ports.web.post(
            url,
            body,
            {**signed, "User-Agent": "Ledgerline-Webhooks/1"},
            seconds_max=ports.settings.webhook_seconds_max,
        )
    except Exception as problem:
        if not hasattr(problem, "transient"):
            raise
        # A forbidden address stays forbidden; whatever else went wrong on the way may be over next time.
        return _Heard(error=str(problem), gone=not problem.transient)
    return _Heard(
        status=answer.status,
        error=None if 200 <= answer.status < 300 else f"The receiver answered {answer.status}.",
        retry_after_seconds=answer.retry_after_seconds,
        duration_seconds=answer.duration_seconds,
        gone=answer.status == 410,
    )
