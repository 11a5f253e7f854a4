"""Column mappings: saved, removed."""

from __future__ import annotations

from datetime import datetime

from commands.kernel import Command, decides
from domain.catalogue.mappings import Mapping, MappingRemoved, MappingSaved, SavedMapping, check, check_name, mappings
from domain.kernel import Event


class SaveMapping(Command):
    """Say what the columns of a kind of report mean."""

    mapping_id: str
    workspace_id: str
    name: str
    mapping: Mapping


class RemoveMapping(Command):
    """Use a mapping no longer."""

    mapping_id: str
    workspace_id: str


@decides(SaveMapping, mappings, creates=True)
def save(wish: SaveMapping, found: SavedMapping, now: datetime) -> list[Event]:
    """A mapping is saved under its name; the same once more changes nothing, another one replaces it."""
    check_name(wish.name)
    check(wish.mapping)
    if found.mapping == wish.mapping:
        return []
    return [
        MappingSaved(
            mapping_id=wish.mapping_id,
            workspace_id=wish.workspace_id,
            name=wish.name,
            mapping=wish.mapping,
            saved_at=now,
        )
    ]


@decides(RemoveMapping, mappings)
def remove(wish: RemoveMapping, found: SavedMapping, now: datetime) -> list[Event]:
    """Only what a workspace has can it remove."""
    if found.workspace_id != wish.workspace_id or found.mapping is None:
        raise mappings.absent
    return [MappingRemoved(mapping_id=wish.mapping_id, removed_at=now)]
