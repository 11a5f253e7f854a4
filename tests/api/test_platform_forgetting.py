"""What a forgotten workspace had stored is gone from the object store too."""

from __future__ import annotations

import asyncio

import httpx

from adapters.storage.blobs import Blobs
from tests.identity.crowd import sign_in
from tests.journeys.kit import Stack, eventually


def stored(stack: Stack, *prefixes: str) -> list[str]:
    """The keys of what lies below these prefixes."""

    async def look() -> list[str]:
        settings = stack.settings
        blobs = Blobs(
            settings.s3_url,
            access_key=settings.s3_access_key,
            secret_key=settings.s3_secret_key.reveal(),
            bucket=settings.s3_bucket,
        )
        try:
            return [each.key for prefix in prefixes async for each in blobs.list(prefix)]
        finally:
            await blobs.close()

    return asyncio.run(look())


def test_forgetting_a_workspace_deletes_what_it_had_stored(client: httpx.Client, stack: Stack, clip: bytes) -> None:
    me = sign_in(client)
    job_id = me.post("/v1/analyze/upload", files={"file": ("clip.wav", clip)}).json()["job_id"]
    room = me.post("/v1/storage-objects", {"purpose": "upload", "content_type": "audio/wav"}).json()
    put = httpx.put(room["signed_url"], content=clip, headers={"Content-Type": "audio/wav"})
    assert put.status_code == 200
    eventually(lambda: len(stored(stack, f"analyses/{job_id}/")) > 1, timeout=60)
    prefixes = (f"storage/{me.workspace_id}/", f"uploads/{me.workspace_id}/", f"analyses/{job_id}/")
    assert stored(stack, prefixes[0])

    assert me.request("DELETE", f"/v1/account/workspaces/{me.workspace_id}").status_code == 200
    eventually(lambda: not stored(stack, *prefixes), timeout=30)
