"""One ordinary example of every command of the catalogue."""

from __future__ import annotations

from commands.catalogue.browser_profiles import ImportBrowserProfile, RemoveBrowserProfile, UseBrowserProfile
from commands.catalogue.imports import AnswerImport, CompleteImport, PauseImport, RefuseImport, RequestImport
from commands.catalogue.titles import ResolveTitle
from commands.catalogue.tracks import AddTrack, Changes, ChangeTrack, RemoveTrack
from domain.catalogue.imports import Counts, Options, Report
from domain.catalogue.tracks import Details
from tests.examples import Example

details = Details(title="Song Name", artist="Artist Name", upc="123456789012")
added = AddTrack(track_id="track-1", workspace_id="w1", isrc="USXXX1234567", details=details)

requested = RequestImport(
    import_id="import-1",
    workspace_id="w1",
    filename="bank.tsv",
    object_key="imports/w1/import-1",
    size=100,
    sha256="ab" * 32,
    options=Options(),
)
paused = PauseImport(import_id="import-1", source="amuse.statement", question="currency", detail="In which currency?")
report = Report(source="own.daily", counts=Counts(total=1, accepted=1, new=1), digest="0" * 32)

profile = ImportBrowserProfile(profile_id=1001, workspace_id="w1", name="A session", cookie_count=2)

EXAMPLES = (
    Example(ResolveTitle(title_id="title-1", workspace_id="w1", artist="A", title="Song", isrc="USXXX1234567")),
    Example(profile),
    Example(UseBrowserProfile(profile_id=1001, workspace_id="w1", use_id="use-1", purpose="upload"), [profile]),
    Example(RemoveBrowserProfile(profile_id=1001, workspace_id="w1"), [profile]),
    Example(requested),
    Example(paused, [requested]),
    Example(
        AnswerImport(import_id="import-1", workspace_id="w1", options=Options(currency="EUR")), [requested, paused]
    ),
    Example(CompleteImport(import_id="import-1", report=report), [requested]),
    Example(RefuseImport(import_id="import-1", reason="html", detail="A web page."), [requested]),
    Example(added),
    Example(ChangeTrack(track_id="track-1", workspace_id="w1", changes=Changes(title="Another Name")), [added]),
    Example(RemoveTrack(track_id="track-1", workspace_id="w1"), [added]),
)
