"""Settings of how beats are made, and who may ask for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from commands.settings import Service
from domain.sections import Count, Seconds, Section, Sections, says

#: The workspace of whoever asks without showing who they are, unless an operator names another.
OPEN_WORKSPACE = "00000000-0000-4000-8000-00000000beef"


class BeatAccess(Section, frozen=True):
    """Who may ask for beats."""

    beats_auth: Annotated[
        Literal["workspace", "open"],
        says(
            "`workspace` asks for a key or a session; `open` lets anybody act in one workspace, as the contract has it"
        ),
    ] = "workspace"
    beats_open_workspace: Annotated[
        str, Meta(max_length=64), says("The workspace that `open` acts in; empty means one of its own")
    ] = ""
    beats_open_public: Annotated[
        bool, says("Whether `open` may be served on an address that others can reach; it refuses to start otherwise")
    ] = False

    @property
    def open_workspace_id(self) -> str | None:
        """The workspace of whoever shows no credential; None where everybody has to."""
        return (self.beats_open_workspace or OPEN_WORKSPACE) if self.beats_auth == "open" else None

    def conflicts(self, others: Sections) -> Iterator[str]:
        """Open to everybody who can reach it is nobody's wish by accident."""
        if self.beats_auth == "open" and not self.beats_open_public and not others[Service].is_loopback:
            yield (
                f"LEDGERLINE_BEATS_AUTH is open, and {others[Service].host} can be reached by others: anybody could "
                "have beats made here. Serve on 127.0.0.1, or say LEDGERLINE_BEATS_OPEN_PUBLIC=true if that is meant."
            )


class Generation(Section, frozen=True):
    """What one generation of a beat is, and what it may cost."""

    beat_seconds: Annotated[float, Meta(ge=8, le=600), says("How long a beat is where nobody says")] = 180.0
    generation_workers: Annotated[
        int, Meta(ge=0), says("Generations at a time in one process; 0 means one per processor")
    ] = 0
    generation_wall_seconds_max: Annotated[Seconds, says("Time for one track before it is given up")] = 600.0
    generation_cpu_seconds_max: Annotated[Count, says("Processor time of one track")] = 240
    generation_memory_bytes_max: Annotated[
        int, Meta(ge=1024**3), says("Address space of what makes a track, 1 GiB at least")
    ] = 2 * 1024**3

    @property
    def generation_processes(self) -> int:
        """How many generations one process runs side by side."""
        if self.generation_workers:
            return self.generation_workers
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
