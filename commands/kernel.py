"""Commands, the rules that decide them, reactions to events, and the one way to the write side."""

from __future__ import annotations

import random
from asyncio import sleep
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, TypeVar, get_type_hints
from uuid import UUID, uuid5

from msgspec import field
from msgspec.structs import replace

from domain.keeping import check_values
from domain.kernel import Category, Event, Refusal, State, Unavailable, Value
from domain.ledger import AuthorityChanged, Change, Context, History, Recorded, StaleVersion
from domain.sections import Sections

C = TypeVar("C", bound="Command")
E = TypeVar("E", bound=Event)
S = TypeVar("S", bound=State)

#: How often a decision is made anew when others keep being faster.
ATTEMPTS_MAX = 12


class Command(Value):
    """A wish. Its sender chooses all ids, so it may be sent twice."""


class Log(Protocol):
    """What commands need of the ledger."""

    async def read(self, stream: str) -> History:
        """All events of a stream, oldest first."""

    async def last(self, stream: str) -> History:
        """The last event of a stream, if there is one, and its version."""

    async def append(self, changes: Sequence[Change], context: Context) -> int:
        """Write all changes or none; the position of the last event. Raises StaleVersion and AuthorityChanged."""

    async def begun(
        self, category: Category[Any], workspace_ids: Collection[str], *, actor: str | None = None
    ) -> Sequence[str]:
        """The ids of the things of a kind that were begun in workspaces (by `actor`), whatever became of them since."""

    async def state(self, category: Category[S], identity: str) -> S:
        """What a thing's events add up to: the empty state where there are none."""
        return (await self.look(category, identity))[1]

    async def look(self, category: Category[S], identity: str) -> tuple[int, S]:
        """The version of a thing (0: it has no events) and its state, from its last event alone where that tells."""
        stream = category.stream(identity)
        if category.snapshot is not None:
            last = await self.last(stream)
            state = category.snapshot(last.events[0]) if last.events else category.initial
            if state is not None:
                return last.version, state
        history = await self.read(stream)
        return history.version, category.fold(history.events)


class TooBusy(Unavailable):
    """Too many changes to the same thing at once. Try again."""


class Transaction:
    """The streams one command has looked at, and what it has decided to add to them."""

    def __init__(self, log: Log, now: datetime, *, optimistic: bool) -> None:
        self.now = now
        self.expected_new = False
        self._log = log
        self._optimistic = optimistic
        self._versions: dict[str, int] = {}
        self._states: dict[str, Any] = {}
        self._changes: dict[str, list[tuple[str | None, list[Event]]]] = {}
        self._calls_for_parts: list[Event] = []

    async def load(self, category: Category[S], identity: str) -> S:
        """The state of a thing that must exist; raises the category's refusal when it does not."""
        state = await self.find(category, identity)
        if not self._versions[category.stream(identity)]:
            raise category.absent
        return state

    async def find(self, category: Category[S], identity: str) -> S:
        """The state of a thing that may not exist yet."""
        stream = category.stream(identity)
        if stream not in self._states:
            self._versions[stream], self._states[stream] = await self._log.look(category, identity)
        state: S = self._states[stream]
        return state

    async def expect_new(self, category: Category[S], identity: str) -> S:
        """The state of a thing that most likely does not exist yet: read only once writing has proved otherwise."""
        stream = category.stream(identity)
        if self._optimistic and stream not in self._states:
            self.expected_new = True
            self._versions[stream] = 0
            self._states[stream] = category.initial
        return await self.find(category, identity)

    def exists(self, category: Category[S], identity: str) -> bool:
        """Whether a thing that was looked at has any events."""
        return self._versions[category.stream(identity)] > 0

    def record(self, category: Category[S], identity: str, *events: Event, workspace_id: str | None = None) -> None:
        """Add events to a thing that was looked at, in the name of another workspace where one is given."""
        if not events:
            return
        stream = category.stream(identity)
        runs = self._changes.setdefault(stream, [])
        if not runs or runs[-1][0] != workspace_id:
            runs.append((workspace_id, []))
        runs[-1][1].extend(events)
        self._states[stream] = category.fold(events, self._states[stream])
        self._calls_for_parts.extend(event for event in events if type(event) in PARTS)

    async def complete(self) -> None:
        """Let every context add its part to what was recorded, and to what other parts have recorded."""
        for event in self._calls_for_parts:
            for part in PARTS[type(event)]:
                await part(event, self)

    async def commit(self, context: Context) -> int:
        """Write what was recorded; 0 when there was nothing to say."""
        changes = []
        for stream, runs in self._changes.items():
            after = self._versions[stream]
            for workspace_id, events in runs:
                changes.append(Change(stream=stream, after=after, events=events, workspace_id=workspace_id))
                after += len(events)
        return await self._log.append(changes, context) if changes else 0


Handler = Callable[[Any, Transaction], Awaitable[None]]
Part = Callable[[Any, Transaction], Awaitable[None]]

#: What contexts add to the transaction in which an event is recorded.
PARTS: dict[type[Event], list[Part]] = {}


def part_of(*kinds: type[Event]) -> Callable[[Part], Part]:
    """Register what a context of its own does in the very transaction that records such an event, all or nothing.

    What may come a moment later, or needs more than the log, is a reaction instead.
    """

    def register(part: Part) -> Part:
        for kind in kinds:
            PARTS.setdefault(kind, []).append(part)
        return part

    return register


#: Every command and what handles it.
HANDLERS: dict[type[Command], Handler] = {}


def handles(command: type[C]) -> Callable[[Callable[[C, Transaction], Awaitable[None]]], Handler]:
    """Register the handler of a command that looks at more than one stream."""

    def register(handler: Callable[[C, Transaction], Awaitable[None]]) -> Handler:
        assert command not in HANDLERS, f"{command.__name__} has two handlers"
        HANDLERS[command] = handler
        return handler

    return register


Rule = Callable[[C, S, datetime], list[Event]]


def decides(command: type[C], category: Category[S], *, creates: bool = False) -> Callable[[Rule[C, S]], Rule[C, S]]:
    """Register a pure rule as the handler of a command whose first field is the id of the one thing it is about."""
    identity = command.__struct_fields__[0]

    def register(rule: Rule[C, S]) -> Rule[C, S]:
        async def handler(wish: C, transaction: Transaction) -> None:
            about = getattr(wish, identity)
            look = transaction.expect_new if creates else transaction.load
            transaction.record(category, about, *rule(wish, await look(category, about), transaction.now))

        handles(command)(handler)
        return rule

    return register


async def execute(command: Command, log: Log, now: datetime, context: Context) -> int:
    """Decide a command and append what follows; decide again if somebody was faster. The one way to the write side.

    Returns the position of the last event written, 0 when the wish was already so.
    """
    check_values(command)
    handler = HANDLERS[type(command)]
    for attempt in range(ATTEMPTS_MAX):
        transaction = Transaction(log, now, optimistic=attempt == 0)
        try:
            await handler(command, transaction)
            await transaction.complete()
            return await transaction.commit(context)
        except Refusal:
            # Refused on what was only expected_new? Then look properly before saying no.
            if not transaction.expected_new:
                raise
        except AuthorityChanged:
            assert context.authority is not None
            context = replace(context, authority=await context.authority.renew())
        except StaleVersion:
            if attempt > 1:
                await sleep(random.uniform(0, 0.002 * 2**attempt))  # noqa: S311 - parts racers, protects nothing
    raise TooBusy


class Now(Protocol):
    """Tells the time."""

    def __call__(self) -> datetime:
        """This moment, with its zone."""


class Chance(Protocol):
    """Draws by chance, where nothing depends on that nobody can guess."""

    def __call__(self) -> float:
        """A number from 0 up to 1."""


@dataclass(frozen=True)
class Execute:
    """Decides commands now; a port of everybody who may wish for something. See `execute`."""

    log: Log
    now: Now

    async def __call__(self, command: Command, context: Context) -> int:
        """The position of the last event written, 0 when the wish was already so."""
        return await execute(command, self.log, self.now(), context)


async def ask_all(wishes: Iterable[Command], ask: Execute, context: Context) -> None:
    """Ask for all of this, also when one of them fails, as what cannot be read does; that one is tried again."""
    failed: Exception | None = None
    for wish in wishes:
        try:
            await ask(wish, context)
        except Exception as problem:  # noqa: BLE001 - whatever it is, it must not keep the others
            failed = problem
    if failed is not None:
        raise failed


# --- reactions -------------------------------------------------------------------------------------------------------


class Queue:
    """Work that has places of its own, so that it never waits for other work; declared beside its reactions.

    A process has `concurrency` places for it. An attempt that takes longer than `timeout` (seconds) has failed, and
    after `attempts` a job is given up. Both numbers may follow from the settings. A queue whose work is heavy runs
    `apart`, in a process of its own below `up`.
    """

    def __init__(
        self,
        name: str,
        *,
        concurrency: int | Callable[[Sections], int] = 32,
        timeout: float | Callable[[Sections], float] = 60.0,
        attempts: int = 8,
        apart: bool = False,
    ) -> None:
        self.name = name
        self.attempts = attempts
        self.apart = apart
        self._concurrency = concurrency
        self._timeout = timeout

    def concurrency(self, settings: Sections) -> int:
        """How many of its jobs one process does at once."""
        return self._concurrency(settings) if callable(self._concurrency) else self._concurrency

    def timeout(self, settings: Sections) -> float:
        """Seconds that one attempt may take."""
        return self._timeout(settings) if callable(self._timeout) else self._timeout


#: What nobody waits for.
HOUSEKEEPING = Queue("housekeeping", concurrency=16, timeout=300.0)
#: Letters. A mail server may be away for days, and whoever is invited must not be told to ask again: it is tried for a
#: week, every ten minutes in the end. What is only good for a while is not sent after that.
MAIL = Queue("mail", concurrency=16, timeout=90.0, attempts=1_024)


class Reaction(Value):
    """What this system does by itself when something happens; never on replay, possibly twice, never not at all.

    A job that has failed for the last time is given up: `gives_up` writes down in the log why. Without it the job is
    parked with its problem, to be looked at and asked for again.

    Jobs of one stream are done one after the other, in the order of the log; where what is done for one stream changes
    what is found for another, those of a whole workspace.

    With `only_with` there are jobs only in workspaces that have ever had a thing of that kind under their own id, so
    that what few have asked for costs the others nothing.
    """

    name: str
    kinds: tuple[type[Event], ...]
    handler: Callable[[Recorded, Any], Awaitable[None]]
    due: Callable[[Event], datetime | None]
    gives_up: Callable[[Recorded, Any, str], Awaitable[None]] | None = None
    queue: Queue = HOUSEKEEPING
    only: Callable[[Event], bool] = field(default=lambda _: True)
    one_at_a_time: Literal["stream", "workspace"] = "stream"
    only_with: Category[Any] | None = None

    def line(self, recorded: Recorded) -> str:
        """Among which of its jobs the one for an event waits for its turn: those with the same answer."""
        return recorded.stream if self.one_at_a_time == "stream" else recorded.workspace_id

    def concerns(self, event: Event) -> bool:
        """Whether this event calls for the reaction."""
        return isinstance(event, self.kinds) and self.only(event)

    @property
    def ports(self) -> type[Any]:
        """What the handler asks for: the type of its second parameter, which whoever runs it makes."""
        _, ports, *_ = get_type_hints(self.handler).values()
        found: type[Any] = ports
        return found

    def retry_delay(self, attempt: int) -> timedelta:
        """How long to wait after the n-th failure: 1 s, 2 s, 4 s ... ten minutes at most."""
        return timedelta(seconds=min(2.0 ** (attempt - 1), 600.0))


#: Every reaction by its name.
REACTIONS: dict[str, Reaction] = {}


def reacts_to(
    *kinds: type[Event],
    name: str,
    due: Callable[[Any], datetime | None] = lambda _: None,
    only: Callable[[Any], bool] = lambda _: True,
    gives_up: Callable[[Recorded, Any, str], Awaitable[None]] | None = None,
    queue: Queue = HOUSEKEEPING,
    one_at_a_time: Literal["stream", "workspace"] = "stream",
    only_with: Category[Any] | None = None,
) -> Callable[[Callable[[Recorded, Any], Awaitable[None]]], Reaction]:
    """Register what follows from events, at once or when `due`; `gives_up` writes it down when all attempts failed."""

    def register(handler: Callable[[Recorded, Any], Awaitable[None]]) -> Reaction:
        assert name not in REACTIONS, f"two reactions are called {name}"
        REACTIONS[name] = Reaction(
            name=name,
            kinds=kinds,
            handler=handler,
            due=due,
            only=only,
            gives_up=gives_up,
            queue=queue,
            one_at_a_time=one_at_a_time,
            only_with=only_with,
        )
        return REACTIONS[name]

    return register


def queues() -> tuple[Queue, ...]:
    """Every queue that a reaction is in, by name."""
    found: dict[str, Queue] = {}
    for reaction in REACTIONS.values():
        known = found.setdefault(reaction.queue.name, reaction.queue)
        assert known is reaction.queue, f"two queues are called {known.name}"
    return tuple(found[name] for name in sorted(found))


_NAMESPACE = UUID("7b1c1c3e-5d0b-4f43-9d6e-1ed6e11e0000")


def derived_id(*parts: str) -> str:
    """An id that follows from others, so that a reaction run twice names the same thing twice."""
    return str(uuid5(_NAMESPACE, "/".join(parts)))
