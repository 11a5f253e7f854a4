"""The clients of the studio, as an archive of our own: Python, TypeScript, and activation for plug-ins in C++."""

from __future__ import annotations

import asyncio
import hashlib
import io
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from litestar import Request, get
from litestar.di import NamedDependency
from msgspec import Struct

from api.auth import Asker, needs
from api.repositories.ports import Ports
from domain.kernel import NotFound
from domain.repositories.connections import connections

READ = needs("builds:write", "viewer")
VERSION = "1.0.0"
CLIENTS = Path(__file__).resolve().parents[1] / "clients"
#: What clients are told of where the service is, and who has to be told otherwise.
HERE, SAYING = b"http://127.0.0.1:8000", (".py", ".ts", ".js")
LINK_SECONDS = 3600
KINDS = (".py", ".typed", ".toml", ".ts", ".js", ".json", ".map", ".hpp", ".cpp", ".txt", ".md")


class SdkStatus(Struct):
    """Whether there is an SDK, and what else it needs."""

    available: bool
    version: str
    documentation_url: str
    distribution_type: str
    github_connected: bool


class SdkDownload(Struct):
    """Where the archive is, for an hour."""

    url: str
    version: str


@get("/functions/v1/sdk/status", tags=["studio"], opt=READ)
async def get_sdk_status(ports: NamedDependency[Ports], asker: NamedDependency[Asker]) -> SdkStatus:
    """Check SDK availability."""
    connection = await ports.log.state(connections, asker.workspace_id)
    return SdkStatus(
        available=True,
        version=VERSION,
        documentation_url=f"{ports.service.url}/docs",
        distribution_type="public",
        github_connected=connection.installation_id is not None,
    )


@get("/functions/v1/sdk/download", tags=["studio"], opt=READ)
async def download_sdk(
    request: Request[Any, Any, Any], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> SdkDownload:
    """Get a link to the SDK, a zip file whose clients know where this service is."""
    data = await asyncio.to_thread(archive, ports.service.url)
    key = f"sdk/beatconnect-sdk-{VERSION}-{hashlib.sha256(data).hexdigest()[:16]}.zip"
    try:
        await ports.blobs.stat(key)
    except NotFound:
        await ports.blobs.put_bytes(key, data, content_type="application/zip")
    url = await ports.links.to_read(request, asker, key, LINK_SECONDS, content_type="application/zip")
    return SdkDownload(url=url, version=VERSION)


@lru_cache(maxsize=4)
def archive(url: str) -> bytes:
    """The clients for a service at this address; the same bytes each time."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(CLIENTS.rglob("*")):
            within = path.relative_to(CLIENTS)
            if (
                not path.is_file()
                or (path.suffix not in KINDS and path.name != "LICENSE")
                or "node_modules" in path.parts
            ):
                continue
            data = path.read_bytes()
            if path.suffix in SAYING:
                data = data.replace(HERE, url.encode())
            entry = zipfile.ZipInfo(f"beatconnect-sdk-{VERSION}/{within.as_posix()}", (1980, 1, 1, 0, 0, 0))
            entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            file.writestr(entry, data)
    return made.getvalue()
