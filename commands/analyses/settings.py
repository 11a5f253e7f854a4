"""Settings of analyses and of what is stored for them."""

from __future__ import annotations

import os
from typing import Annotated

from msgspec import Meta

from domain.sections import Count, Seconds, Section, says


class Analyses(Section, frozen=True):
    """What may be analysed."""

    batch_items_max: Annotated[Count, says("URLs in one batch")] = 10


class StoredObjects(Section, frozen=True):
    """Files that clients put into the object store."""

    upload_link_seconds: Annotated[Count, says("How long the signed link of a storage object takes an upload")] = 900
    storage_object_hours: Annotated[Count, says("How long an uploaded object waits for its analysis")] = 24


class Listening(Section, frozen=True):
    """What one analysis may cost."""

    analysis_workers: Annotated[
        int, Meta(ge=0), says("Analyses at a time in one process; 0 means one per processor")
    ] = 0
    analysis_wall_seconds_max: Annotated[Seconds, says("Time for one analysis before it is given up")] = 600.0
    analysis_cpu_seconds_max: Annotated[Count, says("Processor time of one analysis")] = 300
    analysis_memory_bytes_max: Annotated[
        int,
        Meta(ge=1024**3),
        says("Address space of one analysis, 1 GiB at least: any recording needs some 730 MB"),
    ] = 2 * 1024**3

    @property
    def analysis_processes(self) -> int:
        """How many analyses one process runs side by side."""
        return self.analysis_workers or _processors()


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
