"""One ordinary example of every command of the catalogue."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from commands.catalogue.accounts import AddAccount, AssignProfile, RemoveAccount, RenameAccount
from commands.catalogue.browser_profiles import ImportBrowserProfile, RemoveBrowserProfile, UseBrowserProfile
from commands.catalogue.imports import AnswerImport, CompleteImport, PauseImport, RefuseImport, RequestImport
from commands.catalogue.mappings import RemoveMapping, SaveMapping
from commands.catalogue.releases import (
    AssignRelease,
    ChangeRelease,
    DraftRelease,
    KeepReleaseArtwork,
    KeepReleaseAudio,
    ReleaseChanges,
    RemoveRelease,
)
from commands.catalogue.tables import (
    AskPush,
    BeginPush,
    ConnectTables,
    DisconnectTables,
    EndPush,
    NoteUnreadRows,
    TellOfRows,
)
from commands.catalogue.titles import ResolveTitle
from commands.catalogue.tracks import AddTrack, Changes, ChangeTrack, LinkTrack, RemoveTrack
from commands.catalogue.uploads import AbandonUpload, CompleteUpload, ExpireUpload, ReportStep, StartUpload
from domain.catalogue.imports import Counts, Options, Report
from domain.catalogue.mappings import Mapping
from domain.catalogue.releases import Artwork, Audio, Credit, ReleaseDetails, ReleaseTrack
from domain.catalogue.tracks import Details
from domain.catalogue.uploads import StepStatus
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

account = AddAccount(account_id="account-1", workspace_id="w1", service="distrokid", name="Our label")
assigned = AssignProfile(account_id="account-1", workspace_id="w1", profile_id=1001)
DAY = timedelta(days=1)
upload = StartUpload(
    session_id="session-1",
    workspace_id="w1",
    release_id="release-1",
    account_id="account-1",
    steps=("sign_in", "submit"),
    timeout=DAY,
)
begun = [drafted, account, upload]


def step(name: str, status: StepStatus = "done", note: str = "") -> ReportStep:
    """A report of a step."""
    return ReportStep(session_id="session-1", workspace_id="w1", step=name, status=status, note=note, timeout=DAY)


connected = ConnectTables(
    workspace_id="w1", connection_id="c1", url="https://api.baserow.io", secret_id="s1", tracks_table=731,
    releases_table=732,
)  # fmt: skip
asked_for = AskPush(workspace_id="w1", push_id="push-1")
pushing = [connected, asked_for, BeginPush(workspace_id="w1", push_id="push-1")]

EXAMPLES = (
    Example(connected),
    Example(asked_for, [connected]),
    Example(BeginPush(workspace_id="w1", push_id="push-1"), [connected, asked_for]),
    Example(EndPush(workspace_id="w1", push_id="push-1", created=3), pushing),
    Example(
        TellOfRows(workspace_id="w1", connection_id="c1", delivery_id="d1", kind="tracks", rows=(1, 2)), [connected]
    ),
    Example(
        NoteUnreadRows(workspace_id="w1", connection_id="c1", kind="tracks", rows=(1, 2), push_id="push-1"),
        [connected],
    ),
    Example(DisconnectTables(workspace_id="w1"), [connected]),
    Example(account),
    Example(RenameAccount(account_id="account-1", workspace_id="w1", name="Another name"), [account]),
    Example(assigned, [profile, account]),
    Example(RemoveAccount(account_id="account-1", workspace_id="w1"), [account]),
    Example(AssignRelease(release_id="release-1", workspace_id="w1", account_id="account-1"), [drafted, account]),
    Example(upload, [drafted, account]),
    Example(step("sign_in", "failed", "A code was asked for."), begun),
    Example(
        CompleteUpload(session_id="session-1", workspace_id="w1", reference="https://distributor.example/1"),
        [*begun, step("sign_in"), step("submit")],
    ),
    Example(AbandonUpload(session_id="session-1", workspace_id="w1", reason="It is the wrong account."), begun),
    Example(ExpireUpload(session_id="session-1"), [drafted, account, replace(upload, timeout=timedelta())]),
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

#: What follows from a track where there are tables elsewhere, and from what they tell of one.
FURTHER = (
    Example(added, [connected]),
    Example(
        TellOfRows(workspace_id="w1", connection_id="c1", delivery_id="d1", kind="tracks", rows=(1,)),
        [added, connected],
    ),
)
