"""Offering room for an upload, and taking it back when nothing comes of it."""

from __future__ import annotations

from datetime import datetime, timedelta

from commands.kernel import Command, decides
from domain.analyses.objects import (
    CONTENT_TYPES,
    ContentTypeNotTaken,
    ObjectExpired,
    Purpose,
    StorageObject,
    UploadOffered,
    storage_objects,
)
from domain.kernel import Event


class OfferUpload(Command):
    """Make room for one recording. The link to it works for `link_lifetime`, the room is kept for `lifetime`."""

    storage_object_id: str
    workspace_id: str
    purpose: Purpose
    content_type: str
    object_key: str
    link_lifetime: timedelta
    lifetime: timedelta
    #: How often the workspace had begun anew for whoever asks.
    tenancy: int = 0


@decides(OfferUpload, storage_objects, creates=True)
def offer(wish: OfferUpload, stored: StorageObject, now: datetime) -> list[Event]:
    """Room is offered once, and only for audio."""
    if stored.object_key:
        return []
    # What follows a semicolon (codecs, rate) says how the audio is packed, not whether it is audio.
    if wish.content_type.partition(";")[0].strip().lower() not in CONTENT_TYPES:
        raise ContentTypeNotTaken(content_type=wish.content_type, loc=("body", "content_type"))
    return [
        UploadOffered(
            storage_object_id=wish.storage_object_id,
            workspace_id=wish.workspace_id,
            purpose=wish.purpose,
            content_type=wish.content_type,
            object_key=wish.object_key,
            offered_at=now,
            expires_at=now + wish.link_lifetime,
            kept_until=now + wish.lifetime,
            tenancy=wish.tenancy,
        )
    ]


class ExpireObject(Command):
    """Give up on an upload that nothing was made of."""

    storage_object_id: str


@decides(ExpireObject, storage_objects)
def expire(wish: ExpireObject, stored: StorageObject, now: datetime) -> list[Event]:
    """Only what was never used expires, not before its time, and once."""
    if stored.expired or stored.analysis_id is not None or stored.is_kept(now):
        return []
    return [ObjectExpired(storage_object_id=wish.storage_object_id, object_key=stored.object_key, expired_at=now)]
