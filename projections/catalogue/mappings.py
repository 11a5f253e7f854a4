"""Column mappings as their people see them."""

from __future__ import annotations

from msgspec.structs import asdict, replace

from domain.catalogue.mappings import DateOrder, Kind, MappingRemoved, MappingSaved, NoSuchMapping
from domain.kernel import Event
from projections.kernel import Document, Projection, milliseconds, projection


class MappingDocument(Document):
    """One mapping: which headers each field may have."""

    name: str
    kind: Kind
    columns: dict[str, tuple[str, ...]]
    currency: str | None
    date_order: DateOrder | None
    store: str | None
    created_at: str
    updated_at: str


def evolve(found: MappingDocument | None, event: Event) -> MappingDocument | None:
    """A mapping after one more event."""
    match found, event:
        case None, MappingSaved():
            moment = milliseconds(event.saved_at)
            return MappingDocument(name=event.name, created_at=moment, updated_at=moment, **asdict(event.mapping))
        case MappingDocument(), MappingSaved():
            return replace(found, updated_at=milliseconds(event.saved_at), **asdict(event.mapping))
        case MappingDocument(), MappingRemoved():
            return None
    return found


mapping_documents: Projection[MappingDocument] = projection(
    "import_mappings",
    MappingDocument,
    on={MappingSaved: "mapping_id", MappingRemoved: "mapping_id"},
    evolve=evolve,
    begins=(MappingSaved,),
    absent=NoSuchMapping,
    stream="mapping",
)
