"""The endpoints of a workspace: addresses that want to be told, each with a secret and a choice of messages.

They share one stream, because whoever has something to tell asks for all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import Annotated, ClassVar, Literal

from msgspec import field
from msgspec.structs import replace

from domain.kernel import (
    Category,
    Conflict,
    Event,
    Invalid,
    NotFound,
    State,
    Upcasters,
    Value,
    personal,
    personal_since_then,
)
from domain.published import Published, matches, published_events
from domain.webhooks.messages import Message, messages

ENDPOINTS_MAX = 50
#: A receiver that is away for days must not pile up secrets: the oldest go first.
SECRETS_MAX = 10

WhyDisabled = Literal["asked", "failing", "gone"]


class EndpointRegistered(Event):
    """An address wants to be told; no chosen types means all of them."""

    target: ClassVar[str] = "webhook_endpoint"
    schema_version: ClassVar[int] = 2
    upcasters: ClassVar[Upcasters] = {1: personal_since_then("url")}

    endpoint_id: str
    workspace_id: str
    url: Annotated[str, personal("workspace_id", address=True)]
    secret_id: str
    registered_at: datetime
    description: Annotated[str, personal("workspace_id")] = ""
    event_types: tuple[str, ...] = ()
    enabled: bool = True


class EndpointMoved(Event):
    """It listens at another address now."""

    target: ClassVar[str] = "webhook_endpoint"
    schema_version: ClassVar[int] = 2
    upcasters: ClassVar[Upcasters] = {1: personal_since_then("url")}

    endpoint_id: str
    workspace_id: str
    url: Annotated[str, personal("workspace_id", address=True)]
    moved_at: datetime


class EndpointDescribed(Event):
    """Somebody has written down what it is for."""

    target: ClassVar[str] = "webhook_endpoint"

    endpoint_id: str
    workspace_id: str
    description: Annotated[str, personal("workspace_id")]
    described_at: datetime


class EndpointSubscribed(Event):
    """It wants other types of messages than before."""

    target: ClassVar[str] = "webhook_endpoint"

    endpoint_id: str
    workspace_id: str
    event_types: tuple[str, ...]
    subscribed_at: datetime


class EndpointSecretRotated(Event):
    """Its messages are signed with a new secret, and with the old one too until it expires."""

    target: ClassVar[str] = "webhook_endpoint"

    endpoint_id: str
    workspace_id: str
    secret_id: str
    rotated_at: datetime
    old_expires_at: datetime


class EndpointFailing(Event):
    """A message did not arrive, after all before had; `refused` when it was us who would not send it there."""

    target: ClassVar[str] = "webhook_endpoint"

    endpoint_id: str
    workspace_id: str
    failing_since: datetime
    refused: bool = False


class EndpointRecovered(Event):
    """A message has arrived again."""

    target: ClassVar[str] = "webhook_endpoint"

    endpoint_id: str
    workspace_id: str
    recovered_at: datetime


class EndpointDisabled(Event):
    """It is not told anything for now, and why."""

    target: ClassVar[str] = "webhook_endpoint"

    endpoint_id: str
    workspace_id: str
    because: WhyDisabled
    disabled_at: datetime


class EndpointEnabled(Event):
    """It is told again."""

    target: ClassVar[str] = "webhook_endpoint"

    endpoint_id: str
    workspace_id: str
    enabled_at: datetime


class EndpointRemoved(Event):
    """It is no more."""

    target: ClassVar[str] = "webhook_endpoint"

    endpoint_id: str
    workspace_id: str
    removed_at: datetime


class Endpoint(Value):
    """What rules need to know of an endpoint."""

    url: str
    description: str
    event_types: tuple[str, ...]
    #: Newest first, each with the end of its time.
    secrets: tuple[tuple[str, datetime | None], ...]
    enabled: bool = True
    #: Since when the receiver has done nothing but fail. That we would not send to it is no fault of its own.
    failing_since: datetime | None = None
    refused: bool = False

    def wants(self, message: Message) -> bool:
        """Whether it is enabled and has chosen this message; who chose nothing has chosen all that are not optional."""
        return self.enabled and (message.name in self.event_types if self.event_types else not message.optional)

    def wants_event(self, event_type: str) -> bool:
        """Whether it is enabled and has chosen this type of published events; who chose nothing has chosen none."""
        return self.enabled and any(matches(each, event_type) for each in self.event_types)

    def valid_secrets(self, now: datetime) -> list[str]:
        """The ids of the secrets to sign with now."""
        return [secret_id for secret_id, end in self.secrets if end is None or now < end]


class EndpointBook(State):
    """The endpoints of a workspace by their ids, oldest first."""

    endpoints: dict[str, Endpoint] = field(default_factory=dict)

    def newest_enabled(self) -> str | None:
        """The id of the youngest endpoint that may be told."""
        return next((each for each in reversed(self.endpoints) if self.endpoints[each].enabled), None)


def evolve(book: EndpointBook, event: Event) -> EndpointBook:
    """The endpoints after one more event."""
    match event:
        case EndpointRegistered():
            made = Endpoint(
                url=event.url,
                description=event.description,
                event_types=event.event_types,
                secrets=((event.secret_id, None),),
                enabled=event.enabled,
            )
            return EndpointBook(endpoints=book.endpoints | {event.endpoint_id: made})
        case EndpointRemoved():
            return EndpointBook(
                endpoints={name: each for name, each in book.endpoints.items() if name != event.endpoint_id}
            )
        case (
            EndpointMoved()
            | EndpointDescribed()
            | EndpointSubscribed()
            | EndpointSecretRotated()
            | EndpointFailing()
            | EndpointRecovered()
            | EndpointDisabled()
            | EndpointEnabled()
        ) if event.endpoint_id in book.endpoints:
            changed = _changed(book.endpoints[event.endpoint_id], event)
            return EndpointBook(endpoints=book.endpoints | {event.endpoint_id: changed})
    return book


def _changed(endpoint: Endpoint, event: Event) -> Endpoint:  # noqa: PLR0911 - one for each event
    match event:
        case EndpointMoved():
            # Whoever is at the new address has not failed yet.
            return replace(endpoint, url=event.url, failing_since=None, refused=False)
        case EndpointDescribed():
            return replace(endpoint, description=event.description)
        case EndpointSubscribed():
            return replace(endpoint, event_types=event.event_types)
        case EndpointSecretRotated():
            old = tuple((secret_id, end or event.old_expires_at) for secret_id, end in endpoint.secrets)
            return replace(endpoint, secrets=((event.secret_id, None), *old)[:SECRETS_MAX])
        case EndpointFailing():
            if event.refused:
                return replace(endpoint, refused=True)
            return replace(endpoint, failing_since=event.failing_since)
        case EndpointRecovered():
            return replace(endpoint, failing_since=None, refused=False)
        case EndpointDisabled():
            return replace(endpoint, enabled=False)
        case EndpointEnabled():
            return replace(endpoint, enabled=True, failing_since=None, refused=False)
    return endpoint


class NoSuchEndpoint(NotFound):
    """There is no webhook endpoint with this id."""


class NoEndpointToTell(NotFound):
    """There is no webhook endpoint to tell: the job names none, and the workspace has no enabled one."""


class TooManyEndpoints(Conflict):
    """A workspace has {endpoints_max} webhook endpoints at most. Delete one that nobody needs."""


class UnknownEventType(Invalid):
    """There is no message or published event of the type {event_type}. Choose from {choices}."""


#: What comes of sending messages. Whoever is told of it by a message, and takes some and refuses others, would bring
#: about the next one for ever; it is told over every other way.
OF_SENDING = (EndpointFailing, EndpointRecovered)


@cache
def events_for_endpoints() -> dict[str, Published]:
    """The published events that endpoints may choose, by their types."""
    return {name: each for name, each in published_events().items() if each.kind not in OF_SENDING}


def types_chosen(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The types of published events that are among some patterns, in the order of their names."""
    return tuple(name for name in events_for_endpoints() if any(matches(each, name) for each in patterns))


def check_types(event_types: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what neither a message nor a published event has for its type; the rest in one order, each once.

    A pattern stands for published events: `catalogue.*` is all those of the catalogue, also those still to come.
    """
    choices = [name for name, each in messages().items() if each.on is not None]
    for each in event_types:
        if each not in choices and not types_chosen((each,)):
            shown = ", ".join((*choices, *_alike(each)))
            raise UnknownEventType(event_type=each, choices=shown, loc=("body", "event_types"))
    return (*(each for each in choices if each in event_types), *sorted({*event_types} - {*choices}))


def _alike(event_type: str) -> Iterator[str]:
    """What else there is to choose: the published events of the context that was meant, and patterns of the others."""
    meant = event_type.partition(".")[0]
    contexts = dict.fromkeys(each.context for each in events_for_endpoints().values())
    for context in contexts:
        if context == meant:
            yield from types_chosen((f"{context}.*",))
        else:
            yield f"{context}.*"


endpoint_books = Category(name="endpoints", initial=EndpointBook(), evolve=evolve, absent=NoSuchEndpoint)
