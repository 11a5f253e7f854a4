"""What stands in for runners, and for workflows elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from commands.builds.ports import FoundSource, Jobs, Place, RunLook, RunPlace, Workflows
from domain.builds.builds import BuildAsked
from tests.outside import Known, as_once

OBJECTS: tuple[str, ...] = (
    "builds/w1/secrets/secret-1",
    "builds/w1/secrets/secret-2",
    "builds/w1/build-1/uploads/artifact-1",
)


class Bench:
    """Builds that wait for runners."""

    def __init__(self, known: Known) -> None:
        self._known = known

    @as_once
    async def put(self, build_id: str, project_id: str, *_: object, ready: bool) -> None:
        self._known.erased.add(f"{build_id} of {project_id} waits, {ready}")

    async def assign(self, build_id: str, holder: str, fence: int) -> None:
        self._known.erased.add(f"{build_id} is {holder}'s under {fence}")

    @as_once
    async def close(self, build_id: str, platform: str | None = None) -> None:
        self._known.erased.add(f"{build_id} on {platform} is closed")

    @as_once
    async def release(self, build_id: str, platform: str, fence: int) -> None:
        self._known.erased.add(f"{build_id} on {platform} is free of {fence}")

    @as_once
    async def waiting_for_source(self, project_id: str) -> Sequence[str]:
        return self._known.ids(BuildAsked, "build_id", "project_id", project_id)

    @as_once
    async def forget(self, workspace_id: str) -> None:
        self._known.erased.add(f"builds of {workspace_id}")

    @as_once
    async def unfinished(self, workspace_id: str) -> Sequence[str]:
        return self._known.ids(BuildAsked, "build_id", "workspace_id", workspace_id)


class Elsewhere:
    """Workflows at GitHub: a run for each build, which waits until it is ended."""

    def __init__(self, known: Known) -> None:
        self._known = known

    @as_once
    def repository(self, source_url: str) -> str | None:
        return source_url.removeprefix("https://github.com/")

    async def source(self, *_: object) -> FoundSource:
        return FoundSource(ref="main", commit_sha="c" * 40)

    @as_once
    async def find(self, place: Place, workflow: str, build_id: str) -> RunPlace | None:
        return RunPlace(run_id=1, url="u") if f"a run for {build_id}" in self._known.erased else None

    async def dispatch(self, place: Place, workflow: str, ref: str, inputs: dict[str, str]) -> RunPlace:
        assert f"a run for {inputs['build_id']}" not in self._known.erased, "it runs already"
        self._known.erased.add(f"a run for {inputs['build_id']}")
        return RunPlace(run_id=1, url="u")

    @as_once
    async def look(self, *_: object) -> RunLook:
        return RunLook(status="queued")

    @as_once
    async def cancel(self, _: Place, run_id: int) -> None:
        self._known.erased.add(f"the end of run {run_id}")


def outside(known: Known) -> dict[type, Any]:
    """By their ports."""
    return {Jobs: Bench(known), Workflows: Elsewhere(known)}
