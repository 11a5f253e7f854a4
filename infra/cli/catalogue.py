"""`ledgerline import`, `rebuild-catalogue`, `use-profile`, `rewrap-profiles`: reports and cookies."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import uuid4

import click
from msgspec import json

from domain.sections import variable
from infra.cli import AFile, as_json, command, data_dir
from infra.cli.progress import bars
from infra.running import settings_for

PURPOSE_LENGTH_MAX = 200


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

    # For people lines come when the bar is gone, which would stand among them; also when something fails half way.
    lines: list[str] = []
    say = click.echo if as_json else lines.append

    async def rebuild(tell: Callable[[str, int, int], None]) -> bool:
        is_whole = True
        async with container(settings) as here:
            rebuilder = await here.get(Rebuilder)
            async for made in rebuilder.rebuild(workspace, anyway=anyway, progress=partial(tell, "imports")):
                is_whole = is_whole and not made.problems
                for each in made.problems:
                    told = f"{click.style(each.kind, fg='red')}: import {each.import_id}: {each.message}"
                    say(json.encode(each).decode() if as_json else told)
                left = "left as it is" if made.problems else "made again"
                told = f"Workspace {made.workspace_id}: {made.imports} imports, {left}."
                say(json.encode(made).decode() if as_json else told)
        return is_whole

    try:
        with runner() as loop, bars(hidden=as_json) as tell:
            is_whole = loop.run(rebuild(tell))
    finally:
        for line in lines:
            click.echo(line)
    return 0 if is_whole else 1


@command("use-profile")
@click.argument("profile", type=click.IntRange(1, 2**63 - 1))
@click.option("--workspace", metavar="ID", required=True, help="Whose profile it is.")
@click.option("--for", "purpose", metavar="TEXT", required=True, help="What for; the workspace's audit says so.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="A new file that only you can read.")
@data_dir
def use_profile(profile: int, workspace: str, purpose: str, out: Path | None, data_dir: Path | None) -> None:
    """Give out the cookies of a browser profile, as they were imported, to what acts with them on this machine.

    That they were used, and what for, is in the audit of the workspace before they are given out.
    """
    settings = settings_for("use-profile", data_dir=data_dir)
    from adapters.catalogue.cookies import SealedCookies
    from commands.catalogue.browser_profiles import UseBrowserProfile
    from commands.kernel import Execute
    from domain.catalogue.browser_profiles import EncryptionNotConfigured
    from domain.keeping import is_text
    from domain.kernel import Refusal
    from domain.ledger import Context
    from infra.cli.roles import runner
    from infra.container import container

    if not (0 < len(purpose) <= PURPOSE_LENGTH_MAX and is_text(purpose) and is_text(workspace)):
        raise click.UsageError(f"--for takes a text of {PURPOSE_LENGTH_MAX} characters at most, --workspace an id.")

    async def use() -> bytes:
        context = Context(workspace_id=workspace, actor="operator", correlation_id=uuid4())
        wish = UseBrowserProfile(profile_id=profile, workspace_id=workspace, use_id=str(uuid4()), purpose=purpose)
        async with container(settings) as here:
            jar = await here.get(SealedCookies)
            if not jar.is_configured:
                raise click.ClickException(
                    f"{variable('browser_profile_keys')} lists no key. Set it as the service has it."
                )
            await (await here.get(Execute))(wish, context)
            return await jar.open(workspace, profile)

    try:
        with runner() as loop:
            cookies = loop.run(use())
    except EncryptionNotConfigured as problem:
        raise click.ClickException(
            f"{variable('browser_profile_keys')} does not list the key that these cookies are sealed with."
        ) from problem
    except Refusal as refusal:
        raise click.ClickException(refusal.sentence) from refusal
    if out is None:
        click.echo(cookies)
        return
    try:
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(cookies)
    except OSError as problem:
        raise click.ClickException(f"{out} cannot be written: {problem.strerror}.") from problem


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
