"""What a forgotten workspace had stored is gone from the object store too."""

from __future__ import annotations

import httpx

from tests.identity.crowd import sign_in
from tests.journeys.kit import Stack, eventually


def test_forgetting_a_workspace_deletes_what_it_had_stored(client: httpx.Client, stack: Stack, clip: bytes) -> None:
    me = sign_in(client)
    job_id = me.post("/v1/analyze/upload", files={"file": ("clip.wav", clip)}).json()["job_id"]
    room = me.post("/v1/storage-objects", {"purpose": "upload", "content_type": "audio/wav"}).json()
    put = httpx.put(room["signed_url"], content=clip, headers={"Content-Type": "audio/wav"})
    assert put.status_code == 200
    eventually(lambda: len(stack.objects(f"analyses/{job_id}/")) > 1, timeout=60)
    prefixes = (f"storage/{me.workspace_id}/", f"uploads/{me.workspace_id}/", f"analyses/{job_id}/")
    assert stack.objects(prefixes[0])

    assert me.request("DELETE", f"/v1/account/workspaces/{me.workspace_id}").status_code == 200
    eventually(lambda: not any(map(stack.objects, prefixes)), timeout=30)
