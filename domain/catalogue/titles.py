"""A title that came without an ISRC, and the recording that somebody has said it is."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

from domain.kernel import Category, Event, NotFound, State, Upcasters, personal, personal_since_then


class TitleResolved(Event):
    """Somebody has said which recording a title is; so it is for all reports to come."""

    schema_version: ClassVar[int] = 2
    upcasters: ClassVar[Upcasters] = {1: personal_since_then("artist", "title")}

    title_id: str
    workspace_id: str
    artist: Annotated[str, personal("workspace_id")]
    title: Annotated[str, personal("workspace_id")]
    isrc: str
    resolved_at: datetime


class Title(State):
    """What rules know of a title."""

    isrc: str | None = None


def evolve(title: Title, event: Event) -> Title:
    """A title after one more event."""
    match event:
        case TitleResolved():
            return Title(isrc=event.isrc)
    return title


class NoSuchTitle(NotFound):
    """There is no title with this id that waits for anybody."""


titles = Category(name="title", initial=Title(), evolve=evolve, absent=NoSuchTitle)
