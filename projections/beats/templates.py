"""Templates that workspaces have brought."""

from __future__ import annotations

from domain.beats.templates import TemplateDefined, TemplateNotFound
from domain.kernel import Event
from projections.kernel import Document, Projection, projection


class TemplateDocument(Document):
    """One template of a workspace."""

    id: str
    category: str
    genre: str
    style: str
    mood: str
    use_case: str
    tags: tuple[str, ...]
    prompt: str
    bpm_min: int | None
    bpm_max: int | None


def evolve(template: TemplateDocument | None, event: Event) -> TemplateDocument | None:
    """A template after one more event."""
    match event:
        case TemplateDefined():
            return TemplateDocument(
                id=event.template_id,
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
    return template


beat_templates: Projection[TemplateDocument] = projection(
    "beat-templates",
    TemplateDocument,
    on={TemplateDefined: "template_id"},
    evolve=evolve,
    begins=(TemplateDefined,),
    absent=TemplateNotFound,
    stream="template",
)
