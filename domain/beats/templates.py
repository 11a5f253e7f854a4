"""A template: what beats of one category have in common. A workspace may bring its own, beside our catalogue."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from domain.kernel import Category, Event, Invalid, State, Value, personal


class Template(Value):
    """What beats of a category are made from."""

    category: str
    genre: str
    style: str
    mood: str
    use_case: str
    tags: tuple[str, ...]
    prompt: str
    #: Narrower than what is usual in the genre, or null.
    bpm_min: int | None = None
    bpm_max: int | None = None


class TemplateDefined(Event):
    """A workspace has a template of its own, or has changed it. What people write in it is theirs, so it is sealed."""

    # But for the words that its beats are found by (genre, style, mood, tags), also where they are somebody's own.
    template_id: str
    workspace_id: str
    category: Annotated[str, personal("workspace_id")]
    genre: str
    style: str
    mood: str
    use_case: Annotated[str, personal("workspace_id")]
    tags: tuple[str, ...]
    prompt: Annotated[str, personal("workspace_id")]
    bpm_min: int | None
    bpm_max: int | None
    defined_at: datetime


class WorkspaceTemplate(State):
    """What rules know of a template of a workspace."""

    workspace_id: str = ""
    template: Template | None = None


def evolve(known: WorkspaceTemplate, event: Event) -> WorkspaceTemplate:
    """A template after one more event."""
    match event:
        case TemplateDefined():
            template = Template(
                category=event.category,
                genre=event.genre,
                style=event.style,
                mood=event.mood,
                use_case=event.use_case,
                tags=event.tags,
                prompt=event.prompt,
                bpm_min=event.bpm_min,
                bpm_max=event.bpm_max,
            )
            return WorkspaceTemplate(workspace_id=event.workspace_id, template=template)
    return known


class TemplateNotFound(Invalid):
    """Template not found. `GET /api/templates` lists the categories there are."""


templates = Category(name="template", initial=WorkspaceTemplate(), evolve=evolve, absent=TemplateNotFound)
