"""The messages that other systems can be told, each declared once by the context whose event it tells of.

A declaration is all there is to a message: it is queued when its event happens, endpoints may choose it, the list of
event types and the documentation show it, and the tests try it. They stand in `projections/<context>/messages.py`,
because what a message tells is a view of its subject.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from msgspec import field, json

from domain.discovery import modules
from domain.kernel import Category, Event, State, Value
from domain.webhooks.secrets import signing_secrets
from domain.webhooks.signing import STANDARD_WEBHOOKS, Signer

S = TypeVar("S", bound=State)


class Subject(Value):
    """The thing a message is about: the category of its stream, its id, and whose it is."""

    kind: str
    id: str
    workspace_id: str

    @property
    def stream(self) -> str:
        """The stream of its events."""
        return f"{self.kind}-{self.id}"


class Find(Protocol):
    """Looks up how things stand."""

    async def __call__(self, category: Category[S], identity: str, /) -> S:
        """The state of a thing; the empty state when there is no such thing."""


#: What is told of a subject, from its events up to the one that the message is about.
Body = Callable[[Subject, Sequence[Event]], Value]


class Recipient(Value):
    """Who a message is for at the moment of sending: the ids of the secrets to sign with, newest first, and where.

    `url` is null where that is still where it was when the message was queued.
    """

    secret_ids: Sequence[str]
    url: str | None = None


async def as_it_was_left(subject: Subject, find: Find, now: datetime) -> Recipient:
    """An address that cannot change is told under the secrets of its workspace."""
    return Recipient(secret_ids=(await find(signing_secrets, subject.workspace_id)).valid(subject.workspace_id, now))


class OwnAddress(Value):
    """An address that was left with a subject, which is no endpoint: what it is told, and how that is signed.

    `url` is null where none was left. `recipient` is asked before each attempt, and is null where the address has been
    taken away since.
    """

    url: Callable[[Subject, Sequence[Event], Find], Awaitable[str | None]]
    body: Body
    schema: type[Value]
    signer: Signer = STANDARD_WEBHOOKS
    recipient: Callable[[Subject, Find, datetime], Awaitable[Recipient | None]] = as_it_was_left


class Message(Value):
    """A message `on` an event, whose moment is in the event's field `at`; on none when somebody has to ask for it.

    What it tells is a `schema`, made by `body`. The `example` is a history that ends with the event. An `optional`
    message is for endpoints that choose it by its name. `endpoint` is one that hears of the subject whatever it chose.
    """

    name: str
    says: str
    on: type[Event] | None
    at: str
    body: Body
    schema: type[Value]
    example: Sequence[Event]
    optional: bool = False
    endpoint: Callable[[Sequence[Event]], str | None] = field(default=lambda _: None)
    own: OwnAddress | None = None

    def until(self, events: Sequence[Event]) -> Sequence[Event]:
        """The events up to the last one that this message is about; none where that has not happened."""
        ends = [place for place, event in enumerate(events, 1) if self.on is not None and isinstance(event, self.on)]
        return events[: ends[-1]] if ends else ()

    def sample(self) -> str:
        """What the example says, about the first thing that its last event names."""
        event = self.example[-1]
        name = next(name for name in event.__struct_fields__ if name.endswith("_id"))
        subject = Subject(kind=name.removesuffix("_id"), id=getattr(event, name), workspace_id="")
        return self.write(subject, self.example, getattr(event, self.at))

    def write(self, subject: Subject, events: Sequence[Event], now: datetime, *, own: bool = False) -> str:
        """The text that is sent: what these events tell, as of the last of them, or of now where there are none."""
        form: Message | OwnAddress = self if not own or self.own is None else self.own
        told = form.body(subject, events)
        if isinstance(form, OwnAddress) and not form.signer.enveloped:
            return json.encode(told).decode()
        moment: datetime = getattr(events[-1], self.at) if events else now
        timestamp = moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return json.encode(Envelope(type=self.name, timestamp=timestamp, data=told)).decode()


class Envelope(Value):
    """A message as Standard Webhooks recommends it."""

    type: str
    timestamp: str
    data: Any


_MESSAGES: dict[str, Message] = {}


def message(name: str, says: str, **parts: Any) -> Message:
    """Declare a message: `says` is its documentation; see `Message` for its parts."""
    assert name not in _MESSAGES, f"two messages are called {name}"
    _MESSAGES[name] = Message(name=name, says=says, **parts)
    return _MESSAGES[name]


def messages() -> dict[str, Message]:
    """Every message by its name."""
    modules("projections")
    return _MESSAGES
