"""Signing in with a mailed code, and out again."""

from __future__ import annotations

import concurrent.futures
from datetime import UTC, datetime

import httpx

from tests.identity.crowd import Visitor, join, new_email, sign_in, start
from tests.journeys.kit import Account, Stack, eventually

SESSION = "/v1/auth/session"


def verify(http: httpx.Client, challenge_id: str, code: str) -> httpx.Response:
    answer = http.post("/v1/auth/email/verify", json={"challenge_id": challenge_id, "code": code})
    http.cookies.clear()
    return answer


def test_somebody_new_signs_in_and_gets_a_workspace_of_their_own(client: httpx.Client) -> None:
    email = new_email()
    started = start(client, email)
    assert set(started) == {"challenge_id", "dev_code", "expires_at"}

    answer = verify(client, started["challenge_id"], started["dev_code"])
    body = answer.json()
    assert (answer.status_code, body["email"]) == (200, email)
    assert set(body) == {"email", "expires_at", "user_id", "workspace_id", "session_token"}

    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"ledgerline_session={body['session_token']};")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie

    me = client.get(SESSION, headers={"Authorization": f"Bearer {body['session_token']}"})
    assert me.json() == {
        "email": email,
        "expires_at": body["expires_at"],
        "user_id": body["user_id"],
        "workspace_id": body["workspace_id"],
        "workspace_role": "owner",
    }
