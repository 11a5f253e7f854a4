"""A storage object: room for one recording that its owner uploads straight to the object store."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec.structs import replace

from domain.kernel import Category, Conflict, Event, Invalid, NotFound, State

Purpose = Literal["upload"]

#: What may be announced; what an upload really is, is heard when it is analysed.
CONTENT_TYPES = frozenset(
    {
        "application/octet-stream",
        "application/ogg",
        "audio/aac",
        "audio/aacp",
        "audio/aiff",
        "audio/flac",
        "audio/m4a",
        "audio/mp3",
        "audio/mp4",
        "audio/mpeg",
        "audio/ogg",
        "audio/opus",
        "audio/vnd.wave",
        "audio/vorbis",
        "audio/wav",
        "audio/wave",
        "audio/x-aac",
        "audio/x-aiff",
        "audio/x-flac",
        "audio/x-m4a",
        "audio/x-wav",
    }
)


class UploadOffered(Event):
    """Somebody may upload one recording; the link works for minutes, the room is kept a little longer."""

    storage_object_id: str
    workspace_id: str
    purpose: Purpose
    content_type: str
    object_key: str
    offered_at: datetime
    expires_at: datetime
    kept_until: datetime
    #: How often the workspace had begun anew by then. Offers that do not say are from before it ever did.
    tenancy: int = 0


class ObjectUsed(Event):
    """An analysis listens to the upload; it is deleted when the analysis is over."""

    storage_object_id: str
    analysis_id: str
    used_at: datetime


class ObjectExpired(Event):
    """Nothing was made of the upload in time, and it is no longer kept."""

    storage_object_id: str
    object_key: str
    expired_at: datetime


class StorageObject(State):
    """What rules need to know of a storage object."""

    workspace_id: str = ""
    tenancy: int = 0
    object_key: str = ""
    content_type: str = ""
    kept_until: datetime | None = None
    analysis_id: str | None = None
    expired: bool = False

    def is_kept(self, now: datetime) -> bool:
        """Whether an analysis may still begin with it."""
        return not self.expired and self.kept_until is not None and now < self.kept_until


def evolve(stored: StorageObject, event: Event) -> StorageObject:
    """A storage object after one more event."""
    match event:
        case UploadOffered():
            return StorageObject(
                workspace_id=event.workspace_id,
                tenancy=event.tenancy,
                object_key=event.object_key,
                content_type=event.content_type,
                kept_until=event.kept_until,
            )
        case ObjectUsed():
            return replace(stored, analysis_id=event.analysis_id)
        case ObjectExpired():
            return replace(stored, expired=True)
    return stored


class NoSuchStorageObject(NotFound):
    """There is no storage object with this id."""


class ContentTypeNotTaken(Invalid):
    """Audio of the type {content_type} is not taken. Announce MP3, WAV, FLAC, OGG, AAC, M4A or AIFF."""


class StorageObjectIsUsed(Conflict):
    """This storage object has been analysed already. Ask for a new one and upload the recording again."""


class StorageObjectHasExpired(Conflict):
    """This storage object was not used in time. Ask for a new one and upload the recording again."""


class NothingUploaded(Conflict):
    """Nothing has been uploaded to this storage object yet. PUT the recording to its signed URL first."""


storage_objects = Category(name="storageobject", initial=StorageObject(), evolve=evolve, absent=NoSuchStorageObject)
