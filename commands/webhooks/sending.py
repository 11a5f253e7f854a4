"""Sending one message once: signed, under the same id as before and a new time, and written down how it went."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal, TypeVar

import structlog

from commands.kernel import Log
from commands.webhooks.deliveries import BeginAttempt, GiveUpDelivery, RecordAttempt
from commands.webhooks.ports import Ports
from domain.kernel import ERASED, Category, State, Value
from domain.ledger import Context
from domain.tracing import HEADER, TRACE, span
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
from domain.webhooks.messages import Find, Recipient, Subject, as_it_was_left, messages
from domain.webhooks.signing import SIGNERS, Outgoing

log = structlog.get_logger(__name__)

#: How long after its time a sender is still believed to be sending; then somebody else may.
RETRY_SECONDS = 30.0

Outcome = Literal["delivered", "failed", "skipped"]

S = TypeVar("S", bound=State)


class _Result(Value):
    """What came of posting a message; `setting` is the one by which we refused to."""

    status: int | None = None
    error: str | None = None
    retry_after_seconds: float | None = None
    duration_seconds: float = 0.0
    setting: str | None = None

    @property
    def asked_to_wait_seconds(self) -> float | None:
        """What a receiver asks for counts from its answer; this counts from the request, as our own waits do."""
        return None if self.retry_after_seconds is None else self.duration_seconds + self.retry_after_seconds

    @property
    def gone(self) -> bool:
        return self.status == 410

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
    delivery = await ports.log.state(deliveries, delivery_id)
    if not delivery.queued:
        raise NoSuchDelivery
    turn = delivery.attempts + 1
    if delivery.delivered or (delivery.given_up and not force) or (attempt is not None and turn > attempt):
        return "skipped"
    endpoint: Endpoint | None = None
    if ERASED in (delivery.body, None if delivery.endpoint_id else delivery.url):
        await ports.execute(_Pointless(because="removed", reason="the workspace is forgotten")(delivery_id), context)
        return "skipped"
    if delivery.endpoint_id is not None:
        book = await reader(ports.log)(endpoint_books, delivery.workspace_id)
        endpoint = book.endpoints.get(delivery.endpoint_id)
        pointless = _pointless(delivery, endpoint, force=force)
        if pointless is not None:
            await ports.execute(pointless(delivery_id), context)
            return "skipped"
    recipient = await _recipient(delivery, endpoint, ports)
    if recipient is None:
        await ports.execute(
            _Pointless(because="removed", reason="the address has been taken away")(delivery_id), context
        )
        return "skipped"
    timeout = _attempt_timeout(ports)
    try:
        await ports.execute(
            BeginAttempt(delivery_id=delivery_id, attempt=turn, sender=sender, timeout=timeout, force=force), context
        )
    except (DeliveryIsOver, NoAttemptLeft):
        return "skipped"
    if force:
        # Somebody may have had it resumed in between; from here on nobody does, until this attempt is over.
        delivery = await ports.log.state(deliveries, delivery_id)
    now = ports.now()
    signer = SIGNERS[delivery.signer]
    body = (await body_of(delivery, ports.log)).encode()
    headers = signer.headers(
        Outgoing(
            message_id=delivery.message_id or f"msg_{delivery_id}",
            message_type=delivery.message_type,
            sent_at=now,
            body=body,
            secrets=[ports.secrets.signing_secret(each) for each in recipient.secret_ids],
        )
    )
    result = await _post(recipient.url or delivery.url, body, headers, ports)
    again = next_attempt(
        turn,
        now,
        waits=_waits(delivery, ports),
        jitter=ports.settings.webhook_jitter * ports.chance(),
        series_after=delivery.series_after,
        retry_after_seconds=result.asked_to_wait_seconds,
    )
    written = await ports.execute(
        RecordAttempt(
            delivery_id=delivery_id,
            attempt=turn,
            success=result.success,
            status_code=result.status,
            error_detail=result.error,
            signature=headers[signer.signature],
            duration_seconds=result.duration_seconds,
            next_attempt_at=again,
            gives_up="gone" if result.gone else "exhausted",
            reason="the receiver is gone" if result.gone else "no attempt is left",
            refused=result.setting is not None,
            sent_to=recipient.url or delivery.url,
            disable_after=timedelta(hours=ports.settings.webhook_disable_hours),
        ),
        context,
    )
    if written:
        await _say(delivery_id, delivery, endpoint, turn, result, ports)
    return "delivered" if result.success else "failed"


async def end_abandoned(begun: DeliveryBegun, ports: Ports, context: Context) -> None:
    """Write down that an attempt came to nothing when whoever began it is gone; raises DeliveryInProgress before."""
    delivery = await ports.log.state(deliveries, begun.delivery_id)
    if delivery.begun_at != begun.begun_at or delivery.begun_by != begun.begun_by:
        return
    now = ports.now()
    if now < begun.begun_at + _attempt_timeout(ports):
        raise DeliveryInProgress
    await ports.execute(
        RecordAttempt(
            delivery_id=begun.delivery_id,
            attempt=begun.attempt,
            success=False,
            status_code=None,
            error_detail="The process that sent this ended before there was an answer.",
            signature=None,
            duration_seconds=0.0,
            next_attempt_at=next_attempt(
                begun.attempt, now, waits=_waits(delivery, ports), jitter=0.0, series_after=delivery.series_after
            ),
            disable_after=timedelta(hours=ports.settings.webhook_disable_hours),
        ),
        context,
    )


def _waits(delivery: Delivery, ports: Ports) -> tuple[float, ...]:
    """How long to wait before each further attempt; what somebody asked for is sent once, since they look at it."""
    return () if _is_asked_for(delivery) else ports.settings.webhook_retry_seconds


def _is_asked_for(delivery: Delivery) -> bool:
    message = messages().get(delivery.message_type)
    return message is not None and message.on is None


def _attempt_timeout(ports: Ports) -> timedelta:
    return timedelta(seconds=ports.settings.webhook_seconds_max + RETRY_SECONDS)


async def _say(
    delivery_id: str, delivery: Delivery, endpoint: Endpoint | None, turn: int, result: _Result, ports: Ports
) -> None:
    """Tell the operator how an attempt went; addresses stay out of logs, since they may carry secrets.

    What only an operator can change is named: the setting that keeps us from connecting.
    """
    about = {
        f"{delivery.subject_kind}_id": delivery.subject_id,
        "workspace_id": delivery.workspace_id,
        "endpoint_id": delivery.endpoint_id,
    }
    log.info(
        "webhook.delivered" if result.success else "webhook.failed",
        delivery_id=delivery_id,
        **about,
        attempt=turn,
        status=result.status,
        seconds=round(result.duration_seconds, 3),
        problem=result.error,
        **({} if result.setting is None else {"setting": result.setting}),
    )
    if not result.success and endpoint is not None and endpoint.enabled:
        book = await reader(ports.log)(endpoint_books, delivery.workspace_id)
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
    if not endpoint.enabled and not force and not _is_asked_for(delivery):
        return _Pointless(because="disabled", reason="the endpoint is disabled")
    return None


def reader(log: Log) -> Find:
    """Looks up how things stand in the log."""

    async def find(category: Category[S], identity: str) -> S:
        return await log.state(category, identity)

    return find


async def body_of(delivery: Delivery, log: Log) -> str:
    """The text of a message: as it was queued, or for those queued before it was kept, as of its event once more."""
    if delivery.body is not None:
        return delivery.body
    assert delivery.queued_at is not None
    subject = Subject(kind=delivery.subject_kind, id=delivery.subject_id, workspace_id=delivery.workspace_id)
    message = messages()[delivery.message_type]
    events = message.until((await log.read(subject.stream)).events)
    return message.write(subject, events, delivery.queued_at, own=delivery.endpoint_id is None)


async def _recipient(delivery: Delivery, endpoint: Endpoint | None, ports: Ports) -> Recipient | None:
    """Where a message goes now and what signs it; none where nobody is there for it any more."""
    now = ports.now()
    if endpoint is not None:
        return Recipient(secret_ids=endpoint.valid_secrets(now), url=endpoint.url)
    own = messages()[delivery.message_type].own
    subject = Subject(kind=delivery.subject_kind, id=delivery.subject_id, workspace_id=delivery.workspace_id)
    return await (as_it_was_left if own is None else own.recipient)(subject, reader(ports.log), now)


async def _post(url: str, body: bytes, headers: Mapping[str, str], ports: Ports) -> _Result:
    try:
        with span("POST", "client", method="POST") as made:
            traceparent = TRACE.get()
            answer = await ports.web.post(
                url,
                body,
                {
                    **headers,
                    "User-Agent": "Ledgerline-Webhooks/1",
                    # So that a receiver who traces sees what it was that has led to this message.
                    **({} if traceparent is None else {HEADER: traceparent}),
                },
                seconds_max=ports.settings.webhook_seconds_max,
            )
            made.note(status=answer.status)
    except Exception as problem:
        if not hasattr(problem, "transient"):
            raise
        # Whatever goes wrong on the way may be over next time: names and certificates come back, settings are mended.
        return _Result(
            error=str(problem),
            duration_seconds=getattr(problem, "duration_seconds", 0.0),
            setting=getattr(problem, "setting", None),
        )
    return _Result(
        status=answer.status,
        error=None if 200 <= answer.status < 300 else f"The receiver answered {answer.status}.",
        retry_after_seconds=answer.retry_after_seconds,
        duration_seconds=answer.duration_seconds,
    )
