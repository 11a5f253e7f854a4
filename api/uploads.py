"""A recording in the body of a request: multipart/form-data with its bytes in `file`, and texts beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from litestar import Request

from adapters.storage.uploads import Received, Uploads
from commands.ports import Blobs, Stored
from domain.kernel import Refusal, Unavailable


def form(file: str, texts: Mapping[str, str]) -> dict[str, Any]:
    """The schema of such a form: what the file is, and what each of the texts says."""
    return {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {"type": "string", "format": "binary", "description": file},
            **{name: {"type": "string", "description": said} for name, said in texts.items()},
        },
    }


def form_body(file: str, **texts: str) -> dict[str, Any]:
    """The `request_body` of a route that takes such a form and nothing else."""
    return {"required": True, "content": {"multipart/form-data": {"schema": form(file, texts)}}}


async def receive(request: Request[Any, Any, Any], uploads: Uploads, key: str, workspace_id: str) -> Received[Stored]:
    """Read the form of a request and store its file under a key; raises what `read_upload` does."""
    length = request.headers.get("content-length", "")
    return await uploads.receive(
        request.headers.get("content-type"),
        int(length) if length.isdigit() else None,
        request.stream(),
        key,
        workspace_id,
    )


@asynccontextmanager
async def needed_by_what_follows(blobs: Blobs, key: str) -> AsyncIterator[None]:
    """Remove a stored file when what it was stored for is refused."""
    try:
        yield
    except Refusal as refusal:
        # With the ledger away nobody knows whether it has been written down; if it has, it needs its file.
        if not isinstance(refusal, Unavailable):
            await drop(blobs, key)
        raise


async def drop(blobs: Blobs, key: str) -> None:
    """Remove a file that nothing will need; while the store is away it stays, which harms nobody."""
    with suppress(Unavailable):
        await blobs.delete(key)
