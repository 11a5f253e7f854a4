"""The catalogue's documented operations, field by field as the document shows them, with their headers and refusals."""

from __future__ import annotations

import re
import time
from datetime import date
from decimal import Decimal
from typing import Any

import httpx
import pytest

from adapters.catalogue.charts import PANELS_MAX, Bar, Line, draw_bars, draw_days
from tests.identity.crowd import Visitor, sign_in
from tests.journeys.kit import Stack

SONG = {
    "isrc": "USXXX1234567",
    "upc": "123456789012",
    "title": "Song Name",
    "artist": "Artist Name",
    "album": "Release Name",
    "release_date": "2024-01-01",
    "duration_ms": 187000,
    "cover_url": "https://cdn.musicengine.ai/covers/song-name.jpg",
    "spotify_track_url": "https://open.spotify.com/track/abc123",
    "label": "My Label",
    "copyright_c": "(C) My Label",
    "copyright_p": "(P) My Label",
}
IN_A_LIST = (
    "track_id", "isrc", "title", "artist", "album", "release_date", "cover_url", "spotify_track_url", "full_tracking",
    "created_at",
)  # fmt: skip
ALONE = (
    "track_id", "isrc", "upc", "title", "artist", "album", "release_date", "duration_ms", "cover_url",
    "spotify_track_url", "label", "copyright_c", "copyright_p", "full_tracking", "created_at", "metadata",
)  # fmt: skip
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MILLISECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(scope="module")
def label(client: httpx.Client) -> Visitor:
    """A label with one track."""
    who = sign_in(client)
    assert who.post("/api/v1/tracks", SONG).status_code == 201
    return who


def isrc(number: int) -> str:
    return f"QZABC{number:07d}"


def refused(answer: httpx.Response, status: int, code: str | None = None) -> None:
    """In the shape of this surface, and nothing else."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"success", "error", "code"}
    assert body["success"] is False
    assert re.search(r"\w", body["error"])
    assert re.fullmatch(r"[a-z_]+", body["code"])
    assert code in (None, body["code"])


def test_a_track_has_every_documented_field_and_no_other(label: Visitor) -> None:
    answer = label.get("/api/v1/tracks/USXXX1234567")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert tuple(answer.json()) == ("data",)
    track = answer.json()["data"]
    assert tuple(track) == ALONE
    assert {name: track[name] for name in SONG} == SONG
    assert track["full_tracking"] is True
    assert track["metadata"] == {}
    assert UUID.fullmatch(track["track_id"])
    assert MILLISECONDS.fullmatch(track["created_at"])


@pytest.mark.parametrize("written", ["usxxx1234567", "US-XXX-12-34567", "UsXxX1234567"])
def test_an_isrc_may_be_written_in_other_ways(label: Visitor, written: str) -> None:
    assert label.get(f"/api/v1/tracks/{written}").json()["data"]["isrc"] == "USXXX1234567"


def test_a_list_has_every_documented_field_and_pages(client: httpx.Client) -> None:
    who = sign_in(client)
    for number in range(3):
        assert who.post("/api/v1/tracks", SONG | {"isrc": isrc(number)}).status_code == 201

    whole = who.get("/api/v1/tracks")
    assert whole.status_code == 200
    body = whole.json()
    assert tuple(body) == ("data", "pagination")
    assert body["pagination"] == {"total": 3, "limit": 50, "offset": 0, "has_more": False}
    assert tuple(body["pagination"]) == ("total", "limit", "offset", "has_more")
    assert all(tuple(each) == IN_A_LIST for each in body["data"])
    assert [each["isrc"] for each in body["data"]] == [isrc(2), isrc(1), isrc(0)]

    page = who.get("/api/v1/tracks", params={"limit": 1, "offset": 1}).json()
    assert [each["isrc"] for each in page["data"]] == [isrc(1)]
    assert page["pagination"] == {"total": 3, "limit": 1, "offset": 1, "has_more": True}
    beyond = who.get("/api/v1/tracks", params={"offset": 3}).json()
    assert (beyond["data"], beyond["pagination"]["has_more"]) == ([], False)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "offset=-1", f"offset={2**63}"])
def test_limits_out_of_bounds_are_refused(label: Visitor, query: str) -> None:
    refused(label.get(f"/api/v1/tracks?{query}"), 400)


def test_refusals_have_this_surface_s_shape_and_statuses(label: Visitor, client: httpx.Client) -> None:
    refused(label.get("/api/v1/tracks/USXXX123456"), 400, "bad_isrc")
    refused(label.get("/api/v1/tracks/USXXX7654321"), 404, "no_such_track")
    refused(client.get("/api/v1/tracks"), 401, "unauthorized")
    refused(client.get("/api/v1/tracks", headers={"Authorization": "Bearer isrc_live_nothing"}), 401, "unauthorized")
    refused(label.get("/api/v1/nowhere"), 404)
    refused(label.post("/api/v1/tracks", SONG | {"title": "Another"}), 409, "track_is_there")
    refused(label.post("/api/v1/tracks", SONG | {"upc": "123456789013"}), 400, "bad_upc")
    refused(label.post("/api/v1/tracks", SONG | {"isrc": isrc(9), "title": "\0"}), 400)
    refused(label.post("/api/v1/tracks", SONG | {"isrc": isrc(9), "release_date": "2024-02-30"}), 400)
    refused(label.post("/api/v1/tracks", SONG | {"isrc": isrc(9), "cover_url": "file:///etc/passwd"}), 400)
    refused(label.post("/api/v1/tracks", content=b"{"), 400)
    key = label.key("usage:read")["plaintext_key"]
    refused(client.get("/api/v1/tracks", headers={"X-API-Key": key}), 403)


def test_another_workspace_has_a_catalogue_of_its_own(label: Visitor, client: httpx.Client) -> None:
    stranger = sign_in(client)

    refused(stranger.get("/api/v1/tracks/USXXX1234567"), 404, "no_such_track")
    refused(stranger.patch("/api/v1/tracks/USXXX1234567", {"title": "Mine"}), 404, "no_such_track")
    refused(stranger.delete("/api/v1/tracks/USXXX1234567"), 404, "no_such_track")
    assert stranger.get("/api/v1/tracks").json()["pagination"]["total"] == 0
    assert stranger.post("/api/v1/tracks", SONG | {"title": "Mine"}).json()["data"]["title"] == "Mine"
    assert label.get("/api/v1/tracks/USXXX1234567").json()["data"]["title"] == "Song Name"


def test_a_track_is_changed_and_removed(label: Visitor) -> None:
    path = f"/api/v1/tracks/{isrc(100)}"
    label.post("/api/v1/tracks", SONG | {"isrc": isrc(100)})

    changed = label.patch(path, {"title": "Now", "album": None, "metadata": {"mood": ["calm"]}})
    assert changed.status_code == 200
    assert changed.json() == label.get(path).json()
    track = changed.json()["data"]
    assert (track["title"], track["album"], track["metadata"]) == ("Now", None, {"mood": ["calm"]})
    assert track["artist"] == "Artist Name"
    refused(label.patch(path, {"isrc": isrc(101)}), 400)
    removed = label.delete(path)
    assert (removed.status_code, removed.json()) == (200, {"success": True})
    refused(label.get(path), 404, "no_such_track")


@pytest.fixture(scope="module")
def counted(stack: Stack) -> Any:
    """A door with the documented limits."""
    with stack.door(catalogue_reads_per_minute=300, catalogue_writes_per_minute=60) as url:
        yield url


def test_reads_and_writes_have_the_documented_limits_and_headers(counted: str, client: httpx.Client) -> None:
    key = {"X-API-Key": sign_in(client).key("catalogue:read", "catalogue:write")["plaintext_key"]}
    with httpx.Client(base_url=counted, headers=key, timeout=30) as http:
        read = http.get("/api/v1/tracks")
        assert (read.headers["x-ratelimit-limit"], read.headers["x-ratelimit-remaining"]) == ("300", "299")
        assert 0 <= int(read.headers["x-ratelimit-reset"]) - time.time() <= 61
        statuses = [http.delete(f"/api/v1/tracks/{isrc(1)}").status_code for _ in range(60)]
        assert statuses == [404] * 60
        late = http.delete(f"/api/v1/tracks/{isrc(1)}")
        refused(late, 429, "rate_limit_exceeded")
        assert 1 <= int(late.headers["retry-after"]) <= 60
        assert (late.headers["x-ratelimit-limit"], late.headers["x-ratelimit-remaining"]) == ("60", "0")
        assert http.get("/api/v1/tracks").headers["x-ratelimit-remaining"] == "298"


DOCUMENTED = {
    ("get", "/api/v1/tracks"): (
        "Results are filtered by the authenticated workspace user_id before query execution.",
        "The response intentionally exposes only published catalogue fields and pagination metadata.",
    ),
    ("get", "/api/v1/analytics/spotify/{isrc}"): (
        "The handler verifies the ISRC belongs to the authenticated workspace before reading analytics rows.",
        "days is validated to a bounded 1-365 window to avoid unbounded response generation.",
    ),
    ("post", "/api/v1/browser-profiles/import"): (
        "This endpoint is disabled unless cookie encryption is configured on the server.",
        "Payload validation enforces bounded cookie counts and sizes before any encrypted storage occurs.",
    ),
    ("get", "/api/v1/catalogue/overview"): (
        "All aggregate queries are parameterized with the authenticated workspace user_id.",
        "The route exposes a compact summary payload rather than raw internal table structures.",
    ),
    ("get", "/api/v1/tracks/{isrc}"): (
        "The route first authenticates the API key and then queries only the matching workspace row.",
        "ISRC matching is case-insensitive because the handler normalizes the path parameter to uppercase.",
    ),
}


@pytest.mark.parametrize("operation", DOCUMENTED, ids=" ".join)
def test_the_contract_has_the_security_notes_as_written(client: httpx.Client, operation: tuple[str, str]) -> None:
    method, path = operation
    described = client.get("/openapi.json").json()["paths"][path][method]

    assert tuple(described["x-security-notes"]) == DOCUMENTED[operation]
    assert {"201" if method == "post" else "200", "400", "401", "403", "429"} <= set(described["responses"])
    text = client.get("/docs/api.md").text
    assert all(note in text for note in DOCUMENTED[operation])


# --- plays ------------------------------------------------------------------------------------------------------------


def plays(who: Visitor, text: str, status: int = 200) -> Any:
    answer = who.post("/api/v1/analytics/import", content=text.encode(), headers={"Content-Type": "text/csv"})
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def played(client: httpx.Client) -> Visitor:
    """Somebody with three tracks of two artists, and plays of two days."""
    who = sign_in(client)
    for number, artist in ((1, "Main Artist"), (2, "Main Artist"), (3, "Other Artist")):
        track = {"isrc": isrc(number), "title": f"Song {number}", "artist": artist}
        assert who.post("/api/v1/tracks", track).status_code == 201
    plays(
        who,
        "isrc,date,spotify_streams,apple_streams\n"
        f"{isrc(1)},2024-03-19,14900,1185\n"
        f"{isrc(1)},2024-03-20,15420,1200\n"
        f"{isrc(2)},2024-03-20,100,\n"
        f"{isrc(3)},2024-03-20,,0\n"
        f"{isrc(9)},2024-03-20,999999,0\n",
    )
    return who


def test_daily_plays_have_every_documented_field_newest_first(played: Visitor) -> None:
    answer = played.get(f"/api/v1/analytics/spotify/{isrc(1).lower()}", params={"days": 7})

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "data": {
            "isrc": isrc(1),
            "historical_data": [
                {"date": "2024-03-20", "spotify_streams": 15420, "apple_streams": 1200},
                {"date": "2024-03-19", "spotify_streams": 14900, "apple_streams": 1185},
            ],
        }
    }
    [newest] = played.get(f"/api/v1/analytics/spotify/{isrc(1)}?days=1").json()["data"]["historical_data"]
    assert newest["date"] == "2024-03-20"


@pytest.mark.parametrize(("form", "begins"), [("png", b"\x89PNG\r\n"), ("svg", b"<?xml")])
def test_a_series_is_also_a_picture(played: Visitor, form: str, begins: bytes) -> None:
    for path in (f"/api/v1/analytics/spotify/{isrc(1)}", "/api/v1/royalties"):
        answer = played.get(path, params={"format": form})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("image/")
        assert answer.content.startswith(begins)
    refused(played.get(f"/api/v1/analytics/spotify/{isrc(1)}?format=gif"), 400)
    refused(played.get(f"/api/v1/analytics/spotify/{isrc(9)}?format={form}"), 404, "no_such_track")


def test_a_chart_is_drawn_of_whatever_names_and_numbers_there_are() -> None:
    day = date(2024, 2, 29)
    for days, values in (([], []), ([day], [None]), ([day], [10**15])):
        assert draw_days("$\\frac{ \u202e", days, [Line("Spotify", values)], "png").startswith(b"\x89PNG")
    many = {f"C{number:02}": [Bar("$x_", Decimal("-0.1"))] for number in range(40)}
    assert draw_bars("^_$", many, "svg").count(b'id="axes_') == PANELS_MAX


def test_what_no_file_has_said_is_null_and_nothing_is_zero_by_itself(played: Visitor) -> None:
    def days(number: int) -> Any:
        return played.get(f"/api/v1/analytics/spotify/{isrc(number)}").json()["data"]["historical_data"]

    assert days(2) == [{"date": "2024-03-20", "spotify_streams": 100, "apple_streams": None}]
    assert days(3) == [{"date": "2024-03-20", "spotify_streams": None, "apple_streams": 0}]


def test_days_out_of_bounds_and_unknown_recordings_are_refused(played: Visitor, client: httpx.Client) -> None:
    for days in ("0", "366", "x", "-1"):
        refused(played.get(f"/api/v1/analytics/spotify/{isrc(1)}?days={days}"), 400)
    refused(played.get("/api/v1/analytics/spotify/nonsense"), 400, "bad_isrc")
    # Its plays are in the books, but it is not in the catalogue.
    refused(played.get(f"/api/v1/analytics/spotify/{isrc(9)}"), 404, "no_such_track")
    refused(sign_in(client).get(f"/api/v1/analytics/spotify/{isrc(1)}"), 404, "no_such_track")
    refused(client.get(f"/api/v1/analytics/spotify/{isrc(1)}"), 401, "unauthorized")


def test_the_overview_has_every_documented_field(played: Visitor) -> None:
    answer = played.get("/api/v1/catalogue/overview")

    assert answer.status_code == 200
    assert answer.json() == {
        "success": True,
        "data": {
            "stats": {"total_inner_catalogue_tracks": 3, "has_stream_data": True, "days_tracked": 2},
            "best_tracks": [
                {"isrc": isrc(1), "title": "Song 1", "artist": "Main Artist", "streams": 16620},
                {"isrc": isrc(2), "title": "Song 2", "artist": "Main Artist", "streams": 100},
                {"isrc": isrc(3), "title": "Song 3", "artist": "Other Artist", "streams": 0},
            ],
            "best_artists": [
                {"artist": "Main Artist", "streams": 16720},
                {"artist": "Other Artist", "streams": 0},
            ],
        },
    }
    assert [list(part) for part in (answer.json(), answer.json()["data"])] == [
        ["success", "data"],
        ["stats", "best_tracks", "best_artists"],
    ]


def test_the_overview_of_another_day_of_no_day_and_of_nothing(played: Visitor, client: httpx.Client) -> None:
    def overview(who: Visitor, day: str) -> Any:
        return who.get(f"/api/v1/catalogue/overview?date={day}").json()["data"]

    assert overview(played, "2024-03-19")["best_artists"] == [{"artist": "Main Artist", "streams": 16085}]
    empty = overview(played, "2024-03-21")
    assert empty["stats"] == {"total_inner_catalogue_tracks": 3, "has_stream_data": False, "days_tracked": 2}
    assert (empty["best_tracks"], empty["best_artists"]) == ([], [])
    nobody = sign_in(client).get("/api/v1/catalogue/overview").json()["data"]
    assert nobody["stats"] == {"total_inner_catalogue_tracks": 0, "has_stream_data": False, "days_tracked": 0}
    for day in (
        "2024-02-30",
        "20240320",
        "yesterday",
        "2024-3-20",
        "\u0662\u0660\u0662\u0664-\u0660\u0663-\u0662\u0660",
    ):
        refused(played.get("/api/v1/catalogue/overview", params={"date": day}), 400)


def test_ties_are_broken_by_isrc_and_ten_are_enough(client: httpx.Client) -> None:
    who = sign_in(client)
    for number in range(12):
        who.post("/api/v1/tracks", {"isrc": isrc(number), "title": "Song", "artist": f"Artist {number:02}"})
    rows = "".join(f"{isrc(number)},2024-03-20,5,5\n" for number in reversed(range(12)))
    plays(who, f"isrc,date,spotify_streams,apple_streams\n{rows}")

    found = who.get("/api/v1/catalogue/overview").json()["data"]
    assert [each["isrc"] for each in found["best_tracks"]] == [isrc(number) for number in range(10)]
    assert [each["artist"] for each in found["best_artists"]] == [f"Artist {number:02}" for number in range(10)]


def test_plays_that_come_again_add_nothing_and_corrections_replace(client: httpx.Client) -> None:
    who = sign_in(client)
    who.post("/api/v1/tracks", {"isrc": isrc(1), "title": "Song", "artist": "Artist"})
    head = "isrc,date,spotify_streams,apple_streams\n"
    first = f"{head}{isrc(1)},2024-03-19,10,1\n{isrc(1)},2024-03-20,20,2\n"

    def counts(text: str) -> list[int]:
        found = plays(who, text)["data"]["counts"]
        return [found[name] for name in ("new", "changed", "unchanged")]

    assert counts(first) == [2, 0, 0]
    assert counts(first) == [0, 0, 2]
    assert counts(f"date,isrc,spotify_streams\n2024-03-20,{isrc(1)},25\n") == [0, 1, 0]
    assert who.get(f"/api/v1/analytics/spotify/{isrc(1)}").json()["data"]["historical_data"] == [
        {"date": "2024-03-20", "spotify_streams": 25, "apple_streams": 2},
        {"date": "2024-03-19", "spotify_streams": 10, "apple_streams": 1},
    ]


def test_plays_that_are_wrong_are_told_with_their_lines(client: httpx.Client) -> None:
    who = sign_in(client)
    found = plays(
        who,
        "isrc,date,spotify_streams,apple_streams,note\r\n"
        f"{isrc(1)},2024-03-19,10,1,\r\n"
        f"{isrc(1)},2024-03-19,11,1,again\r\n"
        "nonsense,2024-03-19,10,1,\r\n"
        f"{isrc(1)},2999-01-01,10,1,\r\n"
        f"{isrc(1)},2024-13-01,10,1,\r\n"
        f'{isrc(1)},2024-03-21,ten,"a\r\nb",\r\n'
        "isrc,date,spotify_streams,apple_streams,note\r\n"
        "\r\n"
        f"{isrc(1)},2024-03-22,-1,1,\r\n",
    )["data"]

    assert found["outcome"] == "imported"
    assert found["source"] == "own.daily"
    counts = found["counts"]
    assert {name: counts[name] for name in ("total", "accepted", "rejected", "queued", "ignored")} == {
        "total": 9,
        "accepted": 1,
        "rejected": 6,
        "queued": 0,
        "ignored": {"blank": 1, "repeated_header": 1},
    }
    assert found["warnings"] == ["unknown_columns"]
    assert found["unknown_columns"] == ["note"]
    assert found["unknown_isrcs"] == [isrc(1)]
    rows = who.get(f"/api/v1/imports/{found['id']}/rows").json()["data"]
    assert [(each["line"], each["reason"]) for each in rows] == [
        (3, "duplicate_date"),
        (4, "isrc_invalid"),
        (5, "date_in_future"),
        (6, "date_invalid"),
        (7, "quantity_invalid"),
        (11, "quantity_invalid"),
    ]
    assert rows[0]["cells"]["note"] == "again"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", None),
        (b"<!doctype html><html></html>", None),
        (b"a,b,c\n1,2,3\n", None),
        (b"\xff\xfe\x00\x00nonsense", None),
        (b"isrc,date,spotify_streams\nQZABC0000001,03/04/2024,5\n", None),
        (b"isrc,date,spotify_streams\nQZABC0000001,13/04/2024,5\nQZABC0000001,04/13/2024,5\n", None),
    ],
)
def test_files_that_are_no_plays_are_refused_with_a_sentence(
    client: httpx.Client, content: bytes, code: str | None
) -> None:
    refused(
        sign_in(client).post("/api/v1/analytics/import", content=content, headers={"Content-Type": "text/csv"}), 400
    )
