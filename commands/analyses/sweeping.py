"""Recordings that came in forms and that nobody waits for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from commands.analyses.ports import Ports
from commands.sweeping import sweep_objects, sweeps
from domain.analyses import keys
from domain.analyses.analyses import analyses


@sweeps("recordings")
async def sweep_recordings(ports: Ports, before: datetime) -> int:
    """A request stores its file before it asks for the analysis; what was never asked for or is over, goes."""

    async def is_waited_for(key: Sequence[str]) -> bool:
        analysis = await ports.log.state(analyses, key[-1])
        return analysis.status != "absent" and not analysis.is_over

    return await sweep_objects(ports.blobs, keys.uploads(), before, is_waited_for)
