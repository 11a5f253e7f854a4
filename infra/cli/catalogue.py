"""`ledgerline import`, `rebuild-catalogue` and `rewrap-profiles`: files into the books, again, and keys for cookies."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
from msgspec import json

from domain.sections import variable
from infra.cli import AFile, as_json, command, data_dir
from infra.running import settings_for


@command("import")
@click.argument("files", nargs=-1, required=True, type=AFile())
@click.option("--url", envvar="LEDGERLINE_URL", default="http://127.0.0.1:8000", show_default=True, help="The service.")
@click.option("--key", envvar="LEDGERLINE_API_KEY", required=True, help="A key with the scope catalogue:write.")
@click.option("--source", metavar="NAME", help="The kind of report that the files are, or a saved mapping of theirs.")
@click.option("--encoding", metavar="cp1252", help="What their text is encoded as, where it should not be found out.")
@click.option("--currency", metavar="EUR", help="What the files count in, where they do not say.")
@click.option("--date-order", type=click.Choice(["dmy", "mdy", "ymd"]), help="How dates with slashes are read.")
@click.option("--isrc", help="The one track that the files are about.")
@click.option("--artist", help="Whose titles the files have.")
@click.option("--period-start", metavar="YYYY-MM-DD", help="The first day that the files sum up.")
@click.option("--period-end", metavar="YYYY-MM-DD", help="The last day that the files sum up.")
@click.option("--replace", is_flag=True, help="Take out rows that a statement had before and has no more.")
@click.option("--strict", is_flag=True, help="Import nothing of a file in which a row is wrong.")
@as_json
def import_files(files: tuple[Path, ...], url: str, key: str, as_json: bool, **said: str | bool | None) -> int:
    """Import reports of sellers and stores, as they were downloaded, into the books of a running service.

    The exit status is 1 when a file was refused, has rows that are wrong, or something is asked about it.
    """
    from infra.importing import import_all

    options = {name: str(value).lower() if value is True else str(value) for name, value in said.items() if value}
    return asyncio.run(import_all(files, url.rstrip("/"), key, options, as_json=as_json))


@command("rebuild-catalogue")
@click.option("--workspace", metavar="ID", help="Only this workspace; all that have imports otherwise.")
@click.option("--anyway", is_flag=True, help="Take what this version reads otherwise than when it was imported.")
@as_json
@data_dir
def rebuild_catalogue(workspace: str | None, anyway: bool, as_json: bool, data_dir: Path | None) -> int:
    """Make the tables of plays and royalties again, from the originals of what was imported, in the order of the log.

    Each workspace is made again in one transaction, while the service runs: until it is done, everybody sees what was
    there before. Where an original is missing or another one, it is named, the workspace is left as it is, and the exit
    status is 1.
    """
    settings = settings_for("rebuild-catalogue", data_dir=data_dir)
    from adapters.catalogue.rebuilding import Rebuilder
    from infra.cli.roles import runner
    from infra.container import container

    async def rebuild() -> bool:
        is_whole = True
        async with container(settings) as here:
            async for made in (await here.get(Rebuilder)).rebuild(workspace, anyway=anyway):
                is_whole = is_whole and not made.problems
                for each in made.problems:
                    told = f"{click.style(each.kind, fg='red')}: import {each.import_id}: {each.message}"
                    click.echo(json.encode(each).decode() if as_json else told)
                left = "left as it is" if made.problems else "made again"
                told = f"Workspace {made.workspace_id}: {made.imports} imports, {left}."
                click.echo(json.encode(made).decode() if as_json else told)
        return is_whole

    with runner() as loop:
        return 0 if loop.run(rebuild()) else 1


@command("rewrap-profiles")
@data_dir
def rewrap_profiles(data_dir: Path | None) -> None:
    """Wrap the keys of browser profiles with the newest master key, so that older ones can go."""
    settings = settings_for("rewrap-profiles", data_dir=data_dir)
    from psycopg_pool import AsyncConnectionPool

    from adapters.catalogue.cookies import SealedCookies
    from adapters.catalogue.settings import Cookies
    from adapters.postgres.settings import Postgres

    async def rewrap() -> int:
        url = settings[Postgres].postgres_url
        async with AsyncConnectionPool(url, open=False, kwargs={"autocommit": True}) as pool:
            return await SealedCookies(pool, settings[Cookies].keys()).rewrap()

    from domain.catalogue.browser_profiles import EncryptionNotConfigured

    try:
        click.echo(f"Wrapped anew: {asyncio.run(rewrap())}.")
    except EncryptionNotConfigured as problem:
        raise click.ClickException(
            f"A workspace's key is wrapped with a master key that {variable('browser_profile_keys')} does not list, or "
            "lists otherwise. List it behind the newest one until this command has run."
        ) from problem
