"""The words every domain file is written in: values, events, states, categories and refusals."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any, ClassVar, Generic, TypeVar, dataclass_transform

from msgspec import Meta, Struct

S = TypeVar("S", bound="State")

#: What a personal field reads as once its subject has been forgotten.
ERASED = "[erased]"
#: What a personal field begins with that was stored before it was one. Upcasters put it there, reading takes it away.
PLAIN = "plain:v1:"

#: From each schema version to the next: the same facts in another shape.
Upcasters = Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Value(Struct, frozen=True):
    """An immutable value; change one with `msgspec.structs.replace`."""


class Event(Value, frozen=True):
    """A fact. Its stored name and fields are for ever: fields are only added, with a default."""

    #: Raise it when the shape changes, and add the upcaster from the version before.
    schema_version: ClassVar[int] = 1
    upcasters: ClassVar[Upcasters] = {}
    #: Names it was once stored under, with their contexts.
    formerly: ClassVar[tuple[str, ...]] = ()
    #: What the audit calls what was done, and the kind of thing it was done to, where the names of the class and of
    #: its first id would say it badly.
    action: ClassVar[str] = ""
    target: ClassVar[str] = ""


class State(Value, frozen=True):
    """What the events of one stream add up to, as far as rules need to know."""


def personal(subject: str, *, address: bool = False) -> Meta:
    """Mark a text field as personal data of the person (or workspace) whose id is in the field `subject`.

    The codec seals such a field with the subject's data key, so that destroying the key erases it everywhere. Of an
    `address`, whose query may hold secrets, the audit shows the place.
    """
    return Meta(extra={"personal": subject, "address": address})


def personal_since_then(*fields: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """An upcaster: these fields lie there unsealed, as they did before they were personal."""

    def convert(facts: dict[str, Any]) -> dict[str, Any]:
        return facts | {field: PLAIN + facts[field] for field in fields if facts.get(field) is not None}

    return convert


class Refusal(Exception):
    """A rule said no. The docstring is the sentence people read; `facts` are its particulars."""

    def __init__(self, **facts: Any) -> None:
        self.facts = facts
        super().__init__(self.sentence)

    @property
    def sentence(self) -> str:
        """The docstring on one line, with the facts filled in where it names them in braces."""
        text = " ".join((type(self).__doc__ or "").split())
        return text.format(**self.facts) if "{" in text else text

    @property
    def code(self) -> str:
        """The class name in snake_case, for machines."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()


class Invalid(Refusal):
    """The request makes no sense as it stands."""


class TooLarge(Invalid):
    """This is more than may be sent at once."""


class Untrusted(Refusal):
    """This does not come from whom it claims to come from."""


class Unauthenticated(Refusal):
    """Nobody we know is asking."""


class Forbidden(Refusal):
    """You may not do this."""


class NotFound(Refusal):
    """There is no such thing."""


class Conflict(Refusal):
    """This cannot be done to it in its present state."""


class Exhausted(Refusal):
    """A limit has been reached."""


class Unavailable(Refusal):
    """Something this needs is away for the moment. Try again shortly."""


class Category(Value, Generic[S], frozen=True):
    """A kind of stream: `{name}-{id}`, its empty state, its fold, and the refusal for one that does not exist.

    `snapshot` is for streams that grow for long: what their last event alone tells of the state after it, or None when
    those before it are needed.
    """

    name: str
    initial: S
    evolve: Callable[[S, Event], S]
    absent: type[Refusal] = NotFound
    snapshot: Callable[[Event], S | None] | None = None
    #: Processes remember what it says, so each of them is told when one of its streams has grown.
    remembered: bool = False

    def stream(self, identity: str) -> str:
        """The name of the stream of the thing with this id."""
        return f"{self.name}-{identity}"

    def fold(self, events: Iterable[Event], state: S | None = None) -> S:
        """What these events add up to, from the empty state or from `state`."""
        return reduce(self.evolve, events, self.initial if state is None else state)
