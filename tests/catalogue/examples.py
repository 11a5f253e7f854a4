"""One ordinary example of every command of the catalogue."""

from __future__ import annotations

from commands.catalogue.browser_profiles import ImportBrowserProfile, RemoveBrowserProfile, UseBrowserProfile
from commands.catalogue.imports import AnswerImport, CompleteImport, PauseImport, RefuseImport, RequestImport
from commands.catalogue.mappings import RemoveMapping, SaveMapping
from commands.catalogue.releases import (
    ChangeRelease,
    DraftRelease,
    KeepReleaseArtwork,
    KeepReleaseAudio,
    ReleaseChanges,
    RemoveRelease,
)
from commands.catalogue.titles import ResolveTitle
from commands.catalogue.tracks import AddTrack, Changes, ChangeTrack, LinkTrack, RemoveTrack
from domain.catalogue.imports import Counts, Options, Report
from domain.catalogue.mappings import Mapping
from domain.catalogue.releases import Artwork, Audio, Credit, ReleaseDetails, ReleaseTrack
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

mapping = SaveMapping(
    mapping_id="mapping-1",
    workspace_id="w1",
    name="my-shop",
    mapping=Mapping(kind="royalties", columns={"isrc": ("Code",), "amount": ("Paid out", "Paid")}, currency="EUR"),
)

drafted = DraftRelease(
    release_id="release-1",
    workspace_id="w1",
    details=ReleaseDetails(
        title="Release Name",
        artist="Artist Name",
        tracks=(ReleaseTrack(isrc="USXXX1234567", credits=(Credit(name="A. Writer", role="Composer"),)),),
    ),
)
artwork = Artwork(
    object_key="releases/w1/release-1/artwork/ab", sha256="ab" * 32, size=100, format="png", width=3000, height=3000
)
audio = Audio(object_key="releases/w1/release-1/audio/cd", sha256="cd" * 32, size=100, format="wav", sample_rate=44_100)

EXAMPLES = (
    Example(mapping),
    Example(RemoveMapping(mapping_id="mapping-1", workspace_id="w1"), [mapping]),
    Example(drafted),
    Example(ChangeRelease(release_id="release-1", workspace_id="w1", changes=ReleaseChanges(genre="Pop")), [drafted]),
    Example(KeepReleaseArtwork(release_id="release-1", workspace_id="w1", artwork=artwork), [drafted]),
    Example(KeepReleaseAudio(release_id="release-1", workspace_id="w1", isrc="USXXX1234567", audio=audio), [drafted]),
    Example(RemoveRelease(release_id="release-1", workspace_id="w1"), [drafted]),
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
    Example(LinkTrack(track_id="track-1", workspace_id="w1", analysis_id="an-1"), [added]),
    Example(RemoveTrack(track_id="track-1", workspace_id="w1"), [added]),
)
