"""Settings of how beats are made, and who may ask for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from commands.settings import Service
from domain.sections import Count, Seconds, Secret, Section, Sections, Url, says

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


class Provider(Section, frozen=True):
    """A provider elsewhere that makes beats for money, with the API of sunoapi.org."""

    suno_api_url: Annotated[Url, says("Where its API is", schemes=("http", "https"))] = Url("https://api.sunoapi.org")
    suno_api_key: Annotated[Secret, says("Key of an account there; empty turns it off")] = Secret("")
    suno_model: Annotated[str, Meta(min_length=1, max_length=40), says("The model that is asked for")] = "V4_5"
    suno_files_days: Annotated[
        int, Meta(ge=1, le=365), says("How long it keeps files; two days before the end they are fetched")
    ] = 14
    suno_poll_seconds: Annotated[
        Seconds, says("How long to wait before asking how a task stands, longer each time")
    ] = 20.0
    suno_task_seconds_max: Annotated[Seconds, says("Time for one task before it is given up")] = 1_800.0

    @property
    def is_on(self) -> bool:
        """Whether it may be asked for anything."""
        return bool(self.suno_api_key)


class Generation(Section, frozen=True):
    """What one generation of a beat is, and what it may cost."""

    beats_provider: Annotated[
        Literal["band", "sunoapi"], says("Who makes beats where nobody says: our own `band`, or a provider elsewhere")
    ] = "band"
    beat_seconds: Annotated[float, Meta(ge=8, le=600), says("How long a beat is where nobody says")] = 180.0
    generation_workers: Annotated[
        int, Meta(ge=0), says("Generations at a time in one process; 0 means one per processor")
    ] = 0
    generation_wall_seconds_max: Annotated[Seconds, says("Time for one track before it is given up")] = 600.0
    generation_cpu_seconds_max: Annotated[Count, says("Processor time of one track")] = 240
    generation_memory_bytes_max: Annotated[
        int, Meta(ge=1024**3), says("Address space of what makes a track, 1 GiB at least")
    ] = 2 * 1024**3
    generation_landlock: Annotated[
        Literal["preferred", "required"],
        says(
            "Where the kernel has no Landlock, what makes beats may touch what its user may: `preferred` makes them "
            "all the same and says so in the log and in `/ready`, `required` makes none"
        ),
    ] = "preferred"

    def conflicts(self, others: Sections) -> Iterator[str]:
        """Whoever is to make beats where nobody says must be there."""
        if self.beats_provider == "sunoapi" and not others[Provider].is_on:
            yield "LEDGERLINE_BEATS_PROVIDER is sunoapi, which needs LEDGERLINE_SUNO_API_KEY."

    @property
    def generation_processes(self) -> int:
        """How many generations one process runs side by side."""
        if self.generation_workers:
            return self.generation_workers
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
