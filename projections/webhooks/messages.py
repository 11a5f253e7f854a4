"""The message that tells of nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence

from domain.kernel import Event, Value
from domain.webhooks.messages import Subject, message


class Ping(Value):
    """The endpoint that is tried out."""

    endpoint_id: str
    workspace_id: str


def ping(subject: Subject, events: Sequence[Event]) -> Ping:
    """What a ping tells."""
    del events  # it is about none
    return Ping(endpoint_id=subject.id, workspace_id=subject.workspace_id)


webhook_ping = message(
    "webhook.ping",
    "Somebody tries an endpoint out. It is sent once, also to a disabled endpoint, and only when asked for.",
    on=None,
    at="",
    body=ping,
    schema=Ping,
    example=(),
)
