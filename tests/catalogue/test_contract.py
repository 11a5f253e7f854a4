"""The catalogue's documented operations, field by field as the document shows them, with their headers and refusals."""

from __future__ import annotations

import re
import time
from typing import Any

import httpx
import pytest

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
    assert {"200", "400", "401", "403", "429"} <= set(described["responses"])
    text = client.get("/docs/api.md").text
    assert all(note in text for note in DOCUMENTED[operation])
