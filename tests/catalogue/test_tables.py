"""A workspace's own Baserow: pushed into by pages and batches, believed only after a look, and never in the way."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from adapters.catalogue.baserow import Baserow
from adapters.web.http import Outbound
from api.catalogue.workspace_tables import _told
from commands.catalogue import reactions
from commands.catalogue.edits import left, of_release, of_track, said_since, typed
from commands.catalogue.ports import Pushed, TablesFailed, TypedRow
from commands.catalogue.reactions import push_tables, read_tables
from commands.catalogue.releases import ChangeRelease
from commands.catalogue.tables import (
    AGAIN_MAX,
    AskPush,
    BeginPush,
    ConnectTables,
    DisconnectTables,
    EndPush,
    NoteUnreadRows,
    TellOfRows,
)
from commands.catalogue.tracks import AddTrack, ChangeTrack
from commands.kernel import Execute
from domain.catalogue.tables import (
    Kind,
    NoTables,
    Tables,
    TablesConnected,
    TablesDisconnected,
    TablesNotPushed,
    TablesPushAsked,
    TablesPushBegun,
    TablesPushed,
    TablesRowsChanged,
    TablesRowsNotRead,
    tables_of,
)
from domain.catalogue.tracks import Details, TrackAdded, TrackChanged
from tests.catalogue import examples as catalogue
from tests.catalogue.little_baserow import RELEASES, TOKEN, TRACKS, LittleBaserow, field, little_baserow
from tests.catalogue.test_contract import refused
from tests.identity.crowd import Visitor, join, sign_in
from tests.journeys.kit import Stack, eventually
from tests.scene import Notes, Scene
from tests.spec import CONTEXT, NOW, given

connected = TablesConnected(
    workspace_id="w1", connection_id="c1", url="https://b.example", secret_id="s1", tracks_table=1,
    releases_table=None, connected_at=NOW,
)  # fmt: skip
asked = TablesPushAsked(workspace_id="w1", connection_id="c1", push_id="p1", asked_at=NOW, due_at=NOW)
begun = TablesPushBegun(workspace_id="w1", push_id="p1", begun_at=NOW)
ask = AskPush(workspace_id="w1", push_id="p1")


# --- rules ------------------------------------------------------------------------------------------------------------


def test_what_waits_to_be_pushed_is_pushed_once() -> None:
    given().when(ask).then()
    given(connected).when(ask).then(asked)
    given(connected, asked).when(replace(ask, push_id="p2")).then()
    given(connected, asked, begun).when(replace(ask, push_id="p2")).then(replace(asked, push_id="p2"))


def test_a_push_begins_and_ends_once() -> None:
    end = EndPush(workspace_id="w1", push_id="p1", created=3)
    pushed = TablesPushed(workspace_id="w1", push_id="p1", created=3, updated=0, unchanged=0, pushed_at=NOW)
    failed = TablesNotPushed(workspace_id="w1", push_id="p1", reason="No.", failed_at=NOW)
    given(connected, asked).when(BeginPush(workspace_id="w1", push_id="p1")).then(begun)
    given(connected, asked, begun).when(BeginPush(workspace_id="w1", push_id="p1")).then()
    given(connected, asked, begun).when(end).then(pushed)
    given(connected, asked, begun, pushed).when(end).then()
    given(connected, asked, begun).when(replace(end, reason="No.")).then(failed)
    # Given up before it began, it keeps no other from being asked for.
    given(connected, asked).when(replace(end, reason="No.")).then(failed)
    given(connected, asked, failed).when(replace(ask, push_id="p2")).then(replace(asked, push_id="p2"))


def test_a_delivery_is_told_once_and_only_by_the_tables_that_are_connected() -> None:
    wish = TellOfRows(workspace_id="w1", connection_id="c1", delivery_id="d1", kind="tracks", rows=(7,))
    told = TablesRowsChanged(
        workspace_id="w1", connection_id="c1", delivery_id="d1", kind="tracks", rows=(7,), told_at=NOW
    )
    given(connected).when(wish).then(told)
    given(connected, told).when(wish).then()
    given(connected).when(replace(wish, connection_id="c2")).refused(NoTables)


def test_a_push_that_failed_by_what_may_pass_is_tried_again_and_later_each_time() -> None:
    end = EndPush(workspace_id="w1", push_id="p1", reason="No.", next_push_id="p2")
    failed = TablesNotPushed(workspace_id="w1", push_id="p1", reason="No.", failed_at=NOW)

    def again(**minutes: int) -> TablesPushAsked:
        return replace(asked, push_id="p2", due_at=NOW + timedelta(**minutes))

    given(connected, asked, begun).when(end).then(failed, again(minutes=5))
    given(connected, asked).when(end).then(failed, again(minutes=5))
    given(connected, failed, failed, asked, begun).when(end).then(failed, again(minutes=20))
    given(connected, *[failed] * 9, asked, begun).when(end).then(failed, again(hours=6))
    given(connected, *[failed] * AGAIN_MAX, asked, begun).when(end).then(failed)
    pushed = TablesPushed(workspace_id="w1", push_id="p1", created=0, updated=0, unchanged=0, pushed_at=NOW)
    given(connected, *[failed] * AGAIN_MAX, pushed, asked, begun).when(end).then(failed, again(minutes=5))
    # Another one waits already, which is this one.
    given(connected, asked, begun, replace(asked, push_id="p3")).when(end).then(failed)
    given(connected, asked, begun).when(replace(end, next_push_id="")).then(failed)


def test_rows_that_cannot_be_read_are_owed_until_a_push_that_began_later_has_come_to_its_end() -> None:
    note = NoteUnreadRows(workspace_id="w1", connection_id="c1", kind="tracks", rows=(7, 8, 7), push_id="p1")
    owed = TablesRowsNotRead(workspace_id="w1", connection_id="c1", kind="tracks", rows=(7, 8), failed_at=NOW)
    soon = replace(asked, due_at=NOW + timedelta(minutes=5))
    given(connected).when(note).then(owed, soon)
    given(connected, owed, soon).when(note).then()
    given(connected, owed, soon).when(replace(note, rows=(8, 9))).then(replace(owed, rows=(9,)))
    given(connected).when(replace(note, connection_id="c2")).then()
    rows = frozenset({("tracks", 7), ("tracks", 8)})

    def left(*events: Any) -> tuple[Any, Any]:
        found = tables_of.fold([connected, owed, soon, begun, *events])
        return found.reading, found.unread

    pushed = TablesPushed(workspace_id="w1", push_id="p1", created=0, updated=0, unchanged=0, pushed_at=NOW)
    late = replace(owed, rows=(9,))
    assert left() == (rows, frozenset())
    assert left(late, pushed) == (frozenset(), {("tracks", 9)})
    assert left(TablesNotPushed(workspace_id="w1", push_id="p1", reason="No.", failed_at=NOW)) == (frozenset(), rows)


def test_what_could_not_be_read_with_one_token_is_read_with_the_next() -> None:
    owed = TablesRowsNotRead(workspace_id="w1", connection_id="c1", kind="tracks", rows=(7,), failed_at=NOW)
    again = ConnectTables(
        workspace_id="w1", connection_id="c2", url="https://b.example", secret_id="s2", tracks_table=1,
        releases_table=None,
    )  # fmt: skip
    gone = TablesDisconnected(workspace_id="w1", connection_id="c1", secret_id="s1", disconnected_at=NOW)
    there = replace(connected, connection_id="c2", secret_id="s2")
    given(connected, owed).when(again).then(gone, there, replace(owed, connection_id="c2"))
    given(connected, owed).when(replace(again, tracks_table=2)).then(gone, replace(there, tracks_table=2))
    given(connected).when(again).then(gone, there)


def test_a_row_is_read_as_far_as_it_makes_sense() -> None:
    change = of_track(
        "w1", {"track_id": "t1", "title": " Day ", "artist": "", "upc": "", "album": 7, "label": "x" * 501}
    )
    assert isinstance(change, ChangeTrack)
    changes = change.changes
    assert (changes.title, changes.artist, changes.upc, changes.album, changes.label) == (
        "Day", UNSET, None, UNSET, UNSET
    )  # fmt: skip
    assert changes.release_date is UNSET
    new = of_track("w1", {"isrc": "qz-tab-26-00001", "title": "T", "artist": "A", "release_date": "2026-01-02"})
    assert isinstance(new, AddTrack)
    assert (new.isrc, new.details.release_date) == ("QZTAB2600001", date(2026, 1, 2))
    assert of_track("w1", {"isrc": "QZTAB2600001", "title": "", "artist": "A"}) is None
    assert of_track("w1", {"isrc": None, "title": ["T"], "artist": {"a": 1}, "release_date": 7}) is None
    assert of_release("w1", {"title": "Mine"}) is None
    assert isinstance(of_release("w1", {"release_id": "r1", "genre": "Pop"}), ChangeRelease)


def test_parts_of_one_event_are_deliveries_of_their_own() -> None:
    known = Tables(connection_id="c1", tracks_table=TRACKS)

    def told(**more: Any) -> Any:
        said = {"event_type": "rows.updated", "table_id": TRACKS, "event_id": "e1", "items": [{"id": 7}], **more}
        return _told(json.dumps(said).encode(), known)

    assert told() == ("tracks", "e1", (7,))
    assert told(batch_id=1) == ("tracks", "e1-1", (7,))
    assert told(batch_id=2)[1] != told(batch_id=1)[1]
    for odd in ("2", -1, 2**80, None, [1]):
        assert told(batch_id=odd) == ("tracks", "e1", (7,))


# --- Baserow ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def there() -> Iterator[tuple[str, LittleBaserow]]:
    """A Baserow."""
    with little_baserow() as found:
        yield found


class Catalogue:
    """What there is to push, and the token."""

    def __init__(self, tracks: list[dict[str, Any]]) -> None:
        self.documents = {"tracks": tracks}
        self.token: str | None = TOKEN

    async def page(self, projection: Any, workspace_id: str, *, limit: int, offset: int) -> list[Any]:
        """A page of documents."""
        part = self.documents[projection.name][offset : offset + limit]
        return [type("Listed", (), {"body": json.dumps(each).encode()}) for each in part]

    async def texts(self, *_: Any) -> dict[str, str]:
        """The token, where it is still there."""
        return {} if self.token is None else {"token": self.token}


def track(number: int, **changed: Any) -> dict[str, Any]:
    return {
        "track_id": f"t{number}", "isrc": f"QZTAB{number:07d}", "title": f"Song {number}", "artist": "Lumen",
        "release_date": "2026-03-01", "duration_ms": 187_000, "label": "L", "upc": None, **changed,
    }  # fmt: skip


@pytest.fixture
async def web() -> AsyncIterator[Outbound]:
    """The guarded way out, with leave to connect to this machine."""
    found = Outbound(allow=("127.0.0.1",))
    yield found
    await found.close()


def pusher(web: Outbound, catalogue: Any) -> Baserow:
    return Baserow(web, catalogue, catalogue)


def tables(url: str, **changed: Any) -> Tables:
    return replace(Tables(connection_id="c1", url=url, secret_id="s1", tracks_table=TRACKS), **changed)


async def test_many_rows_come_and_stay_by_pages_and_batches(there: tuple[str, LittleBaserow], web: Outbound) -> None:
    url, baserow = there
    mine = baserow.add(TRACKS, Title="Mine", Notes="not theirs")
    catalogue = Catalogue([track(number) for number in range(450)])
    push = pusher(web, catalogue)

    assert await push.push(tables(url), "w1") == Pushed(450, 0, 0)
    assert sorted(row["Ledgerline ID"] for row in baserow.shown(TRACKS)) == sorted(["", *(f"t{n}" for n in range(450))])
    first = baserow.rows[TRACKS][mine + 1]
    assert (first["Duration (ms)"], first["Release date"], first["Label"]) == ("187000", "2026-03-01", [])
    baserow.asked.clear()
    first["Notes"], first["Duration (ms)"] = "ours to keep", "187000.00"
    assert await push.push(tables(url), "w1") == Pushed(0, 0, 450)
    assert [method for method, _ in baserow.asked] == ["GET"] * 4, "fields, and three pages"
    catalogue.documents["tracks"][0] = track(0, title="Another")
    assert await push.push(tables(url), "w1") == Pushed(0, 1, 449)
    assert (first["Title"], first["Notes"]) == ("Another", "ours to keep")
    assert baserow.rows[TRACKS][mine] == {**baserow.rows[TRACKS][mine], "Title": "Mine", "Notes": "not theirs"}


async def test_a_row_that_is_deleted_there_comes_back_and_one_that_goes_meanwhile_too(
    there: tuple[str, LittleBaserow], web: Outbound
) -> None:
    url, baserow = there
    catalogue = Catalogue([track(1), track(2)])
    push = pusher(web, catalogue)
    await push.push(tables(url), "w1")
    del baserow.rows[TRACKS][1]
    assert await push.push(tables(url), "w1") == Pushed(1, 0, 1)
    catalogue.documents["tracks"] = [track(1, title="A"), track(2, title="B")]
    taken: list[int] = []

    def delete_one() -> None:
        if not taken:
            taken.append(min(baserow.rows[TRACKS]))
            del baserow.rows[TRACKS][taken[0]]

    baserow.meanwhile = delete_one
    assert await push.push(tables(url), "w1") == Pushed(1, 1, 0)
    assert sorted(row["Title"] for row in baserow.shown(TRACKS)) == ["A", "B"]


def said(*versions: dict[str, Any]) -> Any:
    """What the first track has said since it was pushed."""

    async def typed(kind: Kind, identity: str, row: Mapping[str, Any]) -> dict[str, Any]:
        return left(kind, row, [{**LATER, **each} for each in versions])

    return typed


LATER = {"title": "Song 1", "artist": "Lumen", "album": None, "label": "L", "upc": None, "release_date": "2026-03-01"}


async def test_what_was_typed_there_stays_and_is_told_and_only_what_changed_here_is_written(
    there: tuple[str, LittleBaserow], web: Outbound
) -> None:
    url, baserow = there
    catalogue = Catalogue([track(1)])
    push = pusher(web, catalogue)
    await push.push(tables(url), "w1")
    [row] = baserow.shown(TRACKS)
    row["Artist"], row["Release date"] = "Lumen & Co", "2026-04-01"
    catalogue.documents["tracks"] = [track(1, title="Another")]

    found = await push.push(tables(url), "w1", said({}, {"title": "Between"}, {"title": "Another"}))
    assert (row["Title"], row["Artist"], row["Release date"]) == ("Another", "Lumen & Co", "2026-04-01")
    theirs = {"track_id": "t1", "artist": "Lumen & Co", "release_date": "2026-04-01"}
    assert found == Pushed(0, 1, 0, (TypedRow("tracks", theirs),))
    # Of what was said otherwise on both sides what was said here stands; what is only behind is no wish.
    row["Title"] = "Theirs"
    found = await push.push(tables(url), "w1", said({}, {"title": "Another"}))
    assert (row["Title"], found.typed) == ("Another", (TypedRow("tracks", theirs),))
    row["Artist"], row["Release date"], row["Title"] = "Lumen", "2026-03-01", "Between"
    found = await push.push(tables(url), "w1", said({}, {"title": "Between"}, {"title": "Another"}))
    assert (row["Title"], found) == ("Another", Pushed(0, 1, 0))
    # What nothing could be made of, and what was never pushed, is as it is here.
    row["Artist"], row["Release date"] = "", None
    assert await push.push(tables(url), "w1", said({"title": "Another"})) == Pushed(0, 1, 0)
    row["Artist"] = "Never pushed"
    assert await push.push(tables(url), "w1", said()) == Pushed(0, 1, 0)
    assert (row["Artist"], row["Release date"]) == ("Lumen", "2026-03-01")


async def test_a_row_that_somebody_typed_becomes_that_of_its_track(
    there: tuple[str, LittleBaserow], web: Outbound
) -> None:
    url, baserow = there
    number = baserow.add(TRACKS, ISRC="qz-tab-00-00001", Title="Song 1", Artist="Lumen", Notes="mine")
    baserow.add(TRACKS, ISRC="nonsense", Title="Song 1")
    assert await pusher(web, Catalogue([track(1), track(2)])).push(tables(url), "w1") == Pushed(1, 1, 0)
    row = baserow.rows[TRACKS][number]
    assert (row["Ledgerline ID"], row["ISRC"], row["Notes"]) == ("t1", "QZTAB0000001", "mine")
    assert [each["Ledgerline ID"] for each in baserow.shown(TRACKS)] == ["t1", "", "t2"]


async def test_rows_that_could_not_be_read_when_they_were_told_are_taken_with_the_push(
    there: tuple[str, LittleBaserow], web: Outbound
) -> None:
    url, baserow = there
    new = baserow.add(TRACKS, ISRC="QZTAB0000009", Title="New", Artist="Lumen")
    baserow.add(TRACKS, ISRC="QZTAB0000010", Title="Mine", Artist="Lumen")
    known = baserow.add(TRACKS, ISRC="QZTAB0000001", Title="Song 1", Artist="Lumen")
    reading = frozenset({("tracks", new), ("tracks", known), ("tracks", 999), ("releases", new + 1)})
    found = await pusher(web, Catalogue([track(1)])).push(tables(url, reading=reading), "w1")
    [(kind, row)] = found.typed
    assert (kind, row["track_id"], row["isrc"], row["title"]) == ("tracks", "", "QZTAB0000009", "New")


def test_what_a_row_says_that_was_said_here_before_is_behind() -> None:
    at = [NOW + timedelta(minutes=10 * number) for number in range(4)]
    first = Details(title="A", artist="Lumen", upc="123456789012", release_date=date(2026, 3, 1))
    events = [
        TrackAdded(track_id="t1", workspace_id="w1", isrc="QZTAB2600001", details=first, added_at=at[0]),
        *(TrackChanged(track_id="t1", details=replace(first, title=title), changed_at=moment)
          for title, moment in zip("BCD", at[1:], strict=True)),
    ]  # fmt: skip
    assert [each["title"] for each in said_since(events, at[2] + timedelta(minutes=5))] == ["C", "D"]
    assert [each["title"] for each in said_since(events, at[3] + timedelta(minutes=5))] == ["D"]
    # Somebody else's clock may be behind by a moment.
    assert [each["title"] for each in said_since(events, at[2] + timedelta(seconds=30))] == ["B", "C", "D"]
    before = said_since(events, at[2] + timedelta(minutes=5))

    def told(**row: Any) -> dict[str, Any]:
        return typed("tracks", {"track_id": "t1", **row}, before)

    assert told(title="C", upc="123456789012", release_date="2026-03-01T00:00:00Z", artist=" Lumen ") == {}
    assert told(title="B", label="New", duration_ms="9") == {"title": "B", "label": "New"}
    assert told(title=" ", artist=None, album=["x"], label="\0", upc="", release_date="soon") == {"upc": ""}


async def test_what_is_added_while_it_is_pushed_is_no_row_twice(
    there: tuple[str, LittleBaserow], web: Outbound
) -> None:
    url, baserow = there

    class Growing(Catalogue):
        async def page(self, projection: Any, workspace_id: str, *, limit: int, offset: int) -> list[Any]:
            found = await super().page(projection, workspace_id, limit=limit, offset=offset)
            if offset == 0:
                self.documents["tracks"].insert(0, track(1000))  # newest first: all others move on
            return found

    growing = Growing([track(number) for number in range(150)])
    await pusher(web, growing).push(tables(url), "w1")
    ids = [row["Ledgerline ID"] for row in baserow.shown(TRACKS)]
    assert sorted(ids) == sorted(f"t{number}" for number in range(150))
    growing.documents["tracks"] = [track(number, title="Another") for number in range(150)]
    assert await pusher(web, growing).push(tables(url), "w1") == Pushed(0, 150, 0)


async def test_what_a_field_shows_otherwise_than_it_was_written_is_not_written_again(
    there: tuple[str, LittleBaserow], web: Outbound
) -> None:
    url, baserow = there
    fields = {each["name"]: each for each in baserow.fields[TRACKS]}
    fields["Release date"]["date_include_time"] = True
    fields["Duration (ms)"]["number_decimal_places"] = 2
    push = pusher(web, Catalogue([track(1), track(2, release_date=None, duration_ms=None)]))
    assert await push.push(tables(url), "w1") == Pushed(2, 0, 0)
    [first, _] = baserow.shown(TRACKS)
    assert (first["Release date"], first["Duration (ms)"]) == ("2026-03-01T00:00:00Z", "187000.00")
    assert await push.push(tables(url), "w1") == Pushed(0, 0, 2)


async def test_rows_that_were_made_though_the_answer_was_lost_are_not_made_again(
    there: tuple[str, LittleBaserow], web: Outbound
) -> None:
    url, baserow = there
    push = pusher(web, Catalogue([track(1), track(2)]))
    baserow.lost = [(502, b"<html>")]
    with pytest.raises(TablesFailed) as problem:
        await push.push(tables(url), "w1")
    assert not problem.value.final
    assert await push.push(tables(url), "w1") == Pushed(0, 0, 2)
    assert len(baserow.shown(TRACKS)) == 2


async def test_nobody_is_told_of_what_we_write_there(there: tuple[str, LittleBaserow], web: Outbound) -> None:
    """We would be, and take for a person's wish what was said here before another was."""
    url, baserow = there
    catalogue = Catalogue([track(1)])
    await pusher(web, catalogue).push(tables(url), "w1")
    catalogue.documents["tracks"] = [track(1, title="Another"), track(2)]
    assert await pusher(web, catalogue).push(tables(url), "w1") == Pushed(1, 1, 0)
    assert baserow.told == []


async def test_too_many_requests_are_waited_for(there: tuple[str, LittleBaserow], web: Outbound) -> None:
    url, baserow = there
    busy = (429, {"error": "ERROR_TOO_MANY_REQUESTS", "detail": "Slow down."}, {"Retry-After": "0"})
    baserow.first = [busy, (503, b"", {"Retry-After": "0"}), busy]
    assert await pusher(web, Catalogue([track(1)])).push(tables(url), "w1") == Pushed(1, 0, 0)
    baserow.first = [busy] * 6
    with pytest.raises(TablesFailed, match="no more requests") as problem:
        await pusher(web, Catalogue([track(1)])).push(tables(url), "w1")
    assert not problem.value.final


NEVER: list[tuple[int, Any, dict[str, str]]] = [
    (200, b"<html>", {}),
    (200, {"results": 7}, {}),
    (200, b"[" * 100_000, {}),
    (200, [{"name": 1}], {}),
]


@pytest.mark.parametrize(
    ("first", "words", "final"),
    [
        *(([each], "no Baserow", True) for each in NEVER),
        ([(401, {"error": "ERROR_TOKEN_DOES_NOT_EXIST", "detail": "x"}, {})], "TOKEN_DOES_NOT_EXIST", True),
        ([(404, {"error": "ERROR_TABLE_DOES_NOT_EXIST", "detail": "x"}, {})], "TABLE_DOES_NOT_EXIST", True),
        ([(302, b"", {"Location": "http://169.254.169.254/"})], "status 302", True),
        ([(500, b"oops", {})], "status 500", False),
        ([(200, [field("Title")], {})], "needs a text field", True),
        ([(200, [field("Ledgerline ID", "formula")], {})], "needs a text field", True),
        ([(200, b" " * 9_000_000, {})], "larger than", True),
    ],
)
async def test_what_cannot_be_pushed_says_why_and_whether_it_may_go_by_itself(
    there: tuple[str, LittleBaserow], web: Outbound, first: list[Any], words: str, final: bool
) -> None:
    url, baserow = there
    baserow.first = list(first)
    with pytest.raises(TablesFailed, match=words) as problem:
        await pusher(web, Catalogue([track(1)])).push(tables(url), "w1")
    assert problem.value.final is final
    assert baserow.rows[TRACKS] == {}


async def test_rows_without_numbers_endless_pages_and_lost_tokens_end(
    there: tuple[str, LittleBaserow], web: Outbound
) -> None:
    url, baserow = there
    baserow.first = [(200, baserow.fields[TRACKS], {}), (200, {"results": [{"id": "x"}], "next": None}, {})]
    with pytest.raises(TablesFailed, match="no Baserow"):
        await pusher(web, Catalogue([])).push(tables(url), "w1")
    page: tuple[int, Any, dict[str, str]] = (200, {"results": [], "next": "again"}, {})
    baserow.first = [(200, baserow.fields[TRACKS], {}), *[page] * 300]
    with pytest.raises(TablesFailed, match="more than 50000 rows"):
        await pusher(web, Catalogue([])).push(tables(url), "w1")
    lost = Catalogue([])
    lost.token = None
    with pytest.raises(TablesFailed, match="Connect the tables again"):
        await pusher(web, lost).push(tables(url), "w1")
    with pytest.raises(TablesFailed, match="cannot be used"):
        await pusher(Outbound(), Catalogue([])).push(tables(url), "w1")


async def test_rows_are_read_by_their_numbers_and_those_that_are_gone_are_left_out(
    there: tuple[str, LittleBaserow], web: Outbound
) -> None:
    url, baserow = there
    number = baserow.add(RELEASES, **{"Ledgerline ID": "r1", "Genre": "Pop"})
    push = pusher(web, Catalogue([]))
    [row] = await push.rows(tables(url, releases_table=RELEASES), "w1", "releases", [number, 999])
    assert (row["release_id"], row["genre"], row["artist"]) == ("r1", "Pop", None)
    assert await push.rows(tables(url), "w1", "releases", [number]) == []


# --- over HTTP --------------------------------------------------------------------------------------------------------


def hear(who: Visitor, hook: dict[str, str], event: str, rows: list[int], secret: str | None = None) -> httpx.Response:
    """What Baserow sends."""
    body = {
        "table_id": TRACKS, "database_id": 1, "workspace_id": 2, "webhook_id": 3, "event_id": f"e-{event}-{rows}",
        "event_type": event, "items": [{"id": each, "order": "1.00"} for each in rows],
    }  # fmt: skip
    headers = {hook["header"]: hook["secret"] if secret is None else secret, "X-Baserow-Event": event}
    return who.http.post(hook["path"], json=body, headers=headers)


def test_tables_are_filled_and_what_is_typed_there_comes_back(
    client: httpx.Client, stack: Stack, there: tuple[str, LittleBaserow]
) -> None:
    url, baserow = there
    owner = sign_in(client)
    owner.post("/api/v1/tracks", {"isrc": "QZTAB2600001", "title": "Song", "artist": "Lumen"})
    refused(owner.get("/api/v1/workspace-tables"), 404, "no_tables")
    wish = {"url": url, "token": TOKEN, "tracks_table": TRACKS}

    def connect(**changed: Any) -> httpx.Response:
        return owner.request("PUT", "/api/v1/workspace-tables", json={**wish, **changed})

    refused(connect(token="wrong"), 409, "tables_refused")
    refused(connect(tracks_table=9), 409, "tables_refused")
    refused(connect(tracks_table=None), 400, "bad_tables")
    refused(connect(releases_table=TRACKS), 400, "bad_tables")
    refused(connect(url="http://169.254.169.254/"), 400, "refused_url")
    refused(connect(token="a\nb"), 400)
    assert join(owner, "member").request("PUT", "/api/v1/workspace-tables", json=wish).status_code == 403
    answer = connect()
    assert answer.status_code == 200, answer.text
    hook = answer.json()["webhook"]
    assert TOKEN not in answer.text

    def pushed(created: int) -> dict[str, Any]:
        found: dict[str, Any] = owner.get("/api/v1/workspace-tables").json()["data"]
        assert (found["status"], found["created"]) == ("idle", created), found
        return found

    eventually(lambda: pushed(1), timeout=60)
    [row] = baserow.shown(TRACKS)
    assert row["ISRC"] == "QZTAB2600001"

    # Somebody corrects a title there, and writes down a recording that the catalogue has not.
    baserow.rows[TRACKS][1]["Title"] = "Song, corrected"
    new = baserow.add(TRACKS, ISRC="qz-tab-26-00002", Title="Other", Artist="Lumen")
    assert hear(owner, hook, "rows.updated", [1]).status_code == 200
    assert hear(owner, hook, "rows.created", [new]).status_code == 200
    eventually(
        lambda: owner.get("/api/v1/tracks/QZTAB2600001").json()["data"]["title"] == "Song, corrected", timeout=60
    )
    eventually(lambda: owner.get("/api/v1/tracks/QZTAB2600002").status_code == 200, timeout=60)
    # One column is said otherwise over the API, and another one there before that is pushed: both stand.
    changed = owner.http.patch("/api/v1/tracks/QZTAB2600001", json={"title": "Here"}, headers=owner.headers)
    assert changed.status_code == 200, changed.text
    baserow.rows[TRACKS][1]["Artist"] = "There"
    assert hear(owner, hook, "rows.updated", [1, 1]).status_code == 200
    track = eventually(
        lambda: (
            found if (found := owner.get("/api/v1/tracks/QZTAB2600001").json()["data"])["artist"] == "There" else {}
        ),
        timeout=60,
    )
    assert track is not None
    assert track["title"] == "Here"
    # What is deleted there stays here, and what is said without the secret is not heard.
    assert hear(owner, hook, "rows.deleted", [1]).status_code == 200
    refused(hear(owner, hook, "rows.updated", [1], secret="guess"), 404, "no_tables")
    refused(hear(sign_in(client), {**hook, "path": "/api/v1/workspace-tables/nobody/webhook"}, "x", [1]), 404)
    assert TOKEN not in stack.log
    keys = stack.objects(f"tables/{owner.workspace_id}/")
    assert TOKEN.encode() not in stack.read_object(keys[0])

    assert owner.delete("/api/v1/workspace-tables").status_code == 200
    refused(hear(owner, hook, "rows.updated", [1]), 404)
    refused(owner.post("/api/v1/workspace-tables/push"), 404, "no_tables")
    eventually(lambda: not stack.objects(f"tables/{owner.workspace_id}/"), timeout=60)


async def test_rows_that_cannot_be_read_are_looked_up_with_the_next_push_which_says_why_not() -> None:
    scene = Scene(now=NOW, context=CONTEXT)
    await scene.when(catalogue.connected)
    await scene.when(TellOfRows(workspace_id="w1", connection_id="c1", delivery_id="d1", kind="tracks", rows=(7,)))
    told = scene.last(TablesRowsChanged)
    assert read_tables.gives_up is not None
    ports: Any = SimpleNamespace(execute=Execute(scene.log, lambda: NOW))
    for _ in range(2):
        await read_tables.gives_up(told, ports, "503")
    pushes = [each.event for each in scene.log.all if isinstance(each.event, TablesPushAsked)]
    assert [each.due_at - NOW for each in pushes] == [timedelta(minutes=5)]


async def test_what_our_own_setting_kept_us_from_reading_is_read_when_it_is_back_and_the_log_names_it(
    there: tuple[str, LittleBaserow], web: Outbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactions, "log", notes := Notes())
    url, baserow = there
    scene = Scene(now=NOW, context=CONTEXT)
    await scene.when(replace(catalogue.connected, url=url, tracks_table=TRACKS, releases_table=None))
    new = baserow.add(TRACKS, ISRC="QZTAB2600009", Title="New", Artist="Lumen")
    await scene.when(TellOfRows(workspace_id="w1", connection_id="c1", delivery_id="d1", kind="tracks", rows=(new,)))

    def ports(way: Outbound) -> Any:
        there = pusher(way, Catalogue([]))
        return SimpleNamespace(execute=Execute(scene.log, lambda: NOW), log=scene.log, tables=there)

    closed = Outbound()
    await read_tables.handler(scene.last(TablesRowsChanged), ports(closed))
    await push_tables.handler(first := scene.last(TablesPushAsked), ports(closed))
    again = scene.last(TablesPushAsked)
    assert isinstance(first.event, TablesPushAsked)
    assert isinstance(again.event, TablesPushAsked)
    assert again.event.push_id != first.event.push_id
    assert [each["event"] for each in notes.lines] == ["tables.not_read", "tables.not_pushed"]
    assert {each["setting"] for each in notes.lines} == {"LEDGERLINE_OUTBOUND_ALLOW"}
    failed = scene.last(TablesNotPushed).event
    assert isinstance(failed, TablesNotPushed)
    assert "LEDGERLINE" not in failed.reason, "what tenants read names no settings"

    await push_tables.handler(again, ports(web))
    added = scene.last(TrackAdded).event
    assert isinstance(added, TrackAdded)
    assert (added.isrc, added.details.title) == ("QZTAB2600009", "New")
    assert scene.last(TablesPushed)


class GoneMeanwhile:
    """Tables that are disconnected while they answer."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    async def push(self, *_: object) -> Pushed:
        await self._scene.when(DisconnectTables(workspace_id="w1"))
        return Pushed(typed=(TypedRow("tracks", {"isrc": "QZTAB2600009", "title": "Typed", "artist": "Stranger"}),))

    async def rows(self, *_: object) -> list[Mapping[str, Any]]:
        return [dict(each.row) for each in (await self.push()).typed]


@pytest.mark.parametrize("answer", ["to a push", "of rows that were told of"])
async def test_what_tables_answer_that_are_connected_no_more_by_then_is_not_taken(answer: str) -> None:
    scene = Scene(now=NOW, context=CONTEXT)
    await scene.when(catalogue.connected)
    await scene.when(catalogue.asked_for)
    push = scene.last(TablesPushAsked)
    await scene.when(TellOfRows(workspace_id="w1", connection_id="c1", delivery_id="d1", kind="tracks", rows=(7,)))
    ports: Any = SimpleNamespace(execute=Execute(scene.log, lambda: NOW), log=scene.log, tables=GoneMeanwhile(scene))
    if answer == "to a push":
        await push_tables.handler(push, ports)
    else:
        await read_tables.handler(scene.last(TablesRowsChanged), ports)
    assert isinstance(scene.log.all[-1].event, TablesDisconnected)
