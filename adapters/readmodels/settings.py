"""Settings of reading."""

from __future__ import annotations

from typing import Annotated

from domain.sections import Count, Seconds, Section, says


class Reading(Section, frozen=True):
    """How read models are read."""

    read_wait_seconds_max: Annotated[Seconds, says("How long a read waits for the client's own last write")] = 2.0
    followers_at_once_max: Annotated[
        Count,
        says("Requests and streams that wait for events in one process at once, an eighth of them of one workspace"),
    ] = 2_048
    stream_heartbeat_seconds: Annotated[
        Seconds,
        says("How long a stream of events is silent at most; as often it is looked whether its reader may go on"),
    ] = 15.0
    stream_seconds_max: Annotated[
        Seconds, says("How long a stream of events lasts before its reader comes again, to whatever process has room")
    ] = 3_600.0
