"""`ledgerline import` and `rewrap-profiles`: files into the books of a running service, and new keys for cookies."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from domain.sections import variable
from infra.cli import AFile, as_json, command, data_dir
from infra.running import settings_for


@command("import")
@click.argument("files", nargs=-1, required=True, type=AFile())
@click.option("--url", envvar="LEDGERLINE_URL", default="http://127.0.0.1:8000", show_default=True, help="The service.")
@click.option("--key", envvar="LEDGERLINE_API_KEY", required=True, help="A key with the scope catalogue:write.")
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
