"""`ledgerline as-of`: a read of the API as it was then, for a workspace, answered by this process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import click

from infra.cli import command, data_dir
from infra.running import settings_for

if TYPE_CHECKING:
    from infra.settings import Settings


@command("as-of")
@click.argument("when", metavar="TIME|POSITION")
@click.argument("path", metavar="PATH")
@click.option("--workspace", "workspace_id", required=True, metavar="ID", help="Whose answer it is.")
@data_dir
def as_of(when: str, path: str, workspace_id: str, data_dir: Path | None) -> int:
    """Show what GET PATH of the API would have answered then, in the name of a workspace's owner.

    TIME is a moment such as 2026-03-01T12:00:00Z, PATH may have a query. What was forgotten since then is not shown,
    and what is not made of the log alone is refused. The exit status is 1 where the answer is no 2xx.
    """
    if not path.startswith("/"):
        raise click.UsageError("PATH is the path of a route, as in /v1/analyses.")
    status, body = asyncio.run(_answer(settings_for("as-of", data_dir=data_dir), when, path, workspace_id))
    click.echo(body.decode(errors="replace"), err=not 200 <= status < 300)
    return 0 if 200 <= status < 300 else 1


class _Owner:
    """Opens one workspace to this process alone: there is a key that nobody else could show."""

    def __init__(self, digest: str, workspace_id: str) -> None:
        from projections.identity.credentials import Access, Credential

        credential = Credential(
            kind="outside", subject_id="operator", workspace_id=workspace_id, person_id="operator", expires_at=None
        )
        self._digest = digest
        self._access = Access(digest=digest, credential=credential, role="owner", email="", verified=True)

    def known(self, digest: str) -> Any:
        """What the one key opens."""
        return self._access if digest == self._digest else None


async def _answer(settings: Settings, when: str, path: str, workspace_id: str) -> tuple[int, bytes]:
    from secrets import token_urlsafe

    from api.app import create_app
    from api.auth import Authentication
    from infra.container import container

    token = token_urlsafe()
    async with container(settings) as here:
        auth = await here.get(Authentication)
        owner: Any = _Owner(auth.vault.key_digest(token), workspace_id)
        ours = replace(auth, keyring=owner)

        async def build(kind: type[Any]) -> Any:
            return ours if kind is Authentication else await here.get(kind)

        asked = urlsplit(path)
        query = urlencode([*parse_qsl(asked.query, keep_blank_values=True), ("as_of", when)])
        app: Any = await create_app(build)
        return await _ask(app, asked.path, query, {"x-api-key": token, "host": "localhost"})


async def _ask(app: Any, path: str, query: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """The status and body of what an application answers to a GET."""
    status, body = 0, b""

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status, body
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            body += message.get("body", b"")

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 0),
    }
    await app(scope, receive, send)
    return status, body
