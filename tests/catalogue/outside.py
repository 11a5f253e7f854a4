"""What stands in for the books, for cookies, and for tables elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from commands.catalogue.ports import CookieJars, Importing, Pushed, Sent, Typed, TypedRow, WorkspaceTables
from domain.catalogue.imports import Counts, Report
from domain.catalogue.tables import Kind, Tables
from tests.outside import Known, as_once

OBJECTS: tuple[str, ...] = ("imports/w1/import-1", "releases/w1/release-1/artwork/ab", "tables/w1/s1")


class Imported:
    """Books of a workspace, which its reports are read into once."""

    def __init__(self, known: Known) -> None:
        self._known = known

    async def run(self, sent: Sent, path: Path, today: date) -> Report:
        return Report(source="own.daily", counts=Counts(), digest="")

    @as_once
    async def forget(self, workspace_id: str) -> None:
        self._known.erased.add(f"books of {workspace_id}")

    @as_once
    async def resolve(self, workspace_id: str, title_id: str, isrc: str) -> None:
        self._known.erased.add(f"{title_id} is {isrc}")


class Jars:
    """Cookies of one browser profile, until they are forgotten."""

    def __init__(self, known: Known) -> None:
        self._known = known

    async def kept(self, before: datetime) -> Sequence[tuple[str, int]]:
        return [("w1", 1001)] if await self.of("w1") else []

    @as_once
    async def of(self, workspace_id: str) -> Sequence[int]:
        return [] if f"cookies of {workspace_id}" in self._known.erased else [1001]

    @as_once
    async def forget(self, workspace_id: str, profile_id: int | None = None) -> None:
        self._known.erased.add(f"cookies of {workspace_id}")


class Filled:
    """Tables elsewhere that take whatever they are given."""

    async def push(self, tables: Tables, workspace_id: str, typed: Typed) -> Pushed:
        row = await typed("tracks", "track-1", {"title": "Typed there"})
        return Pushed(created=1, typed=(TypedRow("tracks", {"track_id": "track-1", **row}),))

    @as_once
    async def rows(
        self, tables: Tables, workspace_id: str, kind: Kind, numbers: Sequence[int]
    ) -> Sequence[Mapping[str, Any]]:
        return [{"track_id": "track-1", "title": "Typed there"}]


def outside(known: Known) -> dict[type, Any]:
    """By their ports."""
    return {Importing: Imported(known), CookieJars: Jars(known), WorkspaceTables: Filled()}
