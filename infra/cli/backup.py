"""`ledgerline backup` and `restore`: everything into a directory, and from there into an empty place."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.cli import as_json, command, data_dir
from infra.cli.progress import bars
from infra.running import settings_for

if TYPE_CHECKING:
    from infra.settings import Settings

Tell = Callable[[str, int, int], None]

_passphrase = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
    required=True,
    metavar="FILE",
    help="Its first line opens the keys of the backup; keep it somewhere else. `-` is the input.",
)


@command("backup")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), metavar="DIRECTORY")
@_passphrase
@as_json
@data_dir
def backup(directory: Path, passphrase_file: Path, as_json: bool, data_dir: Path | None) -> int:
    """Write what is new since the last backup in DIRECTORY, or everything, while the service runs.

    The log (personal fields stay sealed), what lies beside it, objects, and the keys under the passphrase.
    """
    passphrase = _read(passphrase_file)
    settings = settings_for("backup", data_dir=data_dir)
    with bars(hidden=as_json) as tell, _in_sentences():
        told = asyncio.run(_backup(settings, directory, passphrase, tell))
    click.echo(
        json.dumps(told) if as_json else "{events} events up to {until}, {objects} objects: {path}".format(**told)
    )
    return 0


@command("restore")
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIRECTORY")
@_passphrase
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="An empty data directory, for `up --data-dir DIR`; otherwise the servers that the settings name.",
)
@as_json
def restore(directory: Path, passphrase_file: Path, into: Path | None, as_json: bool) -> int:
    """Bring a backup into an empty place. Read models are folded again when the service starts there."""
    passphrase = _read(passphrase_file)
    with bars(hidden=as_json) as tell, _in_sentences():
        told = _restore(directory, passphrase, into, tell)
    click.echo(
        json.dumps(told)
        if as_json
        else "{events} events up to {position}, {seals} seals, {subjects} keys, {objects} objects.".format(**told)
    )
    return 0


async def _backup(settings: Settings, directory: Path, passphrase: str, tell: Tell) -> dict[str, Any]:
    import psycopg

    from adapters.log.data_keys import export_keys
    from adapters.log.settings import Sealing
    from adapters.operators import backup as operators
    from adapters.postgres.settings import Postgres
    from adapters.storage.blobs import Blobs
    from infra.container import container

    with operators.alone(directory):
        before = operators.parts(directory)
        if before:
            # Whoever has forgotten the passphrase finds out now, and not when it is needed.
            operators.open_keys((before[-1][0] / "keys.sealed").read_bytes(), passphrase)
        after = before[-1][1].until if before else 0
        secret = settings[Sealing].secret_key.reveal()
        async with container(settings) as here:
            blobs = await here.get(Blobs)
            with (
                psycopg.connect(settings[Postgres].postgres_url, autocommit=True) as connection,
                operators.snapshot(connection) as (until, state),
                operators.new_part(directory, after, until) as part,
            ):
                keys = operators.Keys(secret_key=secret, data_keys=export_keys(connection, secret.encode()))
                (part / "keys.sealed").write_bytes(operators.seal_keys(keys, passphrase))
                events = operators.write_part(connection, part, after, until, state, tell)
                objects = await operators.write_objects(blobs, directory, part, tell)
                operators.seal_part(directory, part, after=after, until=until, events=events, objects=objects)
        place, _ = operators.parts(directory)[-1]
    return {"events": events, "after": after, "until": until, "objects": objects, "path": str(place)}


def _restore(directory: Path, passphrase: str, into: Path | None, tell: Tell) -> dict[str, Any]:
    from adapters.operators import backup as operators

    found = operators.check(directory, tell)
    if not found:
        raise click.ClickException(f"{directory} holds no backup.")
    keys = operators.open_keys((found[-1][0] / "keys.sealed").read_bytes(), passphrase)
    if into is None:
        from adapters.log.settings import Sealing

        settings = settings_for("restore")
        if settings[Sealing].secret_key.reveal() != keys.secret_key:
            raise click.ClickException(
                "LEDGERLINE_SECRET_KEY is not that of the backup, without which nothing digested would be found again."
            )
        return asyncio.run(_bring(settings, directory, keys, tell))
    return _into_a_directory(directory, keys, into, tell)


def _into_a_directory(directory: Path, keys: Any, into: Path, tell: Tell) -> dict[str, Any]:
    """With servers of their own, started for this and stopped again."""
    from domain.sections import Secret
    from infra.embedded.blobs import EmbeddedBlobs
    from infra.embedded.directories import DirectoryLock, make_directory, write_private
    from infra.embedded.postgres import EmbeddedPostgres
    from infra.embedded.stack import start_together, stop_together
    from infra.settings import read_settings

    into = into.expanduser().absolute()
    if into.is_dir() and any(into.iterdir()):
        raise click.ClickException(f"{into} is not empty. Restore into an empty directory.")
    make_directory(into)
    lock = DirectoryLock(into, "Ledgerline")
    lock.take()
    settings = read_settings(data_dir=into)
    bucket = settings.value("s3_bucket")
    servers = [EmbeddedPostgres(into / "postgres"), EmbeddedBlobs(into / "blobs", bucket=bucket)]
    try:
        start_together(servers)
        write_private(into / "secret_key", keys.secret_key + "\n")
        for server in servers:
            settings = settings.changed(**server.settings)
        settings = settings.changed(secret_key=Secret(keys.secret_key))
        return asyncio.run(_bring(settings, directory, keys, tell))
    finally:
        stop_together(servers)
        lock.release()


async def _bring(settings: Settings, directory: Path, keys: Any, tell: Tell) -> dict[str, Any]:
    from msgspec import to_builtins

    from adapters.operators import restoring
    from adapters.postgres.settings import Postgres
    from adapters.storage.blobs import Blobs
    from infra import migrate
    from infra.container import container

    url = settings[Postgres].postgres_url
    await asyncio.to_thread(migrate.migrate, url)
    restored = await asyncio.to_thread(restoring.restore_database, url, directory, keys, tell)
    async with container(settings) as here:
        objects = await restoring.restore_objects(await here.get(Blobs), directory, tell)
    told: dict[str, Any] = {**to_builtins(restored), "objects": objects}
    return told


#: It is full, or somebody may not have more of it; it is broken; it may be read only.
_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})


def _read(passphrase_file: Path) -> str:
    from adapters.operators.backup import PASSPHRASE_LENGTH_MAX, PASSPHRASE_LENGTH_MIN

    with click.open_file(str(passphrase_file), encoding="utf-8") as file:
        # It may be a pipe of what shows passwords, or by mistake something that has no end.
        passphrase: str = file.readline(PASSPHRASE_LENGTH_MAX + 1).strip()
    if len(passphrase) > PASSPHRASE_LENGTH_MAX:
        raise click.UsageError(f"A passphrase has at most {PASSPHRASE_LENGTH_MAX} characters.")
    if len(passphrase) < PASSPHRASE_LENGTH_MIN:
        raise click.UsageError(f"A passphrase has at least {PASSPHRASE_LENGTH_MIN} characters.")
    return passphrase


@contextmanager
def _in_sentences() -> Iterator[None]:
    from adapters.operators.backup import BackupError

    try:
        yield
    except BackupError as problem:
        raise click.ClickException(str(problem)) from None
    except OSError as problem:
        # What is written in pieces knows no name; anything else without one would be a mistake of ours.
        if problem.filename is None and problem.errno not in _OF_THE_DISK:
            raise
        raise click.ClickException(f"{problem.filename or 'The disk'}: {problem.strerror}.") from None
