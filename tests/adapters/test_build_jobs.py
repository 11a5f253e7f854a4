"""Who gets which job of a build, in Postgres itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from psycopg_pool import AsyncConnectionPool

from adapters.builds.jobs import Jobs
from infra.migrate import migrate
from tests.conftest import Databases


def _migrated(url: str) -> None:
    migrate(url)


@pytest.fixture
def url(databases: Databases) -> Iterator[str]:
    made = databases.copy_of("core", _migrated)
    yield made
    databases.drop(made)


@pytest.fixture
async def jobs(url: str) -> AsyncIterator[Jobs]:
    async with AsyncConnectionPool(url, min_size=1, max_size=4, open=False, kwargs={"autocommit": True}) as pool:
        yield Jobs(pool)


async def put(jobs: Jobs, workspace: str, *builds: str) -> None:
    for build in builds:
        await jobs.put(build, f"project of {workspace}", workspace, {"linux": ["clap"]}, ready=True)


async def claim(jobs: Jobs, workspace: str | None = None) -> str | None:
    row = await jobs.claim("runner", workspace, ["linux"], ["clap", "vst3"], 60.0)
    return None if row is None else row.build_id


async def test_a_runner_gets_a_job_of_whose_platform_it_makes_all_formats(jobs: Jobs) -> None:
    await jobs.put("b", "p", "w", {"macos": ["vst3", "au"], "windows": ["vst3"], "linux": []}, ready=True)

    found = [await jobs.claim("runner", "w", [each], ["vst3"], 60.0) for each in ("macos", "windows", "linux")]
    assert [each and each.platform for each in found] == [None, "windows", "linux"]


async def test_many_builds_of_one_workspace_do_not_make_another_wait(jobs: Jobs) -> None:
    await put(jobs, "busy", "b1", "b2", "b3", "b4")
    assert await claim(jobs) == "b1"
    await put(jobs, "other", "o1", "o2")

    found = []
    for _ in range(5):
        found.append(await claim(jobs))
        await jobs.close(str(found[-1]))

    assert found == ["o1", "b2", "o2", "b3", "b4"]
    assert await claim(jobs) is None


async def test_a_runner_of_a_workspace_gets_its_jobs_in_the_order_of_asking(jobs: Jobs) -> None:
    await put(jobs, "one", "1", "2", "3")
    await put(jobs, "two", "4")

    assert [await claim(jobs, "one") for _ in range(4)] == ["1", "2", "3", None]


async def test_what_has_ended_of_a_workspace_is_not_ended_again_when_it_is_forgotten(jobs: Jobs) -> None:
    await put(jobs, "one", "1", "2")
    await put(jobs, "two", "3")
    await jobs.close("1")
    assert await jobs.unfinished("one") == ["2"]

    await jobs.forget("one")
    assert [await jobs.unfinished(each) for each in ("one", "two")] == [[], ["3"]]


async def test_only_the_runner_that_has_a_job_keeps_it(jobs: Jobs) -> None:
    await put(jobs, "one", "1")
    assert await claim(jobs) == "1"

    assert await jobs.extend("1", "linux", "another", 1, 60.0) is None
    assert await jobs.extend("1", "linux", "runner", 1, 60.0) is not None
