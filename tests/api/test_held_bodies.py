"""Whoever loses the right to ask while their body is on its way is refused when it has come."""

from __future__ import annotations

import json
import re
import select
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from api.app import routes
from api.auth import LATE_SECONDS, Asker, inside
from domain.ledger import Authority
from domain.scopes import scopes
from tests.identity.crowd import Visitor, join, new_email, sign_in
from tests.journeys.kit import Stack

URL_JOB = json.dumps({"url": "https://example.com/a.wav"}).encode()
WAVE = b"RIFF\x26\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x44\xac\0\0\x88\x58\x01\0\x02\0\x10\0data\x02\0\0\0\0\0"
UPLOAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + WAVE + b"\r\n--b--\r\n"
JSON, FORM = "application/json", "multipart/form-data; boundary=b"


@dataclass
class Held:
    """A request that was let in and whose body is still to come."""

    connection: socket.socket
    body: bytes
    let_in: float

    def late(self) -> int:
        """The status, once the body has come so late that whoever sent it is looked at again."""
        while time.monotonic() - self.let_in <= LATE_SECONDS:
            time.sleep(0.005)
        return self.answer()

    def answer(self) -> int:
        """The status, once the body has come."""
        self.connection.sendall(self.body)
        return int(_head(self.connection).split()[1])


def _head(connection: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        data = connection.recv(4096)
        assert data, head
        head += data
    return head


@contextmanager
def held(
    client: httpx.Client, path: str, token: str | None, body: bytes, kind: str = JSON, method: str = "POST"
) -> Iterator[Held]:
    """The headers of a request; its reader asks for the body only after whoever asks was let in."""
    shown = "" if token is None else f"Authorization: Bearer {token}\r\n"
    place = urlsplit(str(client.base_url))
    with socket.create_connection((place.hostname or "", place.port or 80), timeout=30) as connection:
        connection.sendall(
            f"{method} {path} HTTP/1.1\r\nHost: {place.netloc}\r\n{shown}"
            f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        head = _head(connection)
        assert head.startswith(b"HTTP/1.1 100"), (method, path, head)
        yield Held(connection, body, time.monotonic())


def new_key(owner: Visitor) -> dict[str, str]:
    made: dict[str, str] = owner.post(
        "/v1/api-keys", {"name": "held", "scopes": ["analyses:create", "webhooks:manage"]}
    ).json()
    return made


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [("/v1/analyze/url", URL_JOB, JSON), ("/v1/analyze/upload", UPLOAD, FORM)],
    ids=["an address", "an upload"],
)
def test_a_key_that_was_revoked_meanwhile_makes_nothing(
    client: httpx.Client, path: str, body: bytes, kind: str
) -> None:
    owner = sign_in(client)
    key = new_key(owner)
    with held(client, path, key["plaintext_key"], body, kind) as waiting:
        assert owner.delete(f"/v1/api-keys/{key['id']}").status_code == 200
        assert waiting.answer() == 401
    assert owner.get("/v1/analyses").json() == []


def test_a_key_that_still_works_is_not_refused_for_what_others_did_meanwhile(client: httpx.Client) -> None:
    owner = sign_in(client)
    with held(client, "/v1/analyze/url", new_key(owner)["plaintext_key"], URL_JOB) as waiting:
        renamed = owner.patch(f"/v1/account/workspaces/{owner.workspace_id}", {"workspace_name": "Garage"})
        assert renamed.status_code == 200
        assert waiting.answer() == 202


def test_whoever_signed_out_meanwhile_opens_no_workspace(client: httpx.Client) -> None:
    owner = sign_in(client)
    body = json.dumps({"workspace_name": "Late"}).encode()
    with held(client, "/v1/account/workspaces", owner.token, body) as waiting:
        assert owner.post("/v1/auth/logout").status_code == 200
        assert waiting.answer() == 401


def test_the_key_of_a_forgotten_workspace_makes_nothing(client: httpx.Client) -> None:
    owner = sign_in(client)
    with held(client, "/v1/analyze/url", new_key(owner)["plaintext_key"], URL_JOB) as waiting:
        assert owner.delete(f"/v1/account/workspaces/{owner.workspace_id}").status_code == 200
        assert waiting.answer() == 401


def test_a_stranger_s_key_makes_nothing_once_the_owner_has_proved_the_address(client: httpx.Client) -> None:
    email = new_email()
    squatter = client.post("/v1/auth/register", json={"email": email}).json()
    with held(client, "/v1/analyze/url", squatter["api_key"], URL_JOB) as waiting:
        owner = sign_in(client, email)
        assert owner.workspace_id == squatter["workspace_id"]
        assert waiting.answer() == 401


def test_what_somebody_asks_is_written_only_while_their_right_holds() -> None:
    async def renew() -> Authority:
        raise NotImplementedError

    right = Authority(relies_on=(("session-1", 7),), renew=renew)
    me = Asker(workspace_id="w", person_id="p", actor="person:p", scopes=(), correlation_id=uuid4(), authority=right)
    assert me.context.authority is right
    assert inside(me.context, "another", "p").authority is right


# --- every route with a body, every way to lose the right ------------------------------------------------------------

AUDIO = "https://example.com/a.wav"

#: A body that would do, where one without fields would not. `{...}` in paths is filled in by the scene.
BODIES: dict[str, Any] = {
    "POST /v1/account/analyses": {"source_url": AUDIO},
    "POST /v1/analyses": {"source_url": AUDIO},
    "POST /v1/analyze/url": {"url": AUDIO},
    "POST /v1/analyze/upload": UPLOAD,
    "POST /v1/analyze/batch": {"items": [{"url": AUDIO}]},
    "POST /v1/batch": {"items": [{"url": AUDIO}]},
    "POST /v1/api-keys": {"name": "Late", "scopes": ["usage:read"]},
    "POST /v1/account/team/invitations": {"email": "late@example.com"},
    "POST /v1/account/team/invitations/{invitation_id}/accept": {"token": "bzi_x"},
    "PATCH /v1/account/team/members/{user_id}": {"role": "viewer"},
    "POST /v1/account/workspaces": {"workspace_name": "Late"},
    "PATCH /v1/account/workspaces/{workspace_id}": {"workspace_name": "Late"},
    "POST /v1/storage-objects": {"purpose": "upload", "content_type": "audio/wav"},
    "POST /v1/webhook-deliveries/replay": {"since": "2026-01-01T00:00:00Z"},
    "POST /v1/webhook-endpoints": {"url": "https://example.com/late"},
    "PATCH /v1/webhook-endpoints/{endpoint_id}": {"description": "late"},
    "POST /api/beats/{beat_id}/upload": UPLOAD,
    "PUT /api/v1/tracks/{isrc}/analysis": {"analysis_id": None},
    "POST /api/v1/tracks/from-beat": {"beat_id": "nothing", "isrc": "ZZZZZ0000001", "artist": "They"},
    "POST /api/v1/releases": {"title": "Late", "artist": "They"},
    "PUT /api/v1/import-mappings/{name}": {"kind": "plays", "columns": {"date": ["Day"], "spotify": ["Plays"]}},
}


def with_a_body() -> dict[str, Any]:
    """What each protected route needs that takes a body."""
    return {
        f"{method} {re.sub(r':[a-z]+}', '}', path)}": handler.opt["needs"]
        for handler in routes()
        for path in handler.paths
        for method in handler.http_methods
        if "needs" in handler.opt and ("data" in handler.fn.__annotations__ or "request_body" in handler.opt)
    }


class Scene:
    """A workspace, one of its admins, and what their requests are about."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.owner = sign_in(client)
        self.admin = join(self.owner, "admin")
        self.things = defaultdict(lambda: "nothing") | {
            "api_key_id": self.owner.key()["id"],
            "user_id": self.owner.user_id,
            "workspace_id": self.owner.workspace_id,
            "beat_id": self.owner.post(
                "/api/generate/beat", {"categoryName": "LoFi – Melodic/Calm", "mode": "metadata_only"}
            ).json()["beat"]["id"],
            "project_id": self.owner.post("/functions/v1/projects", {"name": "Reverb"}).json()["id"],
            "isrc": "ZZZZZ0000001",
            "release_id": self.owner.post(
                "/api/v1/releases", {"title": "Late", "artist": "They", "tracks": [{"isrc": "ZZZZZ0000001"}]}
            ).json()["data"]["release_id"],
            "endpoint_id": self.owner.post("/v1/webhook-endpoints", {"url": "https://example.com/a"}).json()["id"],
        }

    def hold(self, everything: ExitStack, route: str, token: str) -> Held:
        method, path = route.format_map(self.things).split()
        body = BODIES.get(route, {})
        kind = FORM if isinstance(body, bytes) else JSON
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return everything.enter_context(held(self.client, path, token, data, kind, method))

    def head(self, who: Visitor | None = None) -> list[str]:
        """Everything that has happened in the workspace."""
        return [each["action"] for each in (who or self.owner).get("/v1/audit-events?limit=100").json()]


def _removed(scene: Scene) -> None:
    assert scene.owner.delete(f"/v1/account/team/members/{scene.admin.user_id}").status_code == 200


def _lowered(scene: Scene) -> None:
    path = f"/v1/account/team/members/{scene.admin.user_id}"
    assert scene.owner.patch(path, {"role": "viewer"}).status_code == 200


def _signed_out(scene: Scene) -> None:
    assert scene.admin.post("/v1/auth/logout").status_code == 200


def _erased(scene: Scene) -> None:
    assert scene.owner.delete(f"/v1/account/workspaces/{scene.owner.workspace_id}").status_code == 200


@pytest.mark.parametrize(
    ("loss", "status"),
    [(_removed, 401), (_signed_out, 401), (_erased, 401), (_lowered, 403)],
    ids=["removed", "signed out", "erased", "lowered"],
)
def test_whatever_a_person_asks_they_are_refused_who_lost_the_right_meanwhile(
    client: httpx.Client, stack: Stack, loss: Callable[[Scene], None], status: int
) -> None:
    scene = Scene(client)
    # Of those who are still there, as viewers, only what takes more is refused.
    asked = [each for each, needed in with_a_body().items() if loss is not _lowered or needed.role != "viewer"]
    with ExitStack() as everything:
        waiting = {each: scene.hold(everything, each, scene.admin.token) for each in asked}
        loss(scene)
        before = None if loss is _erased else scene.head()
        assert {each: held.late() for each, held in waiting.items()} == dict.fromkeys(asked, status)
    assert before is None or scene.head() == before
    assert not stack.objects(f"uploads/{scene.owner.workspace_id}/")


@pytest.mark.parametrize("loss", ["revoked", "erased"])
def test_whatever_a_key_asks_it_is_refused_that_lost_the_right_meanwhile(
    client: httpx.Client, stack: Stack, loss: str
) -> None:
    scene = Scene(client)
    key = scene.owner.key(*scopes())
    asked = [each for each, needed in with_a_body().items() if needed.scope is not None]
    with ExitStack() as everything:
        waiting = {each: scene.hold(everything, each, key["plaintext_key"]) for each in asked}
        if loss == "revoked":
            assert scene.owner.delete(f"/v1/api-keys/{key['id']}").status_code == 200
        else:
            _erased(scene)
        before = None if loss == "erased" else scene.head()
        assert {each: held.late() for each, held in waiting.items()} == dict.fromkeys(asked, 401)
    assert before is None or scene.head() == before
    assert not stack.objects(f"uploads/{scene.owner.workspace_id}/")


def test_whoever_waits_for_events_hears_none_once_they_may_not(client: httpx.Client) -> None:
    owner = sign_in(client)
    key = owner.key("events:read")
    token = {"X-API-Key": key["plaintext_key"]}
    after = client.get("/v1/events?limit=1000", headers=token).json()["next"]
    place = urlsplit(str(client.base_url))
    with socket.create_connection((place.hostname or "", place.port or 80), timeout=30) as waiting:
        waiting.sendall(
            f"GET /v1/events?after={after}&wait=15 HTTP/1.1\r\nHost: {place.netloc}\r\n"
            f"X-API-Key: {key['plaintext_key']}\r\n\r\n".encode()
        )
        assert not select.select([waiting], [], [], 0.3)[0], "it waits, because nothing has happened"
        assert owner.delete(f"/v1/api-keys/{key['id']}").status_code == 200
        assert _head(waiting).startswith(b"HTTP/1.1 401")
