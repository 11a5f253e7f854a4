"""Saying which recording a title is."""

from __future__ import annotations

from datetime import datetime

from commands.catalogue.ports import Ports
from commands.kernel import Command, decides
from domain.catalogue.codes import isrc as normal_isrc
from domain.catalogue.titles import Title, TitleResolved, titles
from domain.kernel import Event


class ResolveTitle(Command):
    """Say which recording a title of an artist is."""

    title_id: str
    workspace_id: str
    artist: str
    title: str
    isrc: str


@decides(ResolveTitle, titles, creates=True)
def resolve(wish: ResolveTitle, title: Title, now: datetime) -> list[Event]:
    """It may be said again, and otherwise."""
    isrc = normal_isrc(wish.isrc)
    if title.isrc == isrc:
        return []
    return [
        TitleResolved(
            title_id=wish.title_id,
            workspace_id=wish.workspace_id,
            artist=wish.artist,
            title=wish.title,
            isrc=isrc,
            resolved_at=now,
        )
    ]


async def put_title(title_id: str, workspace_id: str, ports: Ports) -> None:
    """Put what waits for a title under the recording that was said last.

    Whoever has said another one may wait for the books, too, and come to them first: so it is looked at again after.
    """
    done: str | None = None
    while (said := (await ports.log.state(titles, title_id)).isrc) is not None and said != done:
        await ports.importing.resolve(workspace_id, title_id, said)
        done = said
