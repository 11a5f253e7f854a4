"""What follows when a file has been sent: it is read into the books, in a queue of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import structlog

from commands.catalogue import edits, titles
from commands.catalogue.browser_profiles import RemoveBrowserProfile
from commands.catalogue.imports import CompleteImport, PauseImport, RefuseImport
from commands.catalogue.ports import Paused, Ports, Refused, Sent, TablesFailed
from commands.catalogue.tables import AskPush, BeginPush, EndPush, NoteUnreadRows
from commands.catalogue.uploads import ExpireUpload
from commands.kernel import Queue, derived_id, reacts_to
from commands.sweeping import delete_below, once_more
from domain.catalogue import releases
from domain.catalogue.browser_profiles import BrowserProfileRemoved, browser_profiles
from domain.catalogue.imports import ImportAnswered, ImportRequested, Reason, imports, object_key, objects_of
from domain.catalogue.releases import ReleaseChanged, ReleaseDrafted, ReleaseRemoved
from domain.catalogue.tables import (
    Kind,
    Tables,
    TablesConnected,
    TablesDisconnected,
    TablesPushAsked,
    TablesRowsChanged,
    secret_key,
    secrets_of,
    tables_of,
)
from domain.catalogue.titles import TitleResolved
from domain.catalogue.tracks import TrackAdded, TrackChanged, tracks
from domain.catalogue.uploads import UploadSessionStarted, UploadStepReported
from domain.identity.workspaces import WorkspaceForgotten, WorkspaceReclaimed, is_forgotten, workspaces
from domain.kernel import ERASED, NotFound, Refusal, Unavailable
from domain.ledger import Recorded

log = structlog.get_logger(__name__)

IMPORTS = Queue("imports", concurrency=4, timeout=1800.0, attempts=4, apart=True)


TABLES = Queue("tables", concurrency=8, timeout=900.0, attempts=6)
#: Whoever changes one thing changes the next one soon.
SETTLES_IN = timedelta(seconds=10)


async def _broken(recorded: Recorded, ports: Ports, problem: str) -> None:
    assert isinstance(recorded.event, ImportRequested | ImportAnswered)
    log.error("import.broken", import_id=recorded.event.import_id, problem=problem)
    await _refuse(recorded, ports, "broken", "Reading the file failed again and again.")


async def _refuse(recorded: Recorded, ports: Ports, reason: Reason, detail: str) -> None:
    """Write down why nothing is read, and keep nothing of what is refused; where this dies in between, it is swept."""
    assert isinstance(recorded.event, ImportRequested | ImportAnswered)
    import_id = recorded.event.import_id
    refused = RefuseImport(import_id=import_id, reason=reason, detail=detail)
    await ports.execute(refused, recorded.context())
    found = await ports.log.state(imports, import_id)
    if found.standing == "refused":
        await ports.blobs.delete(object_key(found.workspace_id, import_id))


# What a file says replaces what was known, so the files of a workspace are read in the order in which they were sent:
# what was sent last counts, also when what was sent before has to be tried again.
@reacts_to(
    ImportRequested,
    ImportAnswered,
    name="read-import",
    queue=IMPORTS,
    gives_up=_broken,
    one_at_a_time="workspace",
)
async def read_import(recorded: Recorded, ports: Ports) -> None:
    """Read a file that was sent into the books, and write down what came of it, unless that has been done already."""
    assert isinstance(recorded.event, ImportRequested | ImportAnswered)
    import_id, context = recorded.event.import_id, recorded.context()
    history = (await ports.log.read(imports.stream(import_id))).events
    found = imports.fold(history)
    sent = next((each for each in history if isinstance(each, ImportRequested)), None)
    if sent is None or found.standing != "waiting" or sent.object_key == "":
        return
    if await _is_forgotten(sent.workspace_id, ports):
        return
    file = Sent(
        import_id=import_id,
        workspace_id=sent.workspace_id,
        filename="file" if sent.filename == ERASED else sent.filename,
        options=found.options,
    )
    try:
        async with ports.blobs.fetch(sent.object_key) as path:
            report = await ports.importing.run(file, path, _latest(ports))
    except NotFound:
        await _refuse(recorded, ports, "broken", "The file is not in the store any more.")
    except Paused as asks:
        paused = PauseImport(import_id=import_id, source=asks.source, question=asks.question, detail=asks.detail)
        await ports.execute(paused, context)
    except Refused as refusal:
        await _refuse(recorded, ports, refusal.reason, refusal.detail)
    else:
        await ports.execute(CompleteImport(import_id=import_id, report=report), context)
        if await _is_forgotten(sent.workspace_id, ports):
            await ports.importing.forget(sent.workspace_id)


def _latest(ports: Ports) -> date:
    """The last day that any place on earth has reached."""
    return (ports.now() + timedelta(hours=14)).date()


async def _is_forgotten(workspace_id: str, ports: Ports) -> bool:
    return is_forgotten((await ports.log.read(workspaces.stream(workspace_id))).events)


@reacts_to(WorkspaceForgotten, name="forget-catalogue")
async def forget_catalogue(recorded: Recorded, ports: Ports) -> None:
    """Delete the books of a forgotten workspace and the originals that they were made from."""
    assert isinstance(recorded.event, WorkspaceForgotten)
    workspace_id = recorded.event.workspace_id
    await delete_below(ports.blobs, objects_of(workspace_id))
    await delete_below(ports.blobs, releases.objects_of_releases(workspace_id))
    await delete_below(ports.blobs, secrets_of(workspace_id))
    await ports.importing.forget(workspace_id)
    await ports.cookies.forget(workspace_id)


forget_late_catalogue = once_more(forget_catalogue, "forget-late-catalogue")


@reacts_to(UploadSessionStarted, UploadStepReported, name="expire-upload", due=lambda event: event.expires_at)
async def expire_upload(recorded: Recorded, ports: Ports) -> None:
    """End a session of which nothing more was heard."""
    assert isinstance(recorded.event, UploadSessionStarted | UploadStepReported)
    await ports.execute(ExpireUpload(session_id=recorded.event.session_id), recorded.context())


@reacts_to(ReleaseRemoved, name="delete-release-files")
async def delete_release_files(recorded: Recorded, ports: Ports) -> None:
    """Delete the artwork and the audio of a release that was removed."""
    assert isinstance(recorded.event, ReleaseRemoved)
    await delete_below(ports.blobs, releases.objects_of(recorded.event.workspace_id, recorded.event.release_id))


@reacts_to(WorkspaceReclaimed, name="forget-browser-profiles")
async def forget_browser_profiles(recorded: Recorded, ports: Ports) -> None:
    """Whoever held the workspace before its address was proved leaves no session behind for its owner to use.

    Those of the owner stay, who may be quicker than this, and cookies whose profile is not written down yet: where it
    never is, they are swept.
    """
    assert isinstance(recorded.event, WorkspaceReclaimed)
    workspace_id = recorded.event.workspace_id
    workspace = await ports.log.state(workspaces, workspace_id)
    for profile_id in await ports.cookies.of(workspace_id):
        profile = await ports.log.state(browser_profiles, str(profile_id))
        if profile.workspace_id != workspace_id or profile.tenancy == workspace.tenancy:
            continue
        if not profile.removed:
            wish = RemoveBrowserProfile(profile_id=profile_id, workspace_id=workspace_id)
            await ports.execute(wish, recorded.context())
        await ports.cookies.forget(workspace_id, profile_id)


@reacts_to(BrowserProfileRemoved, name="forget-cookies")
async def forget_cookies(recorded: Recorded, ports: Ports) -> None:
    """Whoever removed a profile has seen its cookies gone already, unless their process died on the way."""
    assert isinstance(recorded.event, BrowserProfileRemoved)
    await ports.cookies.forget(recorded.workspace_id, recorded.event.profile_id)


@reacts_to(TitleResolved, name="resolve-title")
async def resolve_title(recorded: Recorded, ports: Ports) -> None:
    """Whoever said what a title is has seen it done already, unless their process died on the way."""
    event = recorded.event
    assert isinstance(event, TitleResolved)
    await titles.put_title(event.title_id, event.workspace_id, ports)


# --- tables elsewhere -------------------------------------------------------------------------------------------------


@reacts_to(TrackAdded, TrackChanged, ReleaseDrafted, ReleaseChanged, name="ask-push", queue=TABLES)
async def ask_push(recorded: Recorded, ports: Ports) -> None:
    """What has changed is pushed into the workspace's tables, together with what changes in the same moment."""
    push_id = derived_id("push", str(recorded.event_id))
    wish = AskPush(workspace_id=recorded.workspace_id, push_id=push_id, delay=SETTLES_IN)
    await ports.execute(wish, recorded.context())


@reacts_to(TablesConnected, name="push-at-first", queue=TABLES)
async def push_at_first(recorded: Recorded, ports: Ports) -> None:
    """Tables that have just been connected are filled at once."""
    push_id = derived_id("push", str(recorded.event_id))
    await ports.execute(AskPush(workspace_id=recorded.workspace_id, push_id=push_id), recorded.context())


async def _not_pushed(recorded: Recorded, ports: Ports, problem: str, *, again: bool = True) -> None:
    event = recorded.event
    assert isinstance(event, TablesPushAsked)
    wish = EndPush(
        workspace_id=event.workspace_id,
        push_id=event.push_id,
        reason=problem or "It failed, and again.",
        next_push_id=derived_id("push again", event.push_id) if again else "",
    )
    await ports.execute(wish, recorded.context())


def _say(name: str, recorded: Recorded, problem: str, setting: str | None = None) -> None:
    """Tell the operator, and by which setting it is us who do not connect: only they can change that."""
    named = {} if setting is None else {"setting": setting}
    log.info(name, workspace_id=recorded.workspace_id, problem=problem, **named)


@reacts_to(TablesPushAsked, name="push-tables", due=lambda event: event.due_at, queue=TABLES, gives_up=_not_pushed)
async def push_tables(recorded: Recorded, ports: Ports) -> None:
    """Bring a workspace's tables to what the catalogue has; a stream's jobs come one after the other."""
    event = recorded.event
    assert isinstance(event, TablesPushAsked)
    tables = await ports.log.state(tables_of, event.workspace_id)
    if event.push_id not in (tables.waiting, tables.running):
        return
    await ports.execute(BeginPush(workspace_id=event.workspace_id, push_id=event.push_id), recorded.context())
    tables = await ports.log.state(tables_of, event.workspace_id)

    async def typed(kind: Kind, identity: str, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return edits.left(kind, row, await _said(ports, tables, kind, identity))

    try:
        pushed = await ports.tables.push(tables, event.workspace_id, typed)
    except TablesFailed as problem:
        if not problem.final and problem.setting is None:
            raise
        _say("tables.not_pushed", recorded, str(problem), problem.setting)
        await _not_pushed(recorded, ports, str(problem), again=not problem.final)
    else:
        if await _are_connected(tables, event.workspace_id, ports):
            for kind, row in pushed.typed:
                await _take(recorded, ports, kind, row)
        wish = EndPush(
            workspace_id=event.workspace_id,
            push_id=event.push_id,
            created=pushed.created,
            updated=pushed.updated,
            unchanged=pushed.unchanged,
        )
        await ports.execute(wish, recorded.context())


async def _are_connected(tables: Tables, workspace_id: str, ports: Ports) -> bool:
    """Whether tables still are the workspace's that were when they were asked: they may have taken their time."""
    return (await ports.log.state(tables_of, workspace_id)).connection_id == tables.connection_id


async def _said(ports: Ports, tables: Tables, kind: Kind, identity: str) -> Sequence[Mapping[str, Any]]:
    """What a thing has said since it was last pushed into these tables; nothing where it never was."""
    if tables.pushed_since is None:
        return ()
    category = releases.releases if kind == "releases" else tracks
    return edits.said_since((await ports.log.read(category.stream(identity))).events, tables.pushed_since)


async def _take(recorded: Recorded, ports: Ports, kind: Kind, row: Mapping[str, Any]) -> None:
    """Say of the catalogue's thing what its row says."""
    wish = (edits.of_release if kind == "releases" else edits.of_track)(recorded.workspace_id, row)
    if wish is None:
        return
    try:
        await ports.execute(wish, recorded.context())
    except Unavailable:
        raise
    except Refusal as refusal:
        # What people type into a table may be wrong; it stays there, and the catalogue as it is.
        log.info("tables.row_refused", workspace_id=recorded.workspace_id, code=refusal.code)


async def _not_read(recorded: Recorded, ports: Ports, problem: str, setting: str | None = None) -> None:
    """The rows are read when everything is pushed again, and when that fails, its end says why."""
    event = recorded.event
    assert isinstance(event, TablesRowsChanged)
    _say("tables.not_read", recorded, problem, setting)
    wish = NoteUnreadRows(
        workspace_id=event.workspace_id,
        connection_id=event.connection_id,
        kind=event.kind,
        rows=event.rows,
        push_id=derived_id("push", str(recorded.event_id)),
    )
    await ports.execute(wish, recorded.context())


@reacts_to(TablesRowsChanged, name="read-tables", queue=TABLES, gives_up=_not_read)
async def read_tables(recorded: Recorded, ports: Ports) -> None:
    """Rows that were told of are looked up there, and what they say is said of the catalogue's things."""
    event = recorded.event
    assert isinstance(event, TablesRowsChanged)
    tables = await ports.log.state(tables_of, event.workspace_id)
    if tables.connection_id != event.connection_id:
        return
    try:
        rows = await ports.tables.rows(tables, event.workspace_id, event.kind, event.rows)
    except TablesFailed as problem:
        if not problem.final and problem.setting is None:
            raise
        await _not_read(recorded, ports, str(problem), problem.setting)
        return
    if not await _are_connected(tables, event.workspace_id, ports):
        return
    for row in rows:
        # What a row says that was said here before is behind, and not what anybody has typed.
        known = edits.identity(event.kind, row)
        before = await _said(ports, tables, event.kind, known) if known else ()
        told = {edits.ID_OF[event.kind]: known, **edits.typed(event.kind, row, before)} if before else row
        await _take(recorded, ports, event.kind, told)


@reacts_to(TablesDisconnected, name="drop-tables-token")
async def drop_tables_token(recorded: Recorded, ports: Ports) -> None:
    """Delete the sealed token of tables that nothing is pushed into any more."""
    event = recorded.event
    assert isinstance(event, TablesDisconnected)
    await ports.blobs.delete(secret_key(event.workspace_id, event.secret_id))
