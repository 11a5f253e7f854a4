"""Room for recordings that clients upload, and the objects themselves behind signed links."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Any

from litestar import Request, Response, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response import Stream
from msgspec import Meta, Struct

from adapters.storage.uploads import NotAsAnnounced
from api.analyses.analyses_v2 import UploadIsTooLarge
from api.answers import is_known
from api.auth import Asker, needs
from api.kernel import range_of
from api.links import PATH, Link, LinkIsVoid, shown_as
from api.problems import refuse
from api.storage.ports import Ports
from commands.analyses.objects import OfferUpload
from domain.analyses import keys
from domain.analyses.objects import Purpose, StorageObjectHasExpired, StorageObjectIsUsed, storage_objects
from domain.kernel import Invalid
from projections.kernel import seconds


class UploadWillBeTooLarge(UploadIsTooLarge):
    """A recording of {size} bytes is not taken; {size_max} are."""


class NewObject(Struct):
    """What is going to be uploaded. When `size_bytes` is given, the link takes a file of exactly that size."""

    content_type: Annotated[
        str, Meta(min_length=1, max_length=127, pattern=r"^[\x21-\x7e][\x20-\x7e]*\Z", examples=["audio/mpeg"])
    ]
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
    request: Request[Any, Any, Any],
    data: JSONBody[NewObject],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Offer:
    """Ask for room for one recording. It is analysed with its id, and deleted afterwards."""
    if data.size_bytes is not None and data.size_bytes > ports.files.upload_bytes_max:
        raise UploadWillBeTooLarge(size=data.size_bytes, size_max=ports.files.upload_bytes_max)
    object_id = ports.vault.new_id()
    key = keys.room(asker.workspace_id, object_id)
    lifetime = timedelta(seconds=ports.objects.upload_link_seconds)
    now = ports.now()
    signed_url = await ports.links.to_write(
        request,
        asker,
        key,
        ports.objects.upload_link_seconds,
        content_type=data.content_type,
        size=data.size_bytes,
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
            tenancy=asker.tenancy,
        ),
        asker.context,
    )
    return Offer(
        bucket=ports.links.store.s3_bucket,
        expires_at=seconds(now + lifetime),
        id=object_id,
        key=key,
        signed_url=signed_url,
    )


class SentEncoded(Invalid):
    """Send the recording as it is and whole: without Content-Encoding and Content-Range."""


_WORD = Meta(max_length=2048, pattern=r"^[\x20-\x7e]*\Z")
_NUMBER = Meta(ge=0, le=2**53)

Expires = Annotated[int, _NUMBER, QueryParameter(description="When the link ends, in seconds since 1970")]
Workspace = Annotated[str, _WORD, QueryParameter(description="To whom the link was given")]
Tenancy = Annotated[int, _NUMBER, QueryParameter(description="How often that workspace had begun anew")]
Signature = Annotated[str, _WORD, QueryParameter(description="Our signature over all of the link")]

_BYTES = {"type": "string", "format": "binary"}
#: An object is of the type that it was stored with.
_ANY = {"*/*": _BYTES}


@get(
    "/objects/{key:path}",
    tags=["objects"],
    opt={"answers": {"200": _ANY, "206": _ANY}, "statuses": ("304", "403", "404", "416")},
)
async def get_object(
    request: Request[Any, Any, Any],
    ports: NamedDependency[Ports],
    key: FromPath[str],  # noqa: ARG001 - read from the path as it came, declared here for the contract
    expires: Expires = 0,
    workspace: Workspace = "",
    tenancy: Tenancy = 0,
    signature: Signature = "",
) -> Response[Any]:
    """Read an object by a link that was given out: all of it or, with `Range`, one part of it."""
    link = Link(method="GET", key=_key(request), expires=expires, workspace=workspace, tenancy=tenancy)
    ports.links.check(link, signature)
    await ports.links.check_holder(link)
    found = await ports.blobs.stat(link.key)
    etag = f'"{found.etag}"'
    headers = {
        "ETag": etag,
        # Whoever keeps it asks again whether the link still holds.
        "Cache-Control": "private, no-cache",
        "Accept-Ranges": "bytes",
        "Content-Disposition": shown_as(found.content_type, found.key),
    }
    if is_known(request, etag):
        return Response(b"", status_code=304, headers=headers)
    first, size, status = 0, found.size, 200
    asked = range_of(found.size, request.headers.get("range", ""))
    if asked is not None and request.headers.get("if-range", etag) == etag:
        first, size = asked
        if size <= 0:
            sentence = f"The object has {found.size} bytes, and none of those that were asked for."
            return refuse(request, 416, sentence, {"Content-Range": f"bytes */{found.size}"})
        status = 206
        headers["Content-Range"] = f"bytes {first}-{first + size - 1}/{found.size}"
    headers |= {"Content-Length": str(size), "Content-Type": found.content_type}
    # To HEAD the server sends no body, so none is fetched.
    content = _nothing() if "is_head" in request.scope else ports.blobs.read(found, offset=first, length=size)
    return Stream(content, status_code=status, headers=headers)


@put(
    "/objects/{key:path}",
    tags=["objects"],
    opt={
        "answers": {"200": {}},
        "statuses": ("403", "409", "413"),
        "request_body": {"required": True, "content": {"application/octet-stream": {"schema": _BYTES}}},
    },
    request_max_body_size=None,
)
async def put_object(
    request: Request[Any, Any, Any],
    ports: NamedDependency[Ports],
    key: FromPath[str],  # noqa: ARG001 - read from the path as it came, declared here for the contract
    expires: Expires = 0,
    workspace: Workspace = "",
    tenancy: Tenancy = 0,
    content_type: Annotated[str, _WORD, QueryParameter(description="The Content-Type that was announced")] = "",
    size: Annotated[int | None, _NUMBER, QueryParameter(description="The size that was announced")] = None,
    signature: Signature = "",
) -> Response[bytes]:
    """Upload a recording by the link of a storage object: the bytes, with the announced Content-Type."""
    link = Link(
        method="PUT",
        key=_key(request),
        expires=expires,
        workspace=workspace,
        tenancy=tenancy,
        content_type=content_type,
        size=size,
    )
    ports.links.check(link, signature)
    await _check_offer(ports, link)
    if request.headers.get("content-type", "").strip().casefold() != content_type.strip().casefold():
        raise NotAsAnnounced(announced=f"the type {content_type}")
    # What else a client says about its file (disposition, caching) is nobody's concern and is not kept.
    if request.headers.get("content-encoding", "identity") != "identity" or "content-range" in request.headers:
        raise SentEncoded(loc=("header",))
    length = request.headers.get("content-length", "")
    if length.isdigit():
        ports.uploads.check_announced(int(length), size)
    stored = await ports.uploads.take(
        request.stream(),
        link.key,
        workspace,
        content_type=content_type,
        size=size,
        still_wanted=lambda: _check_offer(ports, link),
    )
    return Response(b"", status_code=200, headers={"ETag": f'"{stored.etag}"'})


async def _check_offer(ports: Ports, link: Link) -> None:
    """Refuse an upload that nobody waits for any more: LinkIsVoid, StorageObjectIsUsed, StorageObjectHasExpired."""
    await ports.links.check_holder(link)
    history = await ports.log.read(storage_objects.stream(link.key.rpartition("/")[2]))
    offer = storage_objects.fold(history.events)
    if offer.object_key != link.key:
        raise LinkIsVoid
    if offer.analysis_id is not None:
        raise StorageObjectIsUsed
    if not offer.is_kept(ports.now()):
        raise StorageObjectHasExpired


def _key(request: Request[Any, Any, Any]) -> str:
    """The key of an object, as it was signed."""
    return str(request.scope["path"]).removeprefix(PATH)


#: One part; where several are asked for, the whole is sent, as RFC 9110 (14.2) allows.
async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
