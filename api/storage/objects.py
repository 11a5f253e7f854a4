"""Room for recordings that clients upload straight to the object store."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta, Struct

from api.analyses.analyses_v2 import UploadIsTooLarge
from api.auth import Asker, needs
from api.storage.ports import Ports
from commands.analyses.objects import OfferUpload
from domain.analyses.objects import Purpose
from projections.kernel import seconds


class UploadWillBeTooLarge(UploadIsTooLarge):
    """A recording of {size} bytes is not taken; {size_max} are."""


class NewObject(Struct):
    """What is going to be uploaded. When `size_bytes` is given, the link takes a file of exactly that size."""

    content_type: Annotated[str, Meta(min_length=1, max_length=127, pattern=r"^[\x21-\x7e][\x20-\x7e]*$")]
    purpose: Purpose
    size_bytes: Annotated[int, Meta(ge=1)] | None = None


class Offer(Struct):
    """Where to upload it: PUT the bytes to the signed URL with the announced Content-Type before it expires."""

    bucket: str
    expires_at: str
    id: str
    key: str
    signed_url: str


@post("/v1/storage-objects", status_code=201, tags=["platform"], opt=needs("storage:write", "member"))
async def create_storage_object(
    data: JSONBody[NewObject], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Offer:
    """Ask for room for one recording. It is analysed with its id, and deleted afterwards."""
    if data.size_bytes is not None and data.size_bytes > ports.settings.upload_bytes_max:
        raise UploadWillBeTooLarge(size=data.size_bytes, size_max=ports.settings.upload_bytes_max)
    object_id = ports.vault.new_id()
    key = f"storage/{asker.workspace_id}/{object_id}"
    lifetime = timedelta(seconds=ports.objects.upload_link_seconds)
    now = ports.now()
    signed_url = await ports.blobs.presigned_put(
        key, content_type=data.content_type, seconds=ports.objects.upload_link_seconds, size=data.size_bytes
    )
    await ports.execute(
        OfferUpload(
            storage_object_id=object_id,
            workspace_id=asker.workspace_id,
            purpose=data.purpose,
            content_type=data.content_type,
            object_key=key,
            link_lifetime=lifetime,
            lifetime=max(lifetime, timedelta(hours=ports.objects.storage_object_hours)),
        ),
        asker.context,
    )
    return Offer(
        bucket=ports.objects.s3_bucket, expires_at=seconds(now + lifetime), id=object_id, key=key, signed_url=signed_url
    )
