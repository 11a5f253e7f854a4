"""Runners that wait for a job in this process: one claim of each, and one look for all of them together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from adapters.builds.jobs import Jobs
from adapters.provides import provides
from adapters.readmodels.followers import Follower, Followers
from domain.ledger import PUBLIC

log = structlog.get_logger(__name__)

#: How often it is looked for all who wait together.
LOOK_SECONDS = 1.0


@dataclass(eq=False)
class Waiting:
    """One claim that waits. It is `due` when there may be a job for it; where `is_over`, it should wait no more."""

    workspace_id: str
    platforms: Sequence[str]
    formats: Sequence[str]
    follower: Follower
    due: bool = True

    @property
    def is_over(self) -> bool:
        """Whether it is answered now: a newer claim of its runner is there, its client is not, or the process ends."""
        return self.follower.is_over

    def end(self) -> None:
        """It waits no more."""
        self.follower.end()

    def wake(self) -> None:
        """There may be a job for it."""
        self.due = True
        self.follower.wake()

    async def wait(self, seconds: float) -> None:
        """Until there may be a job for it, it is over, or so long."""
        until = asyncio.get_running_loop().time() + seconds
        while not (self.due or self.is_over) and (left := until - asyncio.get_running_loop().time()) > 0:
            # What happens in its workspace wakes whoever waits there, and is seldom a job.
            self.follower.hush(self.follower.after)
            await self.follower.wait(left)

    def could_do(self, workspace_id: str, platform: str, formats: Sequence[str]) -> bool:
        """Whether such a job is one for it."""
        return (
            self.workspace_id in (PUBLIC, workspace_id)
            and platform in self.platforms
            and all(each in self.formats for each in formats)
        )


class WaitingRunners:
    """All claims that wait here, by their runners; a workspace has its share of places among all who wait."""

    def __init__(self, jobs: Jobs, followers: Followers) -> None:
        self._jobs = jobs
        self._followers = followers
        self._claims: dict[str, Waiting] = {}
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._watching = asyncio.create_task(self._watch(), name="waiting-runners")

    async def close(self) -> None:
        """Look no more."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    @contextmanager
    def place(
        self, runner_id: str, workspace_id: str, platforms: Sequence[str], formats: Sequence[str]
    ) -> Iterator[Waiting]:
        """A place to wait in; an older claim of the same runner is over. Raises TooManyFollowers or NoRoomToWait."""
        before = self._claims.get(runner_id)
        if before is not None:
            # It was cut off, most likely, and its end has not come through.
            before.end()
        with self._followers.place(workspace_id) as follower:
            # Only bells wake it: what it waits for is looked for here.
            follower.hush(2**62)
            claim = self._claims[runner_id] = Waiting(workspace_id, platforms, formats, follower)
            try:
                yield claim
            finally:
                if self._claims.get(runner_id) is claim:
                    del self._claims[runner_id]

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Exception as problem:  # noqa: BLE001 - it is looked again in a second
                log.debug("runners.unseen", problem=repr(problem))

    async def look(self) -> None:
        """Wake as many as there are jobs for them, in the order in which they came."""
        if not self._claims:
            return
        homes = {each.workspace_id for each in self._claims.values()}
        for job in await self._jobs.free(None if PUBLIC in homes else sorted(homes)):
            able = (each for each in self._claims.values() if not each.due and each.could_do(*job[:3]))
            for claim, _ in zip(able, range(job.number), strict=False):
                claim.wake()


@provides
async def waiting_runners(jobs: Jobs, followers: Followers) -> WaitingRunners:
    """Who waits for a job in this process."""
    made = WaitingRunners(jobs, followers)
    made.start()
    return made
