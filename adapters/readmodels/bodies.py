"""What messages are about: the documents that routes answer with, folded from the log as it stands."""

from __future__ import annotations

from msgspec import json

from adapters.log.eventlog import EventLog
from adapters.provides import provides
from commands.webhooks.ports import Bodies
from domain.analyses.analyses import analyses as streams
from projections.analyses.analyses import analyses
from projections.analyses.platform import told


class LoggedBodies(Bodies):
    """Reads the events of what a message is about: a read model may be behind."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def analysis(self, analysis_id: str) -> bytes:
        """The answer of `GET /v1/analysis/{id}`."""
        events = (await self._log.read(streams.stream(analysis_id))).events
        return json.encode(analyses.fold(analysis_id, events))

    async def platform_analysis(self, analysis_id: str) -> bytes:
        """The same as the platform shows it, with its result."""
        return told(analysis_id, (await self._log.read(streams.stream(analysis_id))).events)


@provides
def bodies(log: EventLog) -> LoggedBodies:
    """What messages are about."""
    return LoggedBodies(log)
