"""`ledgerline serve`, `relay`, `project`, `react` and `tick`: one role in this process.

A role is a coroutine in `infra.processes.ROLES` that works until `stop` is set and says through `ready` whether it can:

    async def relay(settings: Settings, stop: asyncio.Event, ready: Callable[[bool], None]) -> None: ...

`react` also takes `only` and `without`, tuples of names of reactions or queues, when they are given. A role that
returns before `stop` is set has failed.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
import structlog

from adapters.operators.heartbeat import Heartbeat
from adapters.postgres.settings import Postgres
from adapters.tracing import otel
from adapters.tracing.settings import Traces
from domain.sections import CannotStart
from infra import telemetry
from infra.cli import RUN, command, data_dir
from infra.health import Health
from infra.running import settings_for
from infra.settings import Operation, Settings, SettingsError
from infra.temporary import own_temporary_directory

log = structlog.get_logger()

#: How long work that is broken off has to hand back what it holds; less than the supervisor adds to the drain.
HAND_BACK_SECONDS_MAX = 3.0

#: One kind of process; see the top of this file. `react` takes more than the others, hence the dots.
Role = Callable[..., Coroutine[Any, Any, None]]

host = click.option("--host", metavar="ADDRESS", help="Address to serve on (127.0.0.1).")
port = click.option("--port", metavar="PORT", help="Port to serve on (8000).")


@command("serve", heading=RUN)
@host
@port
@data_dir
@click.pass_obj
def serve(roles: Mapping[str, Role] | None, host: str | None, port: str | None, data_dir: Path | None) -> int:
    """Answer HTTP requests."""
    return _run("serve", roles, host=host, port=port, data_dir=data_dir)


@command("relay", heading=RUN)
@data_dir
@click.pass_obj
def relay(roles: Mapping[str, Role] | None, data_dir: Path | None) -> int:
    """Carry new events from the log into NATS."""
    return _run("relay", roles, data_dir=data_dir)


@command("project", heading=RUN)
@data_dir
@click.pass_obj
def project(roles: Mapping[str, Role] | None, data_dir: Path | None) -> int:
    """Fold events into what can be read."""
    return _run("project", roles, data_dir=data_dir)


@command("react", heading=RUN)
@click.option("--only", multiple=True, metavar="NAME", help="Only this queue or reaction; may be repeated.")
@click.option("--without", multiple=True, metavar="NAME", help="All but this queue or reaction; may be repeated.")
@data_dir
@click.pass_obj
def react(
    roles: Mapping[str, Role] | None, only: tuple[str, ...], without: tuple[str, ...], data_dir: Path | None
) -> int:
    """Do what follows from events: analyses, webhooks, mail."""
    return _run("react", roles, only=only, without=without, data_dir=data_dir)


@command("tick", heading=RUN)
@data_dir
@click.pass_obj
def tick(roles: Mapping[str, Role] | None, data_dir: Path | None) -> int:
    """Wake what is due, and sweep up what is over."""
    return _run("tick", roles, data_dir=data_dir)


def _run(
    name: str,
    roles: Mapping[str, Role] | None,
    *,
    only: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
    **given: Any,
) -> int:
    shown = ".".join((name, *only))
    settings = settings_for(shown, **given)
    role = (roles if roles is not None else importlib.import_module("infra.processes").ROLES)[name]
    telemetry.tame_libraries()  # importing the role's libraries has changed their loggers
    options = {option: names for option, names in (("only", only), ("without", without)) if names}
    return run_role(shown, partial(role, **options), settings, serves=name == "serve")


def runner() -> asyncio.Runner:
    import uvloop

    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def run_role(name: str, role: Role, settings: Settings, *, serves: bool = False) -> int:
    """Run a role until a signal asks it to end; a second signal, or a drain that takes too long, ends it at once."""
    with own_temporary_directory(), runner() as loop:
        return loop.run(_run_role(name, role, settings, serves=serves))


async def _run_role(name: str, role: Role, settings: Settings, *, serves: bool) -> int:
    operation, stop = settings[Operation], asyncio.Event()
    _stop_on_signals(stop)
    spans = otel.start(settings[Traces], name)
    async with Health(name) as health:
        if not serves:  # a serving role answers /health and /ready itself
            try:
                await health.start(operation.health_host, operation.health_port)
            except OSError as error:
                raise SettingsError(
                    f"LEDGERLINE_HEALTH_PORT {operation.health_port} on {operation.health_host}: {error.strerror}."
                ) from error
        log.info("role.started", pid=os.getpid(), health_port=health.port or None)
        heart = Heartbeat(settings[Postgres].postgres_url, name, lambda: health.is_ready)
        beating = asyncio.create_task(heart.run(), name="heartbeat")
        work = asyncio.ensure_future(role(settings, stop, health.set_ready))
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
            health.set_ready(False)
            status = await _ended(work, stop, operation.drain_seconds_max)
        finally:
            stopped.cancel()
            beating.cancel()
            problem = work.exception() if work.done() and not work.cancelled() else None
            await heart.end(None if problem is None else telemetry.redact(repr(problem)))
            if spans is not None:
                await asyncio.to_thread(spans.shutdown)
        return status


async def _ended(work: asyncio.Future[None], stop: asyncio.Event, drain_seconds_max: float) -> int:
    """Wait for the work to drain, and say how it ended."""
    if stop.is_set():
        log.info("role.stopping")
    done, _ = await asyncio.wait((work,), timeout=drain_seconds_max)
    if not done:
        log.error("role.drained_too_long", seconds=drain_seconds_max)
        work.cancel()
        await asyncio.wait((work,), timeout=HAND_BACK_SECONDS_MAX)
        return 1
    if isinstance(error := work.exception(), CannotStart):
        raise error
    if error is not None:
        log.error("role.failed", exc_info=error)
        return 1
    if not stop.is_set():
        log.error("role.ended", message="It returned although nobody had asked it to stop.")
        return 1
    log.info("role.stopped")
    return 0


def _stop_on_signals(stop: asyncio.Event) -> None:
    def asked() -> None:
        if stop.is_set():
            telemetry.flush()
            os._exit(130)  # asked twice: somebody does not want to wait
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked)
