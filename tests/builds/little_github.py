"""As much of GitHub as the service and its runners ask for, on this machine: people, installations, git over HTTP."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from domain.sections import Secret, Url
from tests.answering import Answering
from tests.builds.little_actions import LittleActions, Run

APP, SECRET = "Iv1.app", "It's a Secret to Everybody"
MINE = "/repos/ada/my-plugin"


class LittleGithub:
    """One app with the installation 7 of ada's account; `root` holds bare or plain repositories as `owner/name`."""

    def __init__(self, root: Path | None = None, port: int = 0, pem: str | None = None) -> None:
        self.key = rsa.generate_private_key(65537, 2048) if pem is None else _key_in(pem)
        self.people = {"code-of-ada": 7, "code-of-eve": 8}
        self.repositories = [_repository("my-plugin", ["beatconnect-plugin"]), _repository("notes", [])]
        #: What each token that was given out may read: every repository, or those that it was narrowed to.
        self.tokens: dict[str, list[str] | None] = {}
        self.permissions: dict[str, dict[str, str]] = {}
        self.root = root
        self.asked: list[tuple[str, str, Any]] = []
        outer = self

        class Handler(Answering, BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Transfer-Encoding") == "chunked":
                    body = _chunked(self.rfile)
                outer.answer(self, "POST", body)

            def do_GET(self) -> None:
                outer.answer(self, "GET", b"")

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.actions = LittleActions(self.url)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def host(self) -> str:
        """Where it is, without a scheme."""
        return f"127.0.0.1:{self.server.server_port}"

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{self.host}"

    def settings(self) -> dict[str, Any]:
        """What a service is told of its app here."""
        form = serialization.PrivateFormat.PKCS8
        pem = self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
        return {
            "github_app_id": APP,
            "github_app_slug": "ledgerline",
            "github_client_secret": Secret("app-secret"),
            "github_private_key": Secret(pem.replace("\n", "\\n")),
            "github_webhook_secret": Secret(SECRET),
            "github_url": Url(self.url),
            "github_api_url": Url(self.url),
        }

    def forget_runs(self) -> None:
        """As if nothing had ever been run here."""
        self.actions = LittleActions(self.url)

    def close(self) -> None:
        """Be gone."""
        self.server.shutdown()
        self.server.server_close()

    # -- what it is asked

    def answer(self, to: BaseHTTPRequestHandler, method: str, body: bytes) -> None:
        """Answer one request."""
        path, _, query = to.path.partition("?")
        if path.endswith(("/info/refs", "/git-upload-pack")):
            self._git(to, method, path, query, body)
            return
        if path.startswith("/store/"):
            assert "Authorization" not in to.headers, "a token goes to the store elsewhere"
            stored = self.actions.stored(path.removeprefix("/store/"))
            data, kind = stored or (b"", "text/plain")
            self._send(to, 404 if stored is None else 200, data, {"Content-Type": kind})
            return
        if refusal := _not_as_asked_for(to, path, body):
            self._send(to, refusal[0], json.dumps({"message": refusal[1]}).encode())
            return
        sent = json.loads(body or b"{}")
        self.asked.append((method, path, sent))
        token = to.headers.get("Authorization", "").removeprefix("Bearer ")
        if path.startswith(MINE):
            status, told, headers = self._of_repository(method, path.removeprefix(MINE), query, sent, token)
            self._send(to, status, b"" if told is None else json.dumps(told).encode(), headers)
            return
        status, told = self._told(method, path, sent, token)
        self._send(to, status, json.dumps(told).encode())

    def _of_repository(
        self, method: str, path: str, query: str, sent: Any, token: str
    ) -> tuple[int, Any, dict[str, str]]:
        if token not in self.tokens:
            return 401, {"message": "Bad credentials"}, {}
        if self.tokens[token] != ["my-plugin"]:
            return 404, {"message": "Not Found"}, {}
        has = self.permissions[token].get("actions" if "/actions/" in path else "contents")
        if path and (has is None or (method == "POST" and has != "write")):
            return 403, {"message": "Resource not accessible by integration"}, {}
        return self.actions.answer(method, path, query, sent)

    def _told(self, method: str, path: str, sent: Any, token: str) -> tuple[int, Any]:
        if path == "/login/oauth/access_token":
            known = sent["code"] in self.people and sent["client_secret"] == "app-secret"
            return 200, {"access_token": sent["code"]} if known else {"error": "bad_verification_code"}
        if path == "/app/installations/7/access_tokens":
            if refusal := self._no_app(token):
                return 401, {"message": refusal}
            only = sent.get("repositories")
            if only and not {*only} <= {each["name"] for each in self.repositories}:
                return 422, {"message": "There is at least one repository that does not exist or is not accessible"}
            if "actions" in (sent.get("permissions") or {}) and not self.actions.granted:
                return 422, {"message": "The permissions requested are not granted to this installation."}
            made = f"ghs_{uuid4().hex}"
            self.tokens[made] = only
            self.permissions[made] = sent.get("permissions") or {}
            return 201, {"token": made, "permissions": sent.get("permissions")}
        if path == "/user/installations" and token in self.people:
            return 200, {"installations": [{"id": self.people[token], "account": {"login": "ada", "type": "User"}}]}
        if path == "/installation/repositories" and token in self.tokens:
            return 200, {"repositories": self.repositories}
        return 401 if method == "GET" else 404, {"message": "Bad credentials"}

    def _no_app(self, token: str) -> str | None:
        """Why a token is not that of the app; ten minutes from now are the most that is taken."""
        try:
            claims = jwt.decode(
                token, self.key.public_key(), ["RS256"], issuer=APP, options={"require": ["exp", "iat"]}
            )
        except jwt.InvalidTokenError:
            return "A JSON web token could not be decoded"
        if claims["exp"] > time.time() + 600:
            return "'Expiration time' claim ('exp') is too far in the future"
        return None

    def _git(self, to: BaseHTTPRequestHandler, method: str, path: str, query: str, body: bytes) -> None:
        """Git's smart HTTP; every repository is private."""
        name = path.split("/")[2]
        given = to.headers.get("Authorization", "")
        user, _, token = base64.b64decode(given.removeprefix("Basic ") or b"").decode().partition(":")
        allowed = self.tokens.get(token, [])
        if user != "x-access-token" or (allowed is not None and name not in allowed):
            self._send(to, 401, b"", {"WWW-Authenticate": 'Basic realm="GitHub"'})
            return
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": method,
            "CONTENT_TYPE": to.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": to.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": to.headers.get("Git-Protocol", ""),
        }
        made = subprocess.run(["git", "http-backend"], input=body, env=env, check=True, capture_output=True).stdout
        head, _, answer = made.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self._send(to, int(headers.pop("Status", "200").split()[0]), answer, headers)

    def _send(
        self, to: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        to.send_response(status)
        for name, value in (headers or {}).items():
            to.send_header(name, value)
        to.send_header("Content-Length", str(len(body)))
        to.end_headers()
        to.wfile.write(body)


def _not_as_asked_for(to: BaseHTTPRequestHandler, path: str, body: bytes) -> tuple[int, str] | None:
    """What GitHub refuses of every request, whatever it asks for."""
    agent = to.headers.get("User-Agent", "")
    if not agent or agent.startswith("Python/"):
        # It takes any; that of a library is ours by accident.
        return 403, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header."
    if path.startswith("/login/"):
        return None
    if to.headers.get("X-GitHub-Api-Version") not in ("2022-11-28", "2026-03-10"):
        return 400, "Invalid API version."
    if to.headers.get("Accept") != "application/vnd.github+json":
        return 415, "Unsupported 'Accept' header."
    if body and not isinstance(json.loads(body), dict):
        return 400, "Body should be a JSON object"
    return None


def deliver(http: httpx.Client, event: str, payload: Any, **changed: str) -> httpx.Response:
    """Tell a service of something, as GitHub does."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": str(uuid4()),
        "X-Hub-Signature-256": signature,
    } | {name.replace("_", "-"): value for name, value in changed.items()}
    return http.post("/functions/v1/github-app-callback/webhook", content=body, headers=headers)


def push(ref: str = "refs/heads/main", after: str = "c" * 40, **changed: Any) -> dict[str, Any]:
    """A push to ada/my-plugin, as GitHub tells of it."""
    return {
        "ref": ref,
        "before": "b" * 40,
        "after": after,
        "created": False,
        "deleted": False,
        "forced": False,
        "commits": [{"id": after, "added": [], "removed": [], "modified": ["src/gain.cpp"]}],
        "head_commit": {"id": after},
        "repository": {"id": 1, "name": "my-plugin", "full_name": "ada/my-plugin", "pushed_at": 1_790_000_000},
        "pusher": {"name": "ada"},
        "installation": {"id": 7},
    } | changed


def ran(run: Run, action: str, **changed: Any) -> dict[str, Any]:
    """That something became of a run, as GitHub tells of it."""
    return {
        "action": action,
        "workflow_run": run.told(),
        "workflow": {"path": f".github/workflows/{run.workflow}"},
        "repository": {"id": 1, "name": "my-plugin", "full_name": "ada/my-plugin"},
        "installation": {"id": 7},
    } | changed


def _key_in(pem: str) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(pem.replace("\\n", "\n").encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def _repository(name: str, topics: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "full_name": f"ada/{name}",
        "description": "My awesome plugin",
        "html_url": f"https://github.com/ada/{name}",
        "topics": topics,
        "default_branch": "main",
        "private": True,
    }


def _chunked(stream: Any) -> bytes:
    body = b""
    while size := int(stream.readline().split(b";")[0], 16):
        body += stream.read(size)
        stream.readline()
    stream.readline()
    return body
