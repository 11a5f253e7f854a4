"""Settings of analyses and of what is stored for them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from domain.sections import Count, Seconds, Section, says


class Analyses(Section, frozen=True):
    """What may be analysed."""

    upload_bytes_max: Annotated[Count, says("The largest file that is accepted, uploaded or fetched")] = (
        50 * 1024 * 1024
    )
    fetch_seconds_max: Annotated[Seconds, says("Time to fetch the audio of a URL")] = 60.0
    batch_items_max: Annotated[Count, says("URLs in one batch")] = 10


class StoredObjects(Section, frozen=True):
    """Files that clients put into the object store."""

    s3_bucket: Annotated[str, Meta(min_length=3, max_length=63), says("Bucket for everything stored")] = "ledgerline"
    upload_link_seconds: Annotated[Count, says("How long the signed link of a storage object takes an upload")] = 900
    storage_object_hours: Annotated[Count, says("How long an uploaded object waits for its analysis")] = 24
    presigned_seconds: Annotated[Count, says("How long a signed link to a stored object works")] = 3_600
