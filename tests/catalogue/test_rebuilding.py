"""The books made again from the originals: what was answered before is answered again, or what is missing is named."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.catalogue.importing import Importer
from adapters.catalogue.reading import Titles
from adapters.catalogue.rebuilding import Rebuilder, Remade
from adapters.postgres.settings import Postgres
from adapters.storage.settings import S3
from commands.catalogue.ports import Sent
from domain.catalogue.imports import Options
from infra.cli import main
from infra.container import container
from tests.catalogue.reports import table
from tests.catalogue.test_books import ROW
from tests.identity.crowd import Visitor, sign_in
from tests.journeys.kit import Stack, eventually, typed

ISRC, OTHER = "QZREB2600001", "QZREB2600002"


def bank(*rows: dict[str, str]) -> bytes:
    """A report of a seller."""
    return table("distrokid.bank.v1", *(ROW | {"ISRC": ISRC} | each for each in rows), delimiter="\t").encode()


def send(who: Visitor, content: bytes, **options: str) -> dict[str, Any]:
    """Import a report, and wait for what comes of it."""
    sent = who.post("/api/v1/imports", content=content, params=options, headers={"Content-Type": "text/csv"})
    assert sent.status_code == 202, sent.text
    path = f"/api/v1/imports/{sent.json()['data']['id']}"
    eventually(lambda: who.get(path).json()["data"]["outcome"], timeout=60)
    found: dict[str, Any] = who.get(path).json()["data"]
    return found


@pytest.fixture(scope="module")
def books(client: httpx.Client) -> Visitor:
    """A workspace in whose books much has happened, in an order that matters."""
    who = sign_in(client)
    who.post("/api/v1/tracks", {"isrc": ISRC, "title": "Song", "artist": "A"})
    plays = f"isrc,date,spotify_streams,apple_streams\n{ISRC},2026-03-01,10,0\n{ISRC},2026-03-02,20,\n"
    assert send(who, plays.encode())["outcome"] == "imported"
    # A day is corrected, one is wrong, and one is of a recording that is not in the catalogue.
    more = f"isrc,date,spotify_streams\n{ISRC},2026-03-01,11\n{ISRC},2026-13-01,1\n{OTHER},2026-03-02,7\n"
    send(who, more.encode())
    first = bank({}, {}, {"ISRC": "", "Title": "Unheard"}, {"Country of Sale": "DE", "Earnings (USD)": "0.0000001"})
    send(who, first)
    send(who, bank({}, {"Earnings (USD)": "2.25"}, {"ISRC": "", "Title": "Unheard"}))
    send(who, first)  # comes late, and undoes nothing
    # A title is said to be a recording, and another one is a track for as long as one report takes.
    [waiting] = who.get("/api/v1/unresolved").json()["data"]
    assert who.post(f"/api/v1/unresolved/{waiting['id']}/resolve", {"isrc": OTHER}).status_code == 200
    who.post("/api/v1/tracks", {"isrc": "QZREB2600003", "title": "Lonely", "artist": "A"})
    songs = b"song,listeners,streams,saves,release_date\nSong,1,2,3,2024-01-01\nUnheard,4,5,6,2024-01-01\n"
    songs += b"Lonely,7,8,9,2024-01-01\n"
    send(who, songs, artist="A", period_end="2026-03-31")
    who.delete("/api/v1/tracks/QZREB2600003")
    # What it says about buyers is not kept, so the original is another file than was sent.
    sold = "date,paid to,item type,item name,artist,currency,item price,quantity,discount code,sub total,"
    sold += "transaction fee,fee type,item total,amount you received,bandcamp transaction id,"
    sold += "paypal transaction id,net amount\n1/2/20 4:49am,A,track,Song,A,USD,1.00,1,,1.00,0.1,x,1.00,0.9,1,2,0.9\n"
    sold = sold.replace("net amount\n", "net amount,buyer email\n").replace(",0.9\n", ",0.9,sam@example.com\n")
    assert send(who, sold.encode())["outcome"] == "imported"
    return who


def answers(who: Visitor) -> dict[str, Any]:
    """What the books say, every way in which they can be asked."""
    paths = [
        "/api/v1/catalogue/overview",
        "/api/v1/catalogue/overview?date=2026-03-01",
        *(f"/api/v1/analytics/spotify/{each}" for each in (ISRC, OTHER)),
        *(f"/api/v1/royalties?by={each}" for each in ("month", "store", "country", "source", "statement", "isrc")),
        "/api/v1/unresolved",
        "/api/v1/imports",
    ]
    listed = who.get("/api/v1/imports").json()["data"]
    paths += [
        f"/api/v1/imports/{each['id']}/rows?kind={kind}"
        for each in listed
        for kind in ("rejected", "queued", "ignored")
    ]
    return {path: who.get(path).json() for path in paths}


async def _rebuilt(stack: Stack, who: Visitor, progress: Callable[[int, int], None]) -> list[Remade]:
    async with container(stack.settings) as here:
        return [each async for each in (await here.get(Rebuilder)).rebuild(who.workspace_id, progress=progress)]


def rebuild(stack: Stack, who: Visitor, progress: Callable[[int, int], None] = lambda *_: None) -> Remade:
    """The books of a workspace, made again."""
    [found] = asyncio.run(_rebuilt(stack, who, progress))
    return found


def wipe(stack: Stack, who: Visitor) -> None:
    """Delete every row of a workspace, and what it is known by."""
    asyncio.run(Importer(stack.settings[Postgres].postgres_url).forget(who.workspace_id))


def test_books_that_are_gone_are_made_again_and_answer_what_they_did(stack: Stack, books: Visitor) -> None:
    before = answers(books)
    assert before["/api/v1/royalties?by=month"]["data"]
    wipe(stack, books)
    assert answers(books) != before

    told: list[tuple[int, int]] = []
    made = rebuild(stack, books, lambda *each: told.append(each))
    assert made == Remade(workspace_id=books.workspace_id, imports=7)
    assert told == [(number, 7) for number in range(1, 8)]
    assert answers(books) == before


def test_nothing_is_kept_of_buyers(stack: Stack, books: Visitor) -> None:
    keys = stack.objects(f"imports/{books.workspace_id}/")
    assert len(keys) == 7
    assert not [key for key in keys if b"sam@example.com" in stack.read_object(key)]


def test_an_original_that_is_another_or_gone_is_named_and_nothing_is_changed(stack: Stack, books: Visitor) -> None:
    before = answers(books)
    *_, changed, gone = sorted(stack.objects(f"imports/{books.workspace_id}/"))
    kept = {key: stack.read_object(key) for key in (changed, gone)}

    def put(key: str, content: bytes) -> None:
        bucket = stack.settings[S3].s3_bucket
        stack._store().put_object(bucket, key, io.BytesIO(content), len(content))

    put(changed, kept[changed] + b"\n")
    stack.delete_object(gone)
    done = typed("rebuild-catalogue", "--workspace", books.workspace_id, "--json", settings=stack.settings)
    told = [json.loads(line) for line in done.stdout.splitlines()]

    assert done.returncode == 1
    assert {(each["kind"], each["import_id"]) for each in told[:-1]} == {
        ("original_differs", changed.rpartition("/")[2]),
        ("original_missing", gone.rpartition("/")[2]),
    }
    assert changed in next(each["message"] for each in told[:-1] if each["kind"] == "original_differs")
    assert len(told[-1]["problems"]) == 2
    assert answers(books) == before
    for key, content in kept.items():
        put(key, content)
    # Books that are there are made again just so.
    assert not rebuild(stack, books).problems
    assert answers(books) == before


def asked_anyway(stack: Stack, who: Visitor, capfd: pytest.CaptureFixture[str], *more: str) -> tuple[int, Any]:
    """`rebuild-catalogue` in this process: how it ended, and what it said last."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.settings.environment().items():
            patch.setenv(name, value)
        status = main(["rebuild-catalogue", "--workspace", who.workspace_id, "--json", *more])
    return status, json.loads(capfd.readouterr().out.splitlines()[-1])


def test_what_is_read_otherwise_by_this_version_is_taken_only_by_who_says_so(
    stack: Stack, books: Visitor, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before = answers(books)
    with monkeypatch.context() as version:
        # The next version knows nothing of titles.
        version.setattr(Titles, "find", lambda *_: (None, "title_unknown"))
        status, told = asked_anyway(stack, books, capfd)
        assert status == 1
        assert {each["kind"] for each in told["problems"]} == {"read_otherwise"}
        assert answers(books) == before
        status, told = asked_anyway(stack, books, capfd, "--anyway")
        assert (status, told["problems"]) == (0, [])
        titles = {each["title"] for each in answers(books)["/api/v1/unresolved"]["data"]}
        assert {"Song", "Lonely"} <= titles
    assert asked_anyway(stack, books, capfd, "--anyway")[0] == 0
    assert answers(books) == before


def test_what_is_being_imported_just_now_is_waited_for(stack: Stack, books: Visitor, tmp_path: Path) -> None:
    before = answers(books)
    (path := tmp_path / "plays.csv").write_text(f"isrc,date,spotify_streams\n{ISRC},2026-03-05,5\n")
    sent = Sent(import_id="just-now", workspace_id=books.workspace_id, filename="plays.csv", options=Options())
    # Its rows are there, and the event that says so is still to come.
    asyncio.run(Importer(stack.settings[Postgres].postgres_url).run(sent, path, date(2026, 3, 6)))

    [problem] = rebuild(stack, books).problems
    assert (problem.import_id, problem.kind) == ("just-now", "still_going_on")
    assert "Run this again after that." in problem.message
    assert answers(books) != before, "what it has merged stays"
    wipe(stack, books)
    assert not rebuild(stack, books).problems
    assert answers(books) == before
