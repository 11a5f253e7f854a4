"""What of a catalogue belongs to somebody else."""

from __future__ import annotations

from tests.catalogue.test_releases import ISRC
from tests.catalogue.test_uploads import ready_release
from tests.identity.crowd import Visitor
from tests.journeys.kit import eventually
from tests.victims import Make

# A table elsewhere, with the secret that was shown when it was connected; it is looked up before it is believed.
PUBLIC = ("POST /api/v1/workspace-tables/{workspace_id}/webhook",)


def _track(them: Visitor) -> str:
    isrc = "ZZZZZ0000001"
    answer = them.post("/api/v1/tracks", {"isrc": isrc, "title": "Theirs", "artist": "They"})
    assert answer.status_code == 201, answer.text
    return isrc


def _title(them: Visitor) -> str:
    songs = b"song,listeners,streams,saves,release_date\nUnheard,1,2,3,2024-01-01\n"
    answer = them.post("/api/v1/imports?period_end=2024-02-01", content=songs, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 202, answer.text
    return eventually(lambda: str(them.get("/api/v1/unresolved").json()["data"][0]["id"]))


def _mapping(them: Visitor) -> str:
    body = {"kind": "plays", "columns": {"date": ["Day"], "spotify": ["Plays"]}}
    answer = them.http.put("/api/v1/import-mappings/theirs", json=body, headers=them.headers)
    assert answer.status_code == 200, answer.text
    return "theirs"


def _release(them: Visitor) -> str:
    answer = them.post("/api/v1/releases", {"title": "Theirs", "artist": "They"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["data"]["release_id"])


def _upload_session(them: Visitor) -> str:
    track = {"isrc": ISRC, "title": "Song Name", "artist": "Artist Name", "duration_ms": 187_000}
    assert them.post("/api/v1/tracks", track).status_code == 201
    answer = them.post("/api/v1/upload-sessions", {"release_id": ready_release(them), "account_id": _account(them)})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["data"]["session_id"])


def _account(them: Visitor) -> str:
    answer = them.post("/api/v1/distribution-accounts", {"service": "distrokid", "name": "Theirs"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["data"]["account_id"])


def _import(them: Visitor) -> str:
    answer = them.post("/api/v1/imports", content=b"nothing that is known", headers={"Content-Type": "text/csv"})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["data"]["id"])


THEIRS: dict[str, Make] = {
    "isrc": lambda them, _: _track(them),
    # Without a configured key nobody has one; tests of browser profiles have.
    "profile_id": lambda *_: "1001",
    "title_id": lambda them, _: _title(them),
    "name": lambda them, _: _mapping(them),
    "release_id": lambda them, _: _release(them),
    "account_id": lambda them, _: _account(them),
    "step": lambda *_: "sign_in",
    "import_id": lambda them, _: _import(them),
    "/api/v1/upload-sessions/{session_id}": lambda them, _: _upload_session(them),
}
BODIES = {
    "POST /api/v1/unresolved/{title_id}/resolve": {"isrc": "ZZZZZ0000001"},
    "PUT /api/v1/tracks/{isrc}/analysis": {"analysis_id": None},
    "PATCH /api/v1/distribution-accounts/{account_id}": {"name": "Mine"},
    "PUT /api/v1/distribution-accounts/{account_id}/profile": {"profile_id": None},
    "PUT /api/v1/releases/{release_id}/account": {"account_id": None},
    "PUT /api/v1/upload-sessions/{session_id}/steps/{step}": {"status": "done"},
}
_PARTIES = {
    "sender_id": "PADPIDA2007061301U", "sender_name": "S", "recipient_id": "PADPIDA2007061301U", "recipient_name": "R",
}  # fmt: skip
QUERIES = {f"GET /api/v1/releases/{{release_id}}/{what}": _PARTIES for what in ("ern", "package")}
MAKES_ONES_OWN = ("PUT /api/v1/import-mappings/{name}",)
