"""Column mappings: what the columns of reports mean that are not known here."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, delete, get, put
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import JSONBody, PathParameter
from msgspec import Meta, Struct, json

from adapters.catalogue.profiles import PROFILES, Profile, mapped
from api.auth import Asker
from api.catalogue.ports import Ports
from api.catalogue.tracks import READ, WRITE, Done, one
from commands.catalogue.mappings import RemoveMapping, SaveMapping
from commands.kernel import Command, derived_id
from domain.catalogue.mappings import (
    FIELDS,
    HEADERS_MAX,
    MAPPINGS_MAX,
    BadMapping,
    DateOrder,
    Kind,
    Mapping,
    TooManyMappings,
    check_name,
)
from projections.catalogue.mappings import MappingDocument, mapping_documents

SOURCES = frozenset(each.name for each in PROFILES)

Name = Annotated[str, PathParameter(examples=[Example(value="my-shop")], description="What the mapping is called")]
Headers = Annotated[list[str], Meta(min_length=1, max_length=HEADERS_MAX)]


class NewMapping(Struct, forbid_unknown_fields=True):
    """What the columns of a report mean: for each field the headers that it may have, the best first."""

    kind: Annotated[Kind, Meta(examples=["royalties"])]
    columns: Annotated[
        dict[str, Headers],
        Meta(
            min_length=1,
            max_length=len(FIELDS),
            description=f"Fields are {', '.join(FIELDS)}.",
            examples=[{"sale": ["Month"], "isrc": ["Code"], "units": ["Plays"], "amount": ["Paid out"]}],
        ),
    ]
    currency: Annotated[str, Meta(pattern=r"^[A-Za-z]{3}\Z", examples=["EUR"])] | None = None
    date_order: DateOrder | None = None
    store: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class MappingAnswer(Struct):
    """One mapping."""

    data: MappingDocument


class MappingList(Struct):
    """All mappings of the workspace, newest first."""

    data: list[MappingDocument]


_document = json.Decoder(MappingDocument).decode
ONE = {200: ResponseSpec(MappingAnswer, generate_examples=False, description="The mapping as it is kept.")}


def mapping_id(workspace_id: str, name: str) -> str:
    """The id of a mapping: it follows from its workspace and its name, so that there is one at most."""
    return derived_id("mapping", workspace_id, name)


async def saved(ports: Ports, workspace_id: str) -> dict[str, Mapping]:
    """The mappings of a workspace by their names."""
    found = await ports.views.page(mapping_documents, workspace_id, limit=MAPPINGS_MAX)
    return {
        each.name: Mapping(
            kind=each.kind,
            columns=each.columns,
            currency=each.currency,
            date_order=each.date_order,
            store=each.store,
        )
        for each in (_document(stored.body) for stored in found)
    }


def profiles(mappings: dict[str, Mapping], source: str | None) -> list[Profile]:
    """What a report may be: what its people have said first, or only what was named; raises BadMapping."""
    known = [*(mapped(name, each) for name, each in mappings.items()), *PROFILES]
    named = [each for each in known if source in (None, each.name)]
    if not named:
        raise BadMapping(
            problem="There is no such source. Name one that is known here, or a saved mapping.", loc=("query", "source")
        )
    return named


@put("/api/v1/import-mappings/{name:str}", tags=["catalogue"], opt={**WRITE, "statuses": ("409",)}, responses=ONE)
async def save_import_mapping(
    name: Name, data: JSONBody[NewMapping], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Say what the columns of a report mean that is not known here. It is known by them then, under this name.

    All columns that are named must be there. The same once more changes nothing; another one replaces it for imports
    to come. The names of known sources are taken.
    """
    check_name(name)
    if name in SOURCES:
        raise BadMapping(problem=f"{name} is known already. Choose another name.", loc=("path", "name"))
    there = await saved(ports, asker.workspace_id)
    if name not in there and len(there) >= MAPPINGS_MAX:
        raise TooManyMappings(mappings_max=MAPPINGS_MAX)
    mapping = Mapping(
        kind=data.kind,
        columns={field: tuple(headers) for field, headers in data.columns.items()},
        currency=data.currency and data.currency.upper(),
        date_order=data.date_order,
        store=data.store,
    )
    known = mapping_id(asker.workspace_id, name)
    wish = SaveMapping(mapping_id=known, workspace_id=asker.workspace_id, name=name, mapping=mapping)
    return await _mapping(ports, asker, name, wish)


@get("/api/v1/import-mappings", tags=["catalogue"], opt=READ)
async def list_import_mappings(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> MappingList:
    """List the column mappings of the workspace, newest first."""
    found = await ports.views.page(mapping_documents, asker.workspace_id, limit=MAPPINGS_MAX)
    return MappingList([_document(each.body) for each in found])


@get("/api/v1/import-mappings/{name:str}", tags=["catalogue"], opt=READ, responses=ONE)
async def get_import_mapping(
    name: Name, ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Response[bytes]:
    """Read a column mapping."""
    return await _mapping(ports, asker, name)


@delete("/api/v1/import-mappings/{name:str}", status_code=200, tags=["catalogue"], opt=WRITE)
async def remove_import_mapping(name: Name, ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> Done:
    """Forget a column mapping. What was imported with it stays."""
    wish = RemoveMapping(mapping_id=mapping_id(asker.workspace_id, name), workspace_id=asker.workspace_id)
    await ports.execute(wish, asker.context)
    return Done()


async def _mapping(ports: Ports, asker: Asker, name: str, wish: Command | None = None) -> Response[bytes]:
    return await one(ports, asker, mapping_documents, mapping_id(asker.workspace_id, name), wish)
