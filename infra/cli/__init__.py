"""The `ledgerline` command: the whole service at once, one role of it, or one errand.

Every module of this room brings commands, and so does every module of `{extension}.infra.cli`. A command is declared
with `@command`, and what it needs beyond settings it imports when it runs, because every process begins here.
Exit statuses: 0 done, 1 failed, 2 something that only a person can mend, 130 interrupted, 141 nobody reads the output.
"""

from __future__ import annotations

import math
import os
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from domain.discovery import modules
from domain.kernel import Unavailable
from domain.sections import CannotStart
from infra import telemetry

#: Headings of the help, in their order; a command of an extension may bring another.
RUN, LOOK_AFTER, LISTEN, DEVELOP = "Run it", "Look after it", "Listen without a server", "Work on it"

#: What a person is told is cut to so many characters: it may repeat an argument of any length.
SENTENCE_LENGTH_MAX = 1_000


class Command(click.Command):
    """A command with the heading that it stands under in the help."""

    def __init__(self, *args: Any, heading: str = LOOK_AFTER, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heading = heading


def command(name: str, *, heading: str = LOOK_AFTER, **rest: Any) -> Callable[[Callable[..., int | None]], Command]:
    """Declare a command; the function's docstring is its help and what it returns is the exit status."""
    return click.command(name, cls=Command, heading=heading, **rest)


class Commands(click.Group):
    """Commands about one thing, `ledgerline log tail`; declare each of them with `@group.command("tail")`."""

    def __init__(self, *args: Any, heading: str = LOOK_AFTER, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heading = heading


def group(name: str, help: str, *, heading: str = LOOK_AFTER) -> Commands:  # noqa: A002 - as click calls it
    """Declare what commands about one thing stand under."""
    return Commands(name, help=help, heading=heading)


class _Found(click.Group):
    """The commands of all modules of this room and of extensions."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click asks so
        return sorted(commands())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - likewise
        return commands().get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - likewise
        by_heading: dict[str, list[Command | Commands]] = {
            heading: [] for heading in (RUN, LOOK_AFTER, LISTEN, DEVELOP)
        }
        for each in commands().values():
            by_heading.setdefault(each.heading, []).append(each)
        widest = max(map(len, commands()))
        for heading, among in by_heading.items():
            with formatter.section(heading):
                formatter.write_dl(
                    [(each.name.ljust(widest), each.get_short_help_str(100)) for each in among if each.name]
                )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in commands():
            raise click.UsageError(f"There is no command {args[0]!r}; there are {', '.join(self.list_commands(ctx))}.")
        return super().resolve_command(ctx, args)


def commands() -> dict[str, Command | Commands]:
    """Every command there is, by name."""
    found: dict[str, Command | Commands] = {}
    for module in modules("infra.cli"):
        for value in vars(module).values():
            is_command = isinstance(value, Command | Commands) and value.name is not None
            if is_command and found.setdefault(value.name, value) is not value:
                raise TypeError(f"Two commands are called {value.name}.")
    return found


class AFile(click.Path):
    """A file that is there and has an end: a folder, a device or a pipe is refused before anybody reads it."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, once it is known that it can be read to its end."""
        path = super().convert(value, param, ctx)
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - it is whatever click makes of it
            self.fail(f"{click.format_filename(path)} is a device or a pipe, not a file.", param, ctx)
        return path


class Amount(click.FloatRange):
    """A number within bounds. `nan`, which is within all of them, and `inf` are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, once it is known to be one."""
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is no number that can be counted to.", param, ctx)
        return found


#: A position of the log, as far as Postgres counts, with room for the ones before and after it.
POSITION = click.IntRange(0, 2**63 - 2)

data_dir = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Data directory of an `up`; what runs there is found by it.",
)

as_json = click.option("--json", "as_json", is_flag=True, help="For machines: JSON, one line for each thing.")


@click.group(
    cls=_Found,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`ledgerline COMMAND --help` tells more. Settings come from the environment: see `ledgerline settings`.",
)
@click.version_option(metadata.version("ledgerline"), message="ledgerline %(version)s")
def ledgerline() -> None:
    """Ledgerline: an open, self-hosted, event-sourced backend for music."""


def complain(sentence: str, hint: str = "") -> None:
    """Say on stderr what is the matter: in one line, without the middle of what is too long to be read."""
    if len(sentence) > SENTENCE_LENGTH_MAX:
        half = SENTENCE_LENGTH_MAX // 2
        sentence = f"{sentence[:half]} ... {sentence[-half:]}"
    click.echo(f"ledgerline: {sentence}{hint}", err=True)


def main(argv: Sequence[str] | None = None, roles: Mapping[str, Any] | None = None) -> int:
    """Run a command and return its exit status; a person's mistakes end in one line, not in a traceback.

    `roles` are other roles than `infra.processes.ROLES`, for tests.
    """
    try:
        status = ledgerline.main(
            None if argv is None else list(argv), prog_name="ledgerline", standalone_mode=False, obj=roles
        )
        sys.stdout.flush()
    except click.ClickException as error:
        hint = f" Try `{error.ctx.command_path} --help`." if isinstance(error, click.UsageError) and error.ctx else ""
        complain(error.format_message(), hint)
        return error.exit_code
    except CannotStart as error:
        telemetry.flush()
        complain(str(error))
        return 2
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:
        # Whoever reads our output has had enough; Python must not complain about it at exit.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as problem:
        if (told := _told(problem)) is None:
            raise
        complain(told[1])
        return told[0]
    return status if isinstance(status, int) else 0


def _told(problem: Exception) -> tuple[int, str] | None:
    """The exit status and the sentence for what is nobody's mistake here; None for whatever may be one of ours."""
    if isinstance(problem, UnicodeError):
        return 2, "An argument, or a file that one names, is no text in UTF-8."
    if isinstance(problem, Unavailable):
        return 1, str(problem)
    said = telemetry.redact(str(problem).strip().partition("\n")[0])
    # No command but one that asks a server has imported its library.
    psycopg, nats = sys.modules.get("psycopg"), sys.modules.get("nats")
    if psycopg is not None and isinstance(problem, psycopg.OperationalError):
        return 1, f"The database cannot be asked: {said}"
    if psycopg is not None and isinstance(problem, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
        return 2, "The database has not the shape that this version needs. Bring it there with `ledgerline migrate`."
    if nats is not None and isinstance(problem, nats.errors.Error):
        return 1, f"NATS cannot be asked: {said}"
    return None
