"""Originals, artwork, audio, tokens and cookies that were kept for something that was then never written down."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from commands.catalogue.ports import Ports
from commands.sweeping import LOOKED_BACK, sweep_objects, sweeps
from domain.catalogue.browser_profiles import browser_profiles
from domain.catalogue.imports import imports, objects_of
from domain.catalogue.releases import ReleaseArtworkKept, ReleaseAudioKept, objects_of_releases, releases
from domain.catalogue.tables import secrets_of, tables_of


@sweeps("catalogue-originals")
async def sweep_originals(ports: Ports, before: datetime) -> int:
    """The file is stored before its import is asked for, and deleted after that is refused."""

    async def is_kept(key: Sequence[str]) -> bool:
        return (await ports.log.state(imports, key[-1])).standing not in ("absent", "refused")

    return await sweep_objects(ports.blobs, objects_of(), before, is_kept, after=before - LOOKED_BACK)


@sweeps("catalogue-media")
async def sweep_media(ports: Ports, before: datetime) -> int:
    """Artwork and audio are stored before their release has them."""

    async def is_of_its_release(key: Sequence[str]) -> bool:
        _, _, release_id, *_ = key
        events = (await ports.log.read(releases.stream(release_id))).events
        named = {each.artwork.object_key for each in events if isinstance(each, ReleaseArtworkKept)}
        named |= {each.audio.object_key for each in events if isinstance(each, ReleaseAudioKept)}
        return "/".join(key) in named

    return await sweep_objects(
        ports.blobs, objects_of_releases(), before, is_of_its_release, after=before - LOOKED_BACK
    )


@sweeps("catalogue-tokens")
async def sweep_tokens(ports: Ports, before: datetime) -> int:
    """The token of tables is stored before they are connected."""

    async def is_used(key: Sequence[str]) -> bool:
        _, workspace_id, secret_id = key
        return (await ports.log.state(tables_of, workspace_id)).secret_id == secret_id

    return await sweep_objects(ports.blobs, secrets_of(), before, is_used, after=before - LOOKED_BACK)


@sweeps("catalogue-cookies")
async def sweep_cookies(ports: Ports, before: datetime) -> int:
    """Cookies are kept before their profile is written down, and gone when it is removed."""
    swept = 0
    for workspace_id, profile_id in await ports.cookies.kept(before):
        profile = await ports.log.state(browser_profiles, str(profile_id))
        if profile.workspace_id != workspace_id or profile.removed:
            await ports.cookies.forget(workspace_id, profile_id)
            swept += 1
    return swept
