"""Settings of builds and their runners."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from domain.sections import Count, Seconds, Section, says


class Builds(Section, frozen=True):
    """Builds of plug-ins."""

    monthly_build_limits: Annotated[
        dict[str, Annotated[int, Meta(ge=0)]],
        says("Builds a month for each plan, as `plan=number` with commas; a plan not named has no limit"),
    ] = msgspec.field(default_factory=lambda: {"free": 1000})
    build_lease_seconds: Annotated[Seconds, says("How long a runner that says nothing keeps a job")] = 60.0
    build_start_seconds: Annotated[Seconds, says("How long a runner may take to begin a job it has claimed")] = 120.0
    build_seconds_max: Annotated[Seconds, says("How long a build may take on one platform, once begun")] = 7200.0
    build_log_bytes_max: Annotated[Count, says("Bytes of log that are kept of each job")] = 16 << 20
    artifact_bytes_max: Annotated[Count, says("Bytes that one artifact may have")] = 2 << 30
    workflow_start_seconds: Annotated[
        Seconds, says("How long GitHub may take to begin a workflow that it was asked to run")
    ] = 3600.0
    workflow_poll_seconds: Annotated[
        Seconds, says("How long to wait before GitHub is asked again how a run stands; at first, then up to a minute")
    ] = 10.0
    build_claim_seconds: Annotated[Seconds, says("How long a runner's question for a job waits for one")] = 20.0
