"""Whoever loses the right to ask while their body is on its way is refused when it has come."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import pytest

from tests.identity.crowd import Visitor, new_email, sign_in

URL_JOB = json.dumps({"url": "https://example.com/a.wav"}).encode()
WAVE = b"RIFF\x26\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x44\xac\0\0\x88\x58\x01\0\x02\0\x10\0data\x02\0\0\0\0\0"
UPLOAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + WAVE + b"\r\n--b--\r\n"
JSON, FORM = "application/json", "multipart/form-data; boundary=b"


@dataclass
class Held:
    """A request that was let in and whose body is still to come."""

    connection: socket.socket
    body: bytes

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
def held(client: httpx.Client, path: str, token: str, body: bytes, kind: str = JSON) -> Iterator[Held]:
    """The headers of a request; its reader asks for the body only after whoever asks was let in."""
    place = urlsplit(str(client.base_url))
    with socket.create_connection((place.hostname or "", place.port or 80), timeout=30) as connection:
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {token}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert _head(connection).startswith(b"HTTP/1.1 100")
        yield Held(connection, body)


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
