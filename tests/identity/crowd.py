"""People who sign in, and what they ask over HTTP."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

import httpx

#: What signing in looks like to a browser on our own pages.
Json = dict[str, Any]


def new_email() -> str:
    """An address that nobody has yet."""
    return f"someone-{secrets.token_hex(8)}@example.com"


def start(http: httpx.Client, email: str) -> Json:
    """Ask for a code."""
    answer = http.post("/v1/auth/email/start", json={"email": email})
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


@dataclass
class Visitor:
    """Somebody signed in, as their session shows them."""

    http: httpx.Client
    email: str
    user_id: str
    workspace_id: str
    token: str
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.headers = {"Authorization": f"Bearer {self.token}"}

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request in their name."""
        headers = {**self.headers, **(options.pop("headers", None) or {})}
        answer = self.http.request(method, path, headers=headers, **options)
        self.http.cookies.clear()
        return answer

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET in their name."""
        return self.request("GET", path, **options)

    def post(self, path: str, json: object = None, **options: Any) -> httpx.Response:
        """POST in their name."""
        return self.request("POST", path, json=json, **options)

    def patch(self, path: str, json: object, **options: Any) -> httpx.Response:
        """PATCH in their name."""
        return self.request("PATCH", path, json=json, **options)

    def delete(self, path: str, **options: Any) -> httpx.Response:
        """DELETE in their name."""
        return self.request("DELETE", path, **options)

    def key(self, *scopes: str, **more: Any) -> Json:
        """A new API key of the workspace."""
        answer = self.post("/v1/api-keys", {"name": "A key", "scopes": list(scopes) or ["usage:read"], **more})
        assert answer.status_code == 201, answer.text
        body: Json = answer.json()
        return body

    def inside(self, workspace_id: str) -> Visitor:
        """The same person, with a session in another workspace."""
        answer = self.post(f"/v1/account/workspaces/{workspace_id}/session")
        assert answer.status_code == 200, answer.text
        return Visitor(self.http, self.email, self.user_id, workspace_id, answer.json()["session_token"])


def sign_in(http: httpx.Client, email: str | None = None) -> Visitor:
    """Somebody with a code, new unless their address is known."""
    email = email or new_email()
    started = start(http, email)
    answer = http.post(
        "/v1/auth/email/verify", json={"challenge_id": started["challenge_id"], "code": started["dev_code"]}
    )
    http.cookies.clear()
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return Visitor(http, email, body["user_id"], body["workspace_id"], body["session_token"])


def join(owner: Visitor, role: str, email: str | None = None) -> Visitor:
    """Somebody new who belongs to the owner's workspace, with a session there."""
    email = email or new_email()
    answer = owner.post("/v1/account/team/invitations", {"email": email, "role": role})
    assert answer.status_code == 201, answer.text
    return sign_in(owner.http, email).inside(owner.workspace_id)
