"""The roles of a process, each one coroutine: serve, relay, project, react, tick."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol

import structlog

from adapters.jobs.settings import Jobs
from adapters.jobs.worker import Worker, due_reactions
from adapters.log.eventlog import EventLog
from adapters.operators.folded import Folded, check_read_models
from adapters.pausing import pause
from adapters.postgres.retrying import Pool, answers
from adapters.postgres.settings import Postgres
from adapters.readmodels.followers import Followers
from adapters.readmodels.projector import cancel_rebuild, rebuilds, request_rebuild
from adapters.stream.bus import Bus
from commands.kernel import REACTIONS, queues
from commands.sweeping import SWEEPS
from domain.discovery import modules
from infra.container import Container, container, load_everything
from infra.settings import Operation, Settings
from projections.kernel import PROJECTIONS, TALLIES

log = structlog.get_logger(__name__)

Ready = Callable[[bool], None]

#: How often a role says whether it is ready.
LOOK_SECONDS = 0.2
#: How often it asks whether Postgres answers, without which no role can work, and how long the answer may take.
ASK_SECONDS = 2.0
ANSWER_SECONDS_MAX = 1.0
TICK_SECONDS = 5.0
SWEEP_SECONDS = 1800.0
#: Older than any request, so that nothing is swept from under one that is still going on.
LEFT_BEHIND = timedelta(hours=1)
#: How long a projection that is folded again may stand still before it is said that nobody is at it.
REPLAY_STILL_SECONDS_MAX = 15.0
#: How many objects more than were let go have been made when cycles among them are looked for.
COLLECT_AFTER_OBJECTS = 10_000


class _Readiness(Protocol):
    @property
    def is_ready(self) -> bool: ...


async def serve(settings: Settings, stop: asyncio.Event, ready: Ready) -> None:
    """Answer HTTP requests."""
    import uvicorn

    from api.app import create_app
    from api.problems import wording
    from api.surfaces import surfaces
    from commands.settings import Service
    from infra.serving.connections import Gate, with_files
    from infra.serving.edge import Edge
    from infra.serving.settings import Browsers, Connections, Proxies

    class Server(uvicorn.Server):
        """Uvicorn without its signal handlers, since the process has its own; it says when it listens."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready(self.started)

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    service = settings[Service]
    async with container(settings) as here:
        app = await create_app(here.get, cors_origins=settings[Browsers].cors_origins)
        _collect_less_often()
        limits, proxies = with_files(settings[Connections]), settings[Proxies].trusted_proxies
        gate = Gate(limits, proxies, wording)
        config = uvicorn.Config(
            Edge(app, service, wording, lets_guests_in=any(each.guest(settings) for each in surfaces())),
            host=service.host,
            port=service.port,
            loop="none",
            http=gate.protocol,  # type: ignore[arg-type]  # it is only ever called
            ws="none",
            lifespan="on",
            timeout_keep_alive=limits.idle_seconds_max,  # type: ignore[arg-type]  # it is only ever waited for
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=True,
            timeout_graceful_shutdown=int(settings[Operation].drain_seconds_max),
        )
        server = Server(config)
        serving = asyncio.create_task(server.serve(), name="uvicorn")
        bucket = asyncio.create_task(_make_bucket(here, stop), name="bucket")
        watching = asyncio.create_task(gate.watch(), name="connections")
        await _until(stop, serving)
        # Before the server waits for its answers: those of who waits for events would be the last of them.
        (await here.get(Followers)).end()
        server.should_exit = True
        bucket.cancel()
        with suppress(asyncio.CancelledError):
            await bucket
        ready(False)
        await serving
        watching.cancel()


async def _make_bucket(here: Container, stop: asyncio.Event) -> None:
    """The object store may come up after us, or be away for a while: keep asking until the bucket is there."""
    from adapters.storage.blobs import Blobs

    blobs = await here.get(Blobs)
    while not stop.is_set():
        try:
            await blobs.ensure_bucket()
        except Exception as problem:  # noqa: BLE001 - whatever it is, it is tried again
            log.warning("bucket.unavailable", problem=str(problem))
            await pause(stop, 1.0)
        else:
            return


async def relay(settings: Settings, stop: asyncio.Event, ready: Ready) -> None:
    """Carry new events from the log into NATS; where subscribers read there, publish to them and let them in."""
    from adapters.stream.relay import Relay
    from adapters.subscribing.callout import Callout
    from adapters.subscribing.publishing import Publisher
    from adapters.subscribing.settings import NatsSubscribers

    async with container(settings) as here:
        work = await here.get(Relay)
        beside = []
        if settings[NatsSubscribers].is_open:
            publisher, callout = await here.get(Publisher), await here.get(Callout)
            beside = [
                asyncio.create_task(over_and_over("publisher", publisher.run, stop)),
                asyncio.create_task(over_and_over("callout", callout.run, stop)),
            ]
        _collect_less_often()
        await _work(work.run(stop), work, await here.get(Pool), stop, ready)
        await asyncio.gather(*beside)


async def project(settings: Settings, stop: asyncio.Event, ready: Ready) -> None:
    """Fold events into what can be read."""
    from adapters.readmodels.projector import Projector

    async with container(settings) as here:
        work = await here.get(Projector)
        _collect_less_often()
        await _work(work.run(stop), work, await here.get(Pool), stop, ready)


async def react(
    settings: Settings,
    stop: asyncio.Event,
    ready: Ready,
    *,
    only: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
) -> None:
    """Do what follows from events; `only` and `without` name reactions or their queues."""
    load_everything()
    chosen = [
        each
        for each in REACTIONS.values()
        if (not only or {each.name, each.queue.name} & set(only)) and not {each.name, each.queue.name} & set(without)
    ]
    if not chosen:
        known = sorted({*REACTIONS, *(queue.name for queue in queues())})
        raise ValueError(f"no queue and no reaction is called {', '.join(only)}; there are {', '.join(known)}")
    async with container(settings) as here:
        ports = {each.ports: await here.get(each.ports) for each in chosen}
        work = Worker(
            await here.get(EventLog),
            await here.get(Pool),
            await here.get(Bus),
            lambda reaction: ports[reaction.ports],
            chosen,
            settings=settings,
            lease_seconds=settings[Jobs].lease_seconds,
        )
        await _work(work.run(stop), work, await here.get(Pool), stop, ready)


async def tick(settings: Settings, stop: asyncio.Event, ready: Ready) -> None:
    """Wake what is due, sweep what is over, and seal what was appended."""
    from adapters.log.eventlog import LedgerUnavailable
    from adapters.log.seals import Sealer
    from adapters.operators.metrics import SERVICE
    from adapters.operators.status import note_reading, status
    from adapters.postgres.retrying import SILENT_SECONDS_MAX, asking
    from adapters.readmodels.condition import Bulletin, condition
    from adapters.storage.blobs import Blobs
    from adapters.trouble import Trouble
    from adapters.web.rate_limits import forget_ended

    async with container(settings) as here:
        pool, bus, blobs = await here.get(Pool), await here.get(Bus), await here.get(Blobs)
        modules("adapters", saying="@sweeps")
        sweeps = {each.name: partial(each.handler, await here.get(each.ports)) for each in SWEEPS.values()}
        bulletin = Bulletin()
        # Said by the one role that looks at all of them, whoever else suffers.
        troubles = {name: Trouble(name) for name in ("postgres", "nats", "objects")}
        sealing = asyncio.create_task(over_and_over("sealer", (await here.get(Sealer)).run, stop))
        sweeping = asyncio.create_task(over_and_over("sweeps", partial(_sweep, sweeps), stop))
        while not stop.is_set():
            try:
                async with asking(pool, LedgerUnavailable, SILENT_SECONDS_MAX) as connection:
                    due = await due_reactions(connection)
                    await forget_ended(connection)
                    how = await condition(connection)
                    seen = await status(connection, bus, blobs, settings[Operation].data_dir)
                    await note_reading(connection, seen)
                    SERVICE.saw(seen)
            except Exception as problem:  # noqa: BLE001 - the next tick tries again
                log.warning("tick.interrupted", problem=str(problem))
                ready(False)
                troubles["postgres"].note(str(problem))
            else:
                ready(True)
                for store in seen.stores:
                    troubles[store.name].seen(store.state)
                bulletin.tell(how, seen.waiting, asyncio.get_running_loop().time())
                for queue in {REACTIONS[name].queue.name for name in due if name in REACTIONS}:
                    bus.ring(f"jobs.{queue}")
            await pause(stop, TICK_SECONDS)
        # What is swept is swept again another time; a seal is brought to its end.
        sweeping.cancel()
        await asyncio.gather(sealing, sweeping, return_exceptions=True)


async def _sweep(sweeps: Mapping[str, Callable[[datetime], Awaitable[int]]], stop: asyncio.Event) -> None:
    """Sweep now and then, apart from the ticks: a large sweep takes longer than one."""
    from adapters.storage.blobs import NoBucketYet

    while not stop.is_set():
        for name, sweep in sweeps.items():
            try:
                if count := await sweep(datetime.now(UTC) - LEFT_BEHIND):
                    log.info("swept", sweep=name, count=count)
            except NoBucketYet:
                continue  # nothing is there to be swept
            except Exception as problem:  # noqa: BLE001 - the next time tries again
                log.warning("sweep.interrupted", sweep=name, problem=str(problem))
        await pause(stop, SWEEP_SECONDS)


async def over_and_over(name: str, run: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event) -> None:
    """Run something that goes on until it is told to stop, and begin it again when it ends before, for whatever reason.

    A task that only runs beside others is looked at by nobody: it would be missed when the process ends.
    """
    while not stop.is_set():
        try:
            await run(stop)
        except Exception:
            log.exception("task.begun_again", task=name)
        await pause(stop, TICK_SECONDS)


async def replay(
    settings: Settings, names: Collection[str], tell: Callable[[str, int, int], None] = lambda *_: None
) -> dict[str, tuple[int, int]]:
    """Ask for projections to be folded again from the first event, side by side, and wait until the new ones are live.

    `tell` is told how far each is (name, position, newest position). Returns the version and position of each. Whoever
    waits no more has stopped nothing: a projector goes on where it was.
    """
    waiting = await ask_for_replay(settings, names)
    async with container(settings) as here:
        pool = await here.get(Pool)
        done: dict[str, tuple[int, int]] = {}
        while waiting:
            await asyncio.sleep(0.1)
            async with pool.connection() as connection:
                found = await rebuilds(connection, waiting)
            for name, version in list(waiting.items()):
                how = found.get((name, version))
                if how is None:
                    raise SystemExit(f"ledgerline: {name} was cancelled, or folded anew by somebody else meanwhile")
                tell(name, how.position, max(how.head, 1))
                if how.live:
                    done[name] = (waiting.pop(name), how.position)
                elif how.still_seconds > REPLAY_STILL_SECONDS_MAX:
                    still = f"it has been at position {how.position} for {how.still_seconds:.0f} s"
                    raise SystemExit(
                        f"ledgerline: nothing folds {name} ({still}). Is `ledgerline project` running? It was asked "
                        "for, and is done as soon as there is a projector."
                    )
        return done


async def ask_for_replay(settings: Settings, names: Collection[str]) -> dict[str, int]:
    """Ask for projections to be folded again, and the version that each will have."""
    folds = {name: read_models()[name] for name in names}
    async with container(settings) as here, (await here.get(Pool)).connection() as connection:
        versions = {name: await request_rebuild(connection, name, fold) for name, fold in folds.items()}
    for name, version in versions.items():
        if not version:
            raise SystemExit(f"ledgerline: somebody else has just asked for {name}; it is being folded again")
    return versions


async def cancel_replay(settings: Settings, names: Collection[str]) -> dict[str, int]:
    """Let go of what is being folded of projections beside the live ones: how many versions of each."""
    async with container(settings) as here, (await here.get(Pool)).connection() as connection:
        return {name: await cancel_rebuild(connection, name) for name in names}


async def would_differ(
    settings: Settings, names: Collection[str], after: int, until: int | None, tell: Callable[[str, int, int], None]
) -> Folded:
    """What folding projections again would change, of documents whose newest event lies in a range; nothing is."""
    async with container(settings) as here:
        return await check_read_models(
            settings[Postgres].postgres_url,
            await here.get(EventLog),
            names=names,
            after=after,
            until=until,
            progress=tell,
        )


def read_models() -> dict[str, int]:
    """The projections and sums that can be folded again, each with the version of its fold."""
    load_everything()
    folds = {each.name: each.version for each in PROJECTIONS.values()}
    return folds | {each.name: each.version for each in TALLIES.values()}


Role = Callable[..., Coroutine[Any, Any, None]]

ROLES: dict[str, Role] = {"serve": serve, "relay": relay, "project": project, "react": react, "tick": tick}


def _collect_less_often() -> None:
    """Look for garbage in cycles where there may be some.

    Nearly everything a request or an event makes is let go by itself, and what a process has set up stays for ever:
    to go through both, again and again, was a seventh of all that serving a request costs.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS)


async def _work(
    work: Coroutine[Any, Any, None], state: _Readiness, pool: Pool, stop: asyncio.Event, ready: Ready
) -> None:
    """Do the work, and say all the while whether it can be done: whoever waits for a Postgres that hangs is silent."""
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    has_answered, ask_at = False, loop.time()
    while not stop.is_set() and not task.done():
        if loop.time() >= ask_at:
            has_answered = await answers(pool, ANSWER_SECONDS_MAX)
            ask_at = loop.time() + ASK_SECONDS
        ready(has_answered and state.is_ready)
        await pause(stop, LOOK_SECONDS)
    ready(False)
    await task


async def _until(stop: asyncio.Event, task: asyncio.Task[None]) -> None:
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait((stopped, task), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
