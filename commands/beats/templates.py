"""Bringing templates of one's own."""

from __future__ import annotations

from commands.kernel import Command, Transaction, handles
from domain.beats.templates import Template, TemplateDefined, templates
from domain.kernel import Value


class NewTemplate(Value):
    """A template and its id, which follows from its workspace and its category."""

    template_id: str
    template: Template


class DefineTemplates(Command):
    """Define templates of a workspace, or change them; all or none."""

    workspace_id: str
    templates: tuple[NewTemplate, ...]


@handles(DefineTemplates)
async def define(wish: DefineTemplates, transaction: Transaction) -> None:
    """What is as it was is not written again."""
    for new in wish.templates:
        known = await transaction.expect_new(templates, new.template_id)
        if known.template == new.template:
            continue
        template = new.template
        transaction.record(
            templates,
            new.template_id,
            TemplateDefined(
                template_id=new.template_id,
                workspace_id=wish.workspace_id,
                category=template.category,
                genre=template.genre,
                style=template.style,
                mood=template.mood,
                use_case=template.use_case,
                tags=template.tags,
                prompt=template.prompt,
                bpm_min=template.bpm_min,
                bpm_max=template.bpm_max,
                defined_at=transaction.now,
            ),
        )
