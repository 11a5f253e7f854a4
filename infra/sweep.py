"""What processes that died in the middle of something have left behind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import structlog

from adapters.log.eventlog import EventLog
from adapters.storage.blobs import Blobs
from domain.analyses import keys
from domain.analyses.analyses import analyses

log = structlog.get_logger(__name__)

#: Older than any request, so that nothing is swept from under one that is still going on.
LEFT_BEHIND = timedelta(hours=1)


async def sweep_uploads(blobs: Blobs, ledger: EventLog) -> int:
    """Delete uploads nobody waits for: unfinished ones, and files whose analysis was never asked for or is over.

    A request stores its file before it asks for the analysis, and asks after the file is safe; a process killed in
    between leaves a file without a job. Returns how many things went.
    """
    before = datetime.now(UTC) - LEFT_BEHIND
    swept = await blobs.sweep(before)
    async for stored in blobs.list(keys.uploads()):
        if stored.modified_at > before:
            continue
        analysis = await ledger.state(analyses, stored.key.rsplit("/", 1)[-1])
        if analysis.status == "absent" or analysis.is_over:
            await blobs.delete(stored.key)
            swept += 1
    if swept:
        log.info("uploads.swept", count=swept)
    return swept
