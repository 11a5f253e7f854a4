"""Templates: our catalogue, and what a workspace has brought in a spreadsheet of its own."""

from __future__ import annotations

from typing import Any, Literal

from litestar import Request, get, post
from litestar.di import NamedDependency
from msgspec import json

from adapters.band.catalogue import UnknownCategory, catalogue, find, plain
from adapters.beats import spreadsheet
from api.auth import Asker, needs
from api.beats.ports import Ports
from api.beats.shapes import Shape
from commands.beats.templates import DefineTemplates, NewTemplate
from commands.kernel import derived_id
from domain.beats.templates import Template, TemplateNotFound, templates
from domain.kernel import Value
from projections.beats.templates import TemplateDocument, beat_templates

#: Of a workspace, so many are listed and drawn from.
OWN_MAX = 1000


class TemplateShown(Shape):
    """A template; `source` says whose it is."""

    id: str
    category_name: str
    genre: str
    style: str
    mood: str
    use_case: str
    tags: tuple[str, ...]
    prompt: str
    bpm_min: int | None
    bpm_max: int | None
    source: Literal["catalogue", "workspace"]


class TemplateList(Shape):
    """All templates that a workspace can choose from."""

    data: list[TemplateShown]
    total: int


class RefusedRow(Shape):
    """A row of a spreadsheet that is no template, and why."""

    row: int
    reason: str


class Imported(Shape):
    """What came of a spreadsheet."""

    success: bool
    imported: int
    data: list[TemplateShown]
    refused: list[RefusedRow]


class Known(Value):
    """A template with its id, and whose it is."""

    id: str
    template: Template
    is_own: bool


def own_id(workspace_id: str, category: str) -> str:
    """The id of a workspace's template, by which it is found again under its category."""
    return derived_id("beat template", workspace_id, plain(category))


def _catalogue_id(category: str) -> str:
    return derived_id("beat template", plain(category))


async def template_of(ports: Ports, asker: Asker, category: str) -> Known:
    """The template of a category: the workspace's own before that of our catalogue; raises TemplateNotFound."""
    own = await ports.log.state(templates, own_id(asker.workspace_id, category))
    if own.template is not None and own.workspace_id == asker.workspace_id:
        return Known(id=own_id(asker.workspace_id, category), template=own.template, is_own=True)
    try:
        template = find(category)
    except UnknownCategory:
        raise TemplateNotFound(category_name=category) from None
    return Known(id=_catalogue_id(template.category), template=template, is_own=False)


async def all_templates(ports: Ports, asker: Asker) -> list[Known]:
    """Everything that a workspace can choose from, its own first."""
    pages = await ports.views.page(beat_templates, asker.workspace_id, limit=OWN_MAX)
    documents = [json.decode(each.body, type=TemplateDocument) for each in pages]
    own = [Known(id=each.id, template=_plainly(each), is_own=True) for each in documents]
    hidden = {plain(each.template.category) for each in own}
    ours = [
        Known(id=_catalogue_id(each.category), template=each, is_own=False)
        for each in catalogue()
        if plain(each.category) not in hidden
    ]
    return own + ours


def _plainly(document: TemplateDocument) -> Template:
    return Template(
        category=document.category,
        genre=document.genre,
        style=document.style,
        mood=document.mood,
        use_case=document.use_case,
        tags=document.tags,
        prompt=document.prompt,
        bpm_min=document.bpm_min,
        bpm_max=document.bpm_max,
    )


def _shown(known: Known) -> TemplateShown:
    template = known.template
    return TemplateShown(
        id=known.id,
        category_name=template.category,
        genre=template.genre,
        style=template.style,
        mood=template.mood,
        use_case=template.use_case,
        tags=template.tags,
        prompt=template.prompt,
        bpm_min=template.bpm_min,
        bpm_max=template.bpm_max,
        source="workspace" if known.is_own else "catalogue",
    )


@get("/api/templates", tags=["beats"], opt=needs("beats:read", "viewer"))
async def list_templates(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> TemplateList:
    """List the categories that beats are made of: the workspace's own first, then our catalogue."""
    found = [_shown(each) for each in await all_templates(ports, asker)]
    return TemplateList(data=found, total=len(found))


_SPREADSHEET = {
    "required": True,
    "content": {"application/xml": {"schema": {"type": "string", "description": "XML Spreadsheet 2003"}}},
}


@post(
    "/api/templates/import",
    status_code=200,
    tags=["beats"],
    opt={**needs("beats:write", "member"), "request_body": _SPREADSHEET},
)
async def import_templates(
    request: Request[Any, Any, Any], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Imported:
    """Bring templates of your own: a spreadsheet as the catalogue of the contract is one (`beat_catalog.xml`).

    A category that is there already is changed. Rows that are no template are told with the reason.
    """
    found = spreadsheet.read(await request.body())
    own = [Known(id=own_id(asker.workspace_id, each.category), template=each, is_own=True) for each in found.templates]
    if own:
        wish = DefineTemplates(
            workspace_id=asker.workspace_id,
            templates=tuple(NewTemplate(template_id=each.id, template=each.template) for each in own),
        )
        await ports.execute(wish, asker.context)
    return Imported(
        success=True,
        imported=len(own),
        data=[_shown(each) for each in own],
        refused=[RefusedRow(row=each.row, reason=each.reason) for each in found.refused],
    )
