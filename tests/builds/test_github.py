"""The connection with GitHub against one that is played here, and builds asked for from elsewhere."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from domain.sections import Secret, Url
from tests.builds.test_over_http import BUILDS, MOMENT, refusal
from tests.identity.crowd import Visitor, sign_in
from tests.journeys.kit import Stack

CALLBACK = "/functions/v1/github-app-callback"
DISCOVER = "/functions/v1/plugin-repos/discover"


class Github:
    """As much of GitHub as the app asks: codes of people, what they may see, and tokens of installations."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        self.people = {"code-of-ada": 7, "code-of-eve": 8}
        self.repositories = [
            {
                "name": name,
                "full_name": f"ada/{name}",
                "description": "My awesome plugin",
                "html_url": f"https://github.com/ada/{name}",
                "topics": topics,
                "default_branch": "main",
                "private": True,
            }
            for name, topics in (("my-plugin", ["beatconnect-plugin"]), ("notes", []))
        ]
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def answer(self, status: int, body: Any) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
                if self.path == "/login/oauth/access_token":
                    known = sent["code"] in outer.people and sent["client_secret"] == "app-secret"
                    answer = {"access_token": sent["code"]} if known else {"error": "bad_verification_code"}
                    self.answer(200, answer)
                elif self.path == "/app/installations/7/access_tokens":
                    token = self.headers["Authorization"].removeprefix("Bearer ")
                    claims = jwt.decode(token, outer.key.public_key(), ["RS256"], issuer="Iv1.app")
                    assert claims["exp"] - claims["iat"] <= 660
                    self.answer(201, {"token": "installation-7"})
                else:
                    self.answer(404, {"message": "Not Found"})

            def do_GET(self) -> None:
                token = self.headers["Authorization"].removeprefix("Bearer ")
                if self.path.startswith("/user/installations"):
                    account = {"login": "ada", "type": "User"}
                    self.answer(200, {"installations": [{"id": outer.people[token], "account": account}]})
                elif self.path.startswith("/installation/repositories") and token == "installation-7":
                    self.answer(200, {"repositories": outer.repositories})
                else:
                    self.answer(401, {"message": "Bad credentials"})

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def pem(self) -> str:
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


@pytest.fixture(scope="module")
def door(stack: Stack) -> Iterator[httpx.Client]:
    """A process with an app at the GitHub that is played."""
    github = Github()
    changed: dict[str, Any] = {
        "github_app_id": "Iv1.app",
        "github_app_slug": "ledgerline",
        "github_client_secret": Secret("app-secret"),
        "github_private_key": Secret(github.pem.replace("\n", "\\n")),
        "github_url": Url(github.url),
        "github_api_url": Url(github.url),
    }
    with stack.door(**changed) as url, httpx.Client(base_url=url, timeout=30) as http:
        yield http
    github.server.shutdown()
    github.server.server_close()


@pytest.fixture
def developer(client: httpx.Client) -> Visitor:
    return sign_in(client)


def state_of(who: Visitor, door: httpx.Client) -> str:
    begun = door.post(f"{CALLBACK}/install", headers=who.headers)
    assert begun.status_code == 200, begun.text
    return str(parse_qs(urlsplit(begun.json()["install_url"]).query)["state"][0])


def test_github_is_connected_looked_through_and_disconnected(door: httpx.Client, developer: Visitor) -> None:
    nothing = {"connected": False, "account_login": None, "account_type": None, "connected_at": None}
    assert developer.get(f"{CALLBACK}/status").json() == nothing
    assert refusal(developer.get(DISCOVER)) == (403, "github_not_connected")
    state = state_of(developer, door)

    wrong_ones: tuple[dict[str, Any], ...] = (
        {"installation_id": 8, "state": state, "code": "code-of-ada"},
        {"installation_id": 7, "state": state, "code": "code-of-eve"},
        {"installation_id": 7, "state": state, "code": "made-up"},
        {"installation_id": 7, "state": state, "code": "../x"},
        {"installation_id": 7, "state": state[:-1] + ("1" if state.endswith("0") else "0"), "code": "code-of-ada"},
        {"installation_id": 7, "state": "x", "code": "code-of-ada"},
    )
    for wrong in wrong_ones:
        assert refusal(door.get(CALLBACK, params=wrong))[0] == 403, wrong
    assert developer.get(f"{CALLBACK}/status").json() == nothing

    right: dict[str, Any] = {"installation_id": 7, "state": state, "code": "code-of-ada", "setup_action": "install"}
    connected = door.get(CALLBACK, params=right)
    assert connected.status_code == 200
    status = developer.get(f"{CALLBACK}/status").json()
    assert MOMENT.fullmatch(status.pop("connected_at"))
    assert status == {"connected": True, "account_login": "ada", "account_type": "User"}
    found = door.get(DISCOVER, headers=developer.headers).json()
    assert found == {
        "repos": [
            {
                "name": "my-plugin",
                "full_name": "ada/my-plugin",
                "description": "My awesome plugin",
                "html_url": "https://github.com/ada/my-plugin",
                "topics": ["beatconnect-plugin"],
                "default_branch": "main",
            }
        ]
    }
    every = door.get(DISCOVER, params={"all": "true"}, headers=developer.headers).json()
    assert [each["name"] for each in every["repos"]] == ["my-plugin", "notes"]

    stranger = sign_in(developer.http)
    taken = {**right, "state": state_of(stranger, door)}
    assert refusal(door.get(CALLBACK, params=taken)) == (409, "conflict")
    for _ in range(2):
        gone = developer.request("DELETE", f"{CALLBACK}/disconnect")
        assert (gone.status_code, gone.json()) == (200, {"success": True, "message": "GitHub disconnected"})
    assert developer.get(f"{CALLBACK}/status").json() == nothing
    assert door.get(CALLBACK, params=taken).status_code == 200


def test_without_an_app_it_is_said_that_there_is_none(developer: Visitor) -> None:
    assert refusal(developer.post(f"{CALLBACK}/install")) == (503, "unavailable")


def test_other_systems_ask_for_builds_with_the_webhooks_secret(developer: Visitor) -> None:
    url = "http://127.0.0.1:9/hook"
    made = developer.post("/functions/v1/projects", {"name": "Told", "webhook_url": url}).json()
    place = f"/functions/v1/external-builds/{made['id']}/trigger"
    body = json.dumps({"ref": "refs/heads/main", "build_formats": ["clap"], "release_type": "minor"}).encode()
    secret = made["webhook_secret"]
    signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    http = developer.http

    for headers in ({"X-Webhook-Secret": secret}, {"X-Signature": signature}):
        answer = http.post(place, content=body, headers=headers)
        assert answer.status_code == 201, answer.text
        assert answer.json()["status"] == "queued"
        build = developer.get(f"{BUILDS}/{answer.json()['build_id']}").json()
        assert (build["trigger"], build["ref"], build["formats"]) == ("external", "main", ["clap"])
        status = f"/functions/v1/external-builds/{build['id']}/status"
        told = http.get(status, headers={"X-Webhook-Secret": secret}).json()
        assert told == {"build_id": build["id"], "status": build["status"]}
        assert refusal(http.get(status))[0] == 401
    wrong: list[dict[str, str]] = [{}, {"X-Webhook-Secret": "x"}, {"X-Webhook-Secret": ""}, {"X-Signature": "sha256=0"}]
    for headers in wrong:
        assert refusal(http.post(place, content=body, headers=headers)) == (401, "unauthorized")
    nowhere = f"/functions/v1/external-builds/{uuid4()}/trigger"
    assert refusal(http.post(nowhere, content=body, headers={"X-Webhook-Secret": secret}))[0] == 401
    for bad in (b"[]", b"{", b'{"ref": "--x"}', b'{"platforms": ["amiga"]}', b"\xff"):
        assert refusal(http.post(place, content=bad, headers={"X-Webhook-Secret": secret})) == (400, "bad_request")
