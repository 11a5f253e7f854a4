"""Imports as rules."""

from __future__ import annotations

from msgspec.structs import replace

from commands.catalogue.imports import RefuseImport
from domain.catalogue.imports import ImportRefused, ImportRequested
from domain.catalogue.titles import TitleResolved
from domain.kernel import PLAIN
from domain.vocabulary import personal_fields, upcast
from tests.catalogue.examples import requested
from tests.spec import NOW, given

asked = ImportRequested(
    import_id="import-1",
    workspace_id="w1",
    filename="bank.tsv",
    object_key="",
    size=100,
    sha256="ab" * 32,
    options=requested.options,
    requested_at=NOW,
)
refused = ImportRefused(import_id="import-1", reason="html", detail="A web page.", refused_at=NOW)


def test_a_title_that_was_resolved_before_such_were_sealed_is_read_until_its_workspace_is_forgotten() -> None:
    facts = {"title_id": "t", "workspace_id": "w1", "artist": "A", "title": "Song", "isrc": "QZABC2300001"}
    read = upcast(TitleResolved, 1, facts)
    assert (read["artist"], read["title"]) == (PLAIN + "A", PLAIN + "Song")
    assert {field for field, _ in personal_fields(TitleResolved)} == {"artist", "title"}


def test_a_file_that_is_refused_as_it_comes_never_waits_to_be_read() -> None:
    wish = replace(requested, object_key="", refused="html", detail="A web page.")
    given().when(wish).then(asked, refused)
    given(asked, refused).when(RefuseImport(import_id="import-1", reason="broken", detail="Gone.")).then()
