"""The `ledgerline` command: the whole service at once, one role of it, or one errand.

A role is a coroutine in `infra.processes.ROLES` that works until `stop` is set and says through `ready` whether it can:

    async def relay(settings: Settings, stop: asyncio.Event, ready: Callable[[bool], None]) -> None: ...

`react` also takes `only` and `without`, tuples of names of reactions, when they are given. A role that returns before
`stop` is set has failed.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import structlog

from infra import telemetry
from infra.health import Health
from infra.settings import (
    CannotStart,
    Settings,
    SettingsError,
    markdown,
    read_settings,
    require_all,
    shown,
    unknown_variables,
    with_table,
)

log = structlog.get_logger()

#: What `up` and other people's servers run; every one of them may run any number of times.
ROLE_NAMES = {
    "serve": "Answer HTTP requests.",
    "relay": "Carry new events from the log into NATS.",
    "project": "Fold events into what can be read.",
    "react": "Do what follows from events: analyses, webhooks, mail.",
    "tick": "Wake what is due.",
}


#: One kind of process; see the top of this file. `react` takes more than the others, hence the dots.
Role = Callable[..., Coroutine[Any, Any, None]]


class Errand(Protocol):
    """A command in a module of its own, imported only when it is asked for."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare what it takes."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it and return the exit status."""


#: Errands whose modules bring their own arguments.
ERRANDS = {
    "analyze": ("infra.analyze", "Analyse audio files here, without a server."),
    "evaluate": ("infra.evaluate", "Measure the analysis against recordings with known answers."),
}


def parser_for(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The command line; the arguments of an errand are declared only when it is the one that was asked for."""
    parser = argparse.ArgumentParser(prog="ledgerline", description="Ledgerline: an event-sourced backend for music.")
    parser.add_argument("--version", action="version", version=f"ledgerline {metadata.version('ledgerline')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="Run everything here, with servers of its own, and stop it with Ctrl-C.")
    up.add_argument("--data-dir", type=Path, metavar="DIR", help="Where everything is kept.")
    for name, text in ROLE_NAMES.items():
        role = commands.add_parser(name, help=text)
        if name == "serve":
            _add_address(role)
        if name == "react":
            role.add_argument("--only", action="append", default=[], metavar="NAME", help="Only this reaction.")
            role.add_argument("--without", action="append", default=[], metavar="NAME", help="All but this reaction.")
    _add_address(up)

    commands.add_parser("migrate", help="Bring the database to the shape that this version needs.")
    replay = commands.add_parser("replay", help="Fold a projection again from the first event.")
    replay.add_argument("name", metavar="NAME", help="The projection.")
    commands.add_parser(
        "check", help="Run the checks that every change must pass.", usage="ledgerline check [PYTEST ARGUMENTS]"
    )
    settings = commands.add_parser("settings", help="Show the settings of this environment, secrets hidden.")
    settings.add_argument("--markdown", action="store_true", help="The table of all settings and their defaults.")
    settings.add_argument("--into", type=Path, metavar="FILE", help="Put that table where FILE says <!-- settings -->.")

    for name, (module, text) in ERRANDS.items():
        errand = commands.add_parser(name, help=text)
        if argv and argv[0] == name:
            _errand(module).add_arguments(errand)
    return parser


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", metavar="ADDRESS", help="Address to serve on (127.0.0.1).")
    parser.add_argument("--port", type=int, metavar="PORT", help="Port to serve on (8000).")


def _errand(module: str) -> Errand:
    errand: Errand = importlib.import_module(module)
    return errand


def main(argv: Sequence[str] | None = None, roles: Mapping[str, Role] | None = None) -> int:
    """Run a command and return its exit status; a person's mistakes end in one line, not in a traceback."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args, rest = parser_for(argv).parse_known_args(argv)
    if args.command == "check":
        args.pytest = rest
    elif rest:
        parser_for(argv).error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return _run(args, roles)
    except CannotStart as error:
        print(f"ledgerline: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever reads our output has had enough; Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(args: argparse.Namespace, roles: Mapping[str, Role] | None) -> int:
    if args.command in ROLE_NAMES:
        return _role(args, roles)
    if args.command in ERRANDS:
        return _errand(ERRANDS[args.command][0]).run(args)
    return _ITSELF[args.command](args)


def _role(args: argparse.Namespace, roles: Mapping[str, Role] | None) -> int:
    options = {name: tuple(names) for name in ("only", "without") if (names := getattr(args, name, None))}
    name = ".".join((args.command, *options.get("only", ())))
    settings = _settings_for(name, host=getattr(args, "host", None), port=getattr(args, "port", None))
    role = (roles if roles is not None else _processes().ROLES)[args.command]
    telemetry.tame_libraries()  # importing the role's libraries has changed their loggers
    return run_role(name, partial(role, **options), settings, serves=args.command == "serve")


def _processes() -> Any:
    return importlib.import_module("infra.processes")


def _settings_for(role: str, *, host: str | None = None, port: int | None = None) -> Settings:
    """The settings of a process that stands on its own, with logging set up by them."""
    settings = read_settings(host=host, port=port)
    telemetry.configure(role, settings.log_level, settings.log_format)
    for sentence in unknown_variables():
        log.warning("settings.unknown", message=sentence)
    return require_all(settings)


def _up(args: argparse.Namespace) -> int:
    from infra.supervisor import up

    return up(host=args.host, port=args.port, data_dir=args.data_dir)


def _show_settings(args: argparse.Namespace) -> int:
    if args.into is not None:
        args.into.write_text(with_table(args.into.read_text(encoding="utf-8")), encoding="utf-8")
        return 0
    if args.markdown:
        sys.stdout.write(markdown())
        return 0
    for line in shown(read_settings()):
        print(line)
    for sentence in unknown_variables():
        print(f"ledgerline: {sentence}", file=sys.stderr)
    return 0


def _migrate(_args: argparse.Namespace) -> int:
    settings = _settings_for("migrate")
    migrate: Callable[[str], list[str]] = importlib.import_module("infra.migrate").migrate
    telemetry.tame_libraries()
    log.info("database.migrated", ran=migrate(settings.postgres_url))
    return 0


def _replay(args: argparse.Namespace) -> int:
    settings = _settings_for("replay")
    replay: Callable[[Settings, str], Any] = _processes().replay
    telemetry.tame_libraries()
    with _runner() as runner:
        runner.run(replay(settings, args.name))
    return 0


def check(pytest_arguments: Sequence[str] = ()) -> int:
    """Format, lint, types and tests, stopping at the first that fails."""
    root = Path(__file__).resolve().parents[1]
    workers = min(4, os.cpu_count() or 1)
    tests = list(pytest_arguments) or ["-n", str(workers)]
    for command in (
        ["ruff", "format", "--check", "."],
        ["ruff", "check", "."],
        ["mypy"],
        ["pytest", *tests],
    ):
        print(f"$ {' '.join(command)}", flush=True)
        result = subprocess.run([sys.executable, "-m", *command], cwd=root, check=False)  # noqa: S603 - our own tools
        if result.returncode != 0:
            return result.returncode
    return 0


_ITSELF: dict[str, Callable[[argparse.Namespace], int]] = {
    "up": _up,
    "migrate": _migrate,
    "replay": _replay,
    "settings": _show_settings,
    "check": lambda args: check(args.pytest),
}


# --- one role in this process --------------------------------------------------------------------------------------


def _runner() -> asyncio.Runner:
    import uvloop

    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def run_role(name: str, role: Role, settings: Settings, *, serves: bool = False) -> int:
    """Run a role until a signal asks it to end; a second signal, or a drain that takes too long, ends it at once."""
    with _runner() as runner:
        return runner.run(_run_role(name, role, settings, serves=serves))


async def _run_role(name: str, role: Role, settings: Settings, *, serves: bool) -> int:
    stop = asyncio.Event()
    _stop_on_signals(stop)
    async with Health(name) as health:
        if not serves:  # a serving role answers /health and /ready itself
            try:
                await health.start(settings.health_host, settings.health_port)
            except OSError as error:
                raise SettingsError(
                    f"LEDGERLINE_HEALTH_PORT {settings.health_port} on {settings.health_host}: {error.strerror}."
                ) from error
        log.info("role.started", pid=os.getpid(), health_port=health.port or None)
        work = asyncio.ensure_future(role(settings, stop, health.set_ready))
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
            health.set_ready(False)
            return await _ended(work, stop, settings.drain_seconds_max)
        finally:
            stopped.cancel()


async def _ended(work: asyncio.Future[None], stop: asyncio.Event, drain_seconds_max: float) -> int:
    """Wait for the work to drain, and say how it ended."""
    if stop.is_set():
        log.info("role.stopping")
    done, _ = await asyncio.wait((work,), timeout=drain_seconds_max)
    if not done:
        log.error("role.drained_too_long", seconds=drain_seconds_max)
        work.cancel()
        await asyncio.wait((work,), timeout=1.0)
        return 1
    if (error := work.exception()) is not None:
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
            os._exit(130)  # asked twice: somebody does not want to wait
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked)


if __name__ == "__main__":
    sys.exit(main())
