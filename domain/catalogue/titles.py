"""A title that came without an ISRC, and the recording that somebody has said it is."""

from __future__ import annotations

from datetime import datetime

from domain.kernel import Category, Event, NotFound, State


class TitleResolved(Event):
    """Somebody has said which recording a title is; so it is for all reports to come."""

    title_id: str
    workspace_id: str
    artist: str
    title: str
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
