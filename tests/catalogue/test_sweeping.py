"""What was kept for something that was then never written down goes; what an event names stays."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from msgspec.structs import replace
from psycopg_pool import AsyncConnectionPool

from adapters.catalogue.cookies import SealedCookies
from commands.catalogue.browser_profiles import ImportBrowserProfile, RemoveBrowserProfile
from commands.catalogue.ports import CookieJars, Importing, Refused, Sent
from commands.catalogue.reactions import read_import
from commands.catalogue.releases import KeepReleaseArtwork, KeepReleaseAudio
from commands.catalogue.sweeping import sweep_cookies, sweep_media, sweep_originals, sweep_tokens
from commands.kernel import Command
from commands.sweeping import LOOKED_BACK, Sweep
from domain.catalogue.imports import Report, imports
from infra.migrate import migrate
from tests.catalogue.examples import artwork, audio, connected, drafted, requested
from tests.catalogue.outside import Imported, outside
from tests.outside import Known
from tests.scene import Scene

KEPT_ARTWORK = KeepReleaseArtwork(release_id="release-1", workspace_id="w1", artwork=artwork)
ANOTHER = replace(artwork, object_key="releases/w1/release-1/artwork/another")


def staged(more: dict[type, Any] | None = None) -> Scene:
    """A scene in which everything outside stands in, but for this."""
    scene = Scene()
    scene.more = {**outside(Known(scene.log)), **(more or {})}
    return scene


@pytest.mark.parametrize(
    ("sweep", "commands", "named", "unnamed"),
    [
        (sweep_originals, [requested], ["imports/w1/import-1"], ["imports/w1/import-2"]),
        (
            sweep_media,
            [
                drafted,
                KEPT_ARTWORK,
                KeepReleaseAudio(release_id="release-1", workspace_id="w1", isrc="USXXX1234567", audio=audio),
                replace(KEPT_ARTWORK, artwork=ANOTHER),
            ],
            [artwork.object_key, audio.object_key, ANOTHER.object_key],
            ["releases/w1/release-1/artwork/ef", "releases/w1/release-2/artwork/ab"],
        ),
        (sweep_tokens, [connected], ["tables/w1/s1"], ["tables/w1/s2", "tables/w2/s1"]),
    ],
    ids=["originals", "media", "tokens"],
)
async def test_objects_that_no_event_names_go_after_an_hour_and_no_others(
    sweep: Sweep, commands: list[Command], named: list[str], unnamed: list[str]
) -> None:
    scene = staged()
    for command in commands:
        await scene.when(command)
    for key in (*named, *unnamed):
        await scene.blobs.put_bytes(key, b"bytes", content_type="application/octet-stream")
    ports, now = await scene.ports(sweep.ports), datetime.now(UTC)

    assert await sweep.handler(ports, now - timedelta(hours=1)) == 0, "they are new"
    assert await sweep.handler(ports, now + LOOKED_BACK + timedelta(minutes=1)) == 0, "they were looked at long ago"
    assert await sweep.handler(ports, now + timedelta(minutes=1)) == len(unnamed)
    assert [each.key async for each in scene.blobs.list()] == sorted(named)


class NotAReport(Imported):
    """A file that cannot be imported."""

    async def run(self, sent: Sent, path: Path, today: date) -> Report:
        raise Refused("unknown_format", "This is no report.")


@pytest.mark.parametrize("why", ["the process dies before it is deleted", "reading it was given up"])
async def test_of_a_refused_import_nothing_is_kept_whoever_died(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = staged()
    scene.more[Importing] = NotAReport(Known(scene.log))
    await scene.blobs.put_bytes(requested.object_key, b"buyers", content_type="text/csv")
    await scene.when(requested)
    asked = scene.log.all[-1]
    if why == "reading it was given up":
        assert read_import.gives_up is not None
        await read_import.gives_up(asked, await scene.ports(read_import.ports), "It failed, and again.")
        assert not [each async for each in scene.blobs.list()]
    else:
        with monkeypatch.context() as dying:
            dying.setattr(type(scene.blobs), "delete", AsyncMock(side_effect=InterruptedError))
            with pytest.raises(InterruptedError):
                await scene.follows(read_import, asked)
        await scene.follows(read_import, asked)
    assert (await scene.log.state(imports, "import-1")).standing == "refused"

    await sweep_originals.handler(await scene.ports(sweep_originals.ports), datetime.now(UTC))
    assert not [each async for each in scene.blobs.list()]


def test_cookies_without_a_profile_go(database_url: str) -> None:
    migrate(database_url)

    async def swept() -> list[bool]:
        async with AsyncConnectionPool(database_url, open=False, kwargs={"autocommit": True}) as pool:
            jars = SealedCookies(pool, {"k1": b"k" * 32})
            scene = staged({CookieJars: jars})
            ids = [await jars.keep("w1", b"mine") for _ in range(3)]
            for profile_id in ids[:2]:
                await scene.when(
                    ImportBrowserProfile(profile_id=profile_id, workspace_id="w1", name="A session", cookie_count=1)
                )
            await scene.when(RemoveBrowserProfile(profile_id=ids[1], workspace_id="w1"))
            ports = await scene.ports(sweep_cookies.ports)
            assert await sweep_cookies.handler(ports, datetime.now(UTC) - timedelta(hours=1)) == 0
            assert await sweep_cookies.handler(ports, datetime.now(UTC) + timedelta(minutes=1)) == 2
            left = await jars.of("w1")
            return [each in left for each in ids]

    assert asyncio.run(swept()) == [True, False, False]
