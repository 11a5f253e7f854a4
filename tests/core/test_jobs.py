"""What follows from events is done at least once, in order for each stream, whoever dies meanwhile."""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adapters.jobs.worker import MAKE_READY_SECONDS, Worker
from adapters.operators import parked
from adapters.operators.metrics import REGISTRY
from adapters.operators.parked import Done, Filter
from commands.kernel import Queue, Reaction
from domain.kernel import Category, Event, State, Unavailable
from domain.ledger import Recorded
from infra.settings import Settings
from tests.core.conftest import House, eventually
from tests.core.orchard import AlarmSet, Diary, Hasty, PlantTree, TreePlanted, TreeWatered


class Rain(Unavailable):
    """It rains. Wait until it is over."""


async def watered(house: House, tree_id: str, times: int) -> None:
    await house.record(f"tree-{tree_id}", *[TreeWatered(tree_id=tree_id)] * times)


async def jobs(house: House, reactions: list[Reaction]) -> None:
    """Have the projector write down what follows from what is in the ledger."""
    async with house.projecting([], [], reactions):
        await house.caught_up("jobs")


def remade(reaction: Reaction, kind: type[Reaction] = Reaction, **changed: Any) -> Reaction:
    """The same reaction, which waits before it tries again as those of its kind do."""
    return kind(**{name: getattr(reaction, name) for name in reaction.__struct_fields__} | changed)


async def nothing_left(house: House) -> bool:
    return await house.fetch("SELECT 1 FROM jobs") == []


async def test_every_job_is_done_in_the_order_of_its_stream_by_several_workers(house: House) -> None:
    diary = Diary()
    reaction = diary.reaction()
    async with house.relaying(), house.projecting([], [], [reaction]), house.working(reaction), house.working(reaction):
        await asyncio.gather(*(watered(house, str(n), 6) for n in range(12)))
        await house.caught_up("jobs")
        await eventually(lambda: nothing_left(house))

    assert sorted(diary.entries) == sorted((f"tree-{n}", version) for n in range(12) for version in range(1, 7))
    for n in range(12):
        versions = [version for stream, version in diary.entries if stream == f"tree-{n}"]
        assert versions == sorted(versions)


async def test_a_failing_job_is_tried_again_and_holds_up_its_own_stream_only(house: House) -> None:
    diary = Diary()
    failures = 2

    def mood(recorded: Recorded) -> None:
        nonlocal failures
        if recorded.stream == "tree-1" and recorded.version == 1 and failures:
            failures -= 1
            raise RuntimeError("not yet")

    diary.mood = mood
    reaction = diary.reaction()
    await watered(house, "1", 3)
    await watered(house, "2", 3)
    await jobs(house, [reaction])
    async with house.working(reaction):
        await eventually(lambda: nothing_left(house))

    assert [entry for entry in diary.entries if entry[0] == "tree-1"] == [("tree-1", n) for n in (1, 2, 3)]
    assert len(diary.entries) == 6
    assert failures == 0


async def test_after_the_last_attempt_a_job_is_parked_with_its_problem_and_can_be_asked_for_again(
    house: House,
) -> None:
    diary = Diary()
    diary.mood = _refuse_tree_one
    reaction = diary.reaction(attempts_max=3)
    await watered(house, "1", 2)
    await watered(house, "2", 2)
    await jobs(house, [reaction])
    async with house.working(reaction):
        await eventually(lambda: house.fetch("SELECT 1 FROM jobs WHERE state = 'parked'"))
        left = [("tree-1", "parked", 3, "RuntimeError('never')"), ("tree-1", "ready", 0, None)]

        async def others_done() -> bool:
            return left == await house.fetch("SELECT stream, state, attempts, problem FROM jobs ORDER BY position")

        await eventually(others_done)
        assert sorted(diary.entries) == [("tree-2", 1), ("tree-2", 2)]

        diary.mood = lambda recorded: None
        async with house.pool.connection() as connection:
            assert await parked.retry(connection, Filter(name="diary")) == Done(jobs=1, streams=0)
        await eventually(lambda: nothing_left(house))

    assert diary.entries[2:] == [("tree-1", 1), ("tree-1", 2)]


async def test_a_job_that_waits_for_what_is_away_holds_up_those_behind_it(house: House) -> None:
    diary = Diary()
    away = iter([True])

    def mood(recorded: Recorded) -> None:
        if recorded.version == 1 and next(away, False):
            raise Unavailable

    diary.mood = mood
    reaction = diary.reaction()
    await watered(house, "1", 2)
    await jobs(house, [reaction])
    async with house.working(reaction):
        await eventually(lambda: nothing_left(house))
    assert diary.entries == [("tree-1", 1), ("tree-1", 2)]


async def test_where_a_workspace_is_one_line_nothing_of_it_passes_what_has_to_be_tried_again(house: House) -> None:
    diary = Diary()
    failures = iter([True, True])

    def mood(recorded: Recorded) -> None:
        if recorded.stream == "tree-1" and next(failures, False):
            raise RuntimeError("not yet")

    diary.mood = mood
    reaction = remade(diary.reaction(), one_at_a_time="workspace")
    for tree_id in "123":
        await watered(house, tree_id, 1)
    await jobs(house, [reaction])
    async with house.working(reaction), house.working(reaction):
        await eventually(lambda: nothing_left(house))

    assert diary.entries == [("tree-1", 1), ("tree-2", 1), ("tree-3", 1)]


async def test_what_few_have_asked_for_makes_no_jobs_for_the_others(house: House) -> None:
    diary = Diary()
    asked = Category(name="orchardlist", initial=State(), evolve=lambda state, _: state)
    reaction = remade(diary.reaction(), only_with=asked)

    async def watered_by(workspace_id: str, stream: str) -> None:
        await house.record(stream, TreeWatered(tree_id="1"), workspace_id=workspace_id)

    async with house.projecting([], [], [reaction]), house.working(reaction):
        await watered_by("w1", "tree-1")
        await watered_by("w2", "tree-2")
        await house.caught_up("jobs")
        assert await nothing_left(house)
        # Its own stream begins in the same page as what it has asked for.
        await watered_by("w1", "orchardlist-w1")
        await watered_by("w2", "tree-2")
        await watered_by("w1", "tree-3")
        await watered_by("w1", "tree-4")
        await house.caught_up("jobs")
        await eventually(lambda: nothing_left(house))

    assert sorted(diary.entries) == [("orchardlist-w1", 1), ("tree-3", 1), ("tree-4", 1)]


def _refuse_tree_one(recorded: Recorded) -> None:
    if recorded.stream == "tree-1":
        raise RuntimeError("never")


class NobodyAnswers(Exception):
    """A failure whose sentence is meant for whoever asked."""

    transient = True


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (NobodyAnswers("The server does not answer."), "The server does not answer."),
        (RuntimeError("password=hunter2 in /var/lib/x"), "It failed on our side, several times."),
    ],
    ids=["a sentence for people", "the inside of an unexpected error"],
)
async def test_giving_up_says_so_and_lets_the_stream_go_on(house: House, problem: Exception, told: str) -> None:
    diary = Diary()

    def mood(recorded: Recorded) -> None:
        if recorded.version == 1:
            raise problem

    diary.mood = mood
    reaction = diary.reaction(attempts_max=2, gives_up=True)
    await watered(house, "1", 2)
    await jobs(house, [reaction])
    async with house.working(reaction):
        await eventually(lambda: nothing_left(house))

    assert diary.given_up == [(1, told)]
    assert diary.entries == [("tree-1", 2)]


async def test_a_dependency_that_is_away_costs_no_attempts(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.jobs.worker.UNAVAILABLE_RETRY_DELAY", timedelta(0))
    diary = Diary()
    rain = iter(range(7))

    def mood(recorded: Recorded) -> None:
        if next(rain, None) is not None:
            raise Rain

    diary.mood = mood
    reaction = diary.reaction(attempts_max=2)
    await watered(house, "1", 1)
    await jobs(house, [reaction])
    async with house.working(reaction):
        await eventually(lambda: nothing_left(house))

    assert diary.entries == [("tree-1", 1)]


async def test_an_outage_costs_no_attempts_where_it_cannot_even_be_written_down_that_it_is_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.jobs.worker.MAKE_READY_SECONDS", 0.0)
    settle, rain, diary = Worker._settle, iter(range(5)), Diary()
    is_away = False

    def mood(recorded: Recorded) -> None:
        nonlocal is_away
        is_away = next(rain, None) is not None
        if is_away:
            raise Rain

    async def settled(worker: Worker, statement: str, job: Any, *values: Any) -> bool:
        return not is_away and await settle(worker, statement, job, *values)

    diary.mood = mood
    monkeypatch.setattr(Worker, "_settle", settled)
    reaction = diary.reaction(attempts_max=2)
    await watered(house, "1", 1)
    await jobs(house, [reaction])
    worker = Worker(
        house.ledger, house.pool, house.bus, lambda _: None, [reaction], settings=Settings(), lease_seconds=0.1
    )
    async with house.running(worker.run):
        await eventually(lambda: nothing_left(house))

    assert diary.entries == [("tree-1", 1)]


async def test_retries_come_later_and_later_up_to_ten_minutes() -> None:
    reaction = Reaction(name="x", kinds=(), handler=Diary().write, due=lambda _: None)

    assert [reaction.retry_delay(n).total_seconds() for n in (1, 2, 3, 8, 10, 11, 40)] == [1, 2, 4, 128, 512, 600, 600]


async def test_a_failed_job_waits_for_its_time(house: House) -> None:
    diary = Diary()
    diary.mood = _refuse_tree_one
    patient = remade(diary.reaction(attempts_max=5))
    await watered(house, "1", 1)
    await jobs(house, [patient])
    async with house.working(patient):
        [(due_in, attempts)] = await eventually(
            lambda: house.fetch(
                "SELECT extract(epoch FROM due_at - now())::float, attempts FROM jobs "
                "WHERE state = 'waiting' AND attempts > 0"
            )
        )

    assert attempts == 1
    assert 0.2 < due_in <= 1


# --- timers ----------------------------------------------------------------------------------------------------------


async def test_a_timer_rings_when_it_is_due_also_when_everybody_was_restarted_in_between(house: House) -> None:
    diary = Diary()
    reaction = diary.reaction(AlarmSet)
    soon = datetime.now(UTC) + timedelta(milliseconds=700)
    later = datetime.now(UTC) + timedelta(hours=1)
    await house.record("tree-1", AlarmSet(tree_id="1", rings_at=later), AlarmSet(tree_id="1", rings_at=soon))
    await jobs(house, [reaction])
    async with house.working(reaction) as worker:
        await eventually(lambda: worker.is_ready)
        assert diary.entries == []
    async with house.working(reaction):
        await eventually(lambda: diary.entries)
        assert datetime.now(UTC) >= soon

    assert diary.entries == [("tree-1", 2)], "the later timer of the stream holds nobody up"
    assert [row[0] for row in await house.fetch("SELECT due_at FROM jobs")] == [later]


# --- workers that die ------------------------------------------------------------------------------------------------


async def test_the_job_of_a_worker_killed_with_it_is_taken_over(house: House) -> None:
    diary = Diary()
    reaction = diary.reaction()
    await watered(house, "1", 1)
    await jobs(house, [reaction])
    script = Path(__file__).with_name("worker_process.py")
    doomed = await asyncio.create_subprocess_exec(
        sys.executable, str(script), house.url, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert doomed.stdout is not None
    assert await doomed.stdout.readline() == b"at it\n"
    doomed.send_signal(signal.SIGKILL)
    await doomed.wait()

    [(state, attempts)] = await house.fetch("SELECT state, attempts FROM jobs")
    assert (state, attempts) == ("running", 1)
    async with house.working(reaction):
        await eventually(lambda: nothing_left(house))
    assert diary.entries == [("tree-1", 1)]


async def test_a_job_that_kills_its_workers_is_given_up_in_the_end(house: House) -> None:
    diary = Diary()
    reaction = diary.reaction(attempts_max=2, gives_up=True)
    await watered(house, "1", 1)
    await jobs(house, [reaction])
    # As left behind by two workers that died.
    await house.fetch("UPDATE jobs SET state = 'running', attempts = 2, lease_until = now() - interval '1 second'")
    async with house.working(reaction):
        await eventually(lambda: nothing_left(house))

    assert diary.entries == []
    assert diary.given_up == [(1, "gave up after repeated crashes")]


async def test_long_work_keeps_its_lease(house: House) -> None:
    diary = Diary()
    begun, go_on = asyncio.Event(), asyncio.Event()
    starts = 0

    async def work(recorded: Recorded, world: Any) -> None:
        nonlocal starts
        starts += 1
        begun.set()
        await go_on.wait()

    reaction = Hasty(name="long", kinds=(TreeWatered,), handler=work, due=lambda _: None)
    await watered(house, "1", 1)
    await jobs(house, [reaction])
    async with house.working(reaction, lease_seconds=0.6), house.working(reaction, lease_seconds=0.6):
        await begun.wait()
        [(first,)] = await house.fetch("SELECT lease_until FROM jobs")
        # Renewed far beyond where the first lease ended, while a second worker was looking for work all the time.
        await eventually(lambda: house.fetch("SELECT 1 FROM jobs WHERE lease_until > %s + interval '1 s'", first))
        go_on.set()
        await eventually(lambda: nothing_left(house))

    assert starts == 1
    assert not diary.entries


async def test_who_has_lost_a_job_stops_and_cannot_touch_it_any_more(house: House) -> None:
    begun, stopped, over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work(recorded: Recorded, world: Any) -> None:
        begun.set()
        try:
            await over.wait()
        finally:
            stopped.set()

    reaction = Hasty(name="lost", kinds=(TreeWatered,), handler=work, due=lambda _: None)
    await watered(house, "1", 1)
    await jobs(house, [reaction])
    worker = Worker(
        house.ledger, house.pool, house.bus, lambda _: None, [reaction], settings=Settings(), lease_seconds=0.3
    )
    async with house.running(worker.run):
        await begun.wait()
        owner = "00000000-0000-0000-0000-000000000001"
        await house.fetch("UPDATE jobs SET owner = %s::uuid, lease_until = now() + interval '1 hour'", owner)
        try:
            await asyncio.wait_for(stopped.wait(), 10)
        finally:
            over.set()

    assert [str(row[0]) for row in await house.fetch("SELECT owner FROM jobs")] == [owner]
    counted = {
        each: REGISTRY.get_sample_value("ledgerline_jobs_total", {"reaction": "lost", "outcome": each})
        for each in ("done", "taken")
    }
    assert counted == {"done": None, "taken": 1.0}


async def test_a_worker_told_to_stop_finishes_what_it_has_begun(house: House) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def work(recorded: Recorded, world: Any) -> None:
        begun.set()
        await go_on.wait()

    reaction = Hasty(name="long", kinds=(TreeWatered,), handler=work, due=lambda _: None)
    await watered(house, "1", 1)
    await jobs(house, [reaction])
    worker = Worker(house.ledger, house.pool, house.bus, lambda _: None, [reaction], settings=Settings())
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    await begun.wait()
    stop.set()
    await eventually(lambda: not worker.is_ready)
    go_on.set()
    await running

    assert await nothing_left(house)


async def test_a_worker_that_may_not_wait_hands_back_what_it_has_begun_and_that_is_no_attempt(house: House) -> None:
    begun: list[int] = []

    async def work(recorded: Recorded, world: Any) -> None:
        begun.append(recorded.position)
        if len(begun) <= 3:
            await asyncio.Event().wait()

    reaction = Hasty(name="long", kinds=(TreeWatered,), handler=work, due=lambda _: None,
                     queue=Queue("slow", attempts=2))  # fmt: skip
    await watered(house, "1", 1)
    await jobs(house, [reaction])
    for n in range(1, 4):
        worker = Worker(house.ledger, house.pool, house.bus, lambda _: None, [reaction], settings=Settings())
        running = asyncio.create_task(worker.run(asyncio.Event()))
        await eventually(partial(_has, begun, n))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        rows = await house.fetch("SELECT state, attempts, owner, lease_until FROM jobs")
        assert rows == [("ready", 0, None, None)]

    async with house.working(reaction):
        await eventually(lambda: nothing_left(house))
    assert begun == [1] * 4


def _has(found: list[int], count: int) -> bool:
    return len(found) == count


async def test_jobs_survive_a_bell_that_is_never_heard(house: House) -> None:
    """The worker's bus is connected to nothing."""
    diary = Diary()
    reaction = diary.reaction()
    house.bus.ring = lambda *_: None  # type: ignore[method-assign]
    async with house.projecting([], [], [reaction]), house.working(reaction):
        await watered(house, "1", 2)
        await eventually(lambda: len(diary.entries) == 2)


class Soon(Reaction):
    """A reaction that is tried again before it is looked again what is due."""

    def retry_delay(self, attempt: int) -> timedelta:
        return timedelta(seconds=MAKE_READY_SECONDS / 5)


@pytest.mark.parametrize("kind", ["a timer", "left behind", "tried again"])
async def test_a_worker_that_nobody_rings_looks_again_when_something_is_due(
    house: House, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("adapters.jobs.worker.RUNG_SECONDS_MAX", 600.0)
    diary = Diary()
    failures = iter([kind == "tried again"])

    def mood(_: Recorded) -> None:
        if next(failures, False):
            raise RuntimeError("not yet")

    diary.mood = mood
    reaction = remade(diary.reaction(AlarmSet), Soon)
    due = datetime.now(UTC) + timedelta(seconds=1 if kind == "a timer" else 0)
    await house.record("tree-1", AlarmSet(tree_id="1", rings_at=due))
    await jobs(house, [reaction])
    if kind == "left behind":
        async with house.pool.connection() as connection:
            await connection.execute(
                "UPDATE jobs SET state = 'running', owner = gen_random_uuid(), attempts = 1, "
                "lease_until = now() + interval '1 second'"
            )
    async with house.working(reaction) as worker:
        await eventually(lambda: worker.is_ready)
        await eventually(lambda: nothing_left(house))

    assert diary.entries == [("tree-1", 1)]


async def test_planting_calls_for_nothing(house: House) -> None:
    reaction = Diary().reaction()
    await house.record("tree-1", TreePlanted(tree_id="1"))
    await jobs(house, [reaction])

    assert await nothing_left(house)


# --- queues and shares -----------------------------------------------------------------------------------------------


class Tarpit:
    """A reaction that does not come back for some workspaces, until it is let go."""

    def __init__(self, *slow: str) -> None:
        self.slow = slow
        self.begun: list[str] = []
        self.done: list[str] = []
        self.go_on = asyncio.Event()

    async def work(self, recorded: Recorded, world: Any) -> None:
        self.begun.append(recorded.workspace_id)
        if recorded.workspace_id in self.slow:
            await self.go_on.wait()
        self.done.append(recorded.workspace_id)

    def reaction(self, name: str, queue: Queue, kind: type[Event] = TreeWatered) -> Reaction:
        return Hasty(name=name, kinds=(kind,), handler=self.work, due=lambda _: None, queue=queue)


async def backlog(house: House, workspace_id: str, streams: int) -> None:
    """That many jobs, none of which waits for another."""
    for n in range(streams):
        await house.record(f"tree-{workspace_id}-{n}", TreeWatered(tree_id=str(n)), workspace_id=workspace_id)


async def test_a_reaction_that_hangs_ends_at_its_timeout_and_that_is_a_failure(house: House) -> None:
    ended = []

    async def hang(recorded: Recorded, world: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(recorded.position)

    diary = Diary()
    hasty = Hasty(name="hang", kinds=(TreeWatered,), handler=hang, due=lambda _: None, gives_up=diary.give_up,
                  queue=Queue("slow", timeout=0.05, attempts=3))  # fmt: skip
    await watered(house, "1", 1)
    await jobs(house, [hasty])
    async with house.working(hasty):
        await eventually(lambda: nothing_left(house))

    assert ended == [1, 1, 1]
    assert diary.given_up == [(1, "It took longer than 0.05 seconds.")]


async def test_a_queue_whose_places_are_all_taken_holds_up_no_other(house: House) -> None:
    slow, fast = Tarpit("w1", "w2"), Tarpit()
    stuck = slow.reaction("stuck", Queue("stuck", concurrency=2))
    free = fast.reaction("free", Queue("free", concurrency=1))
    await backlog(house, "w1", 2)
    await backlog(house, "w2", 2)
    await jobs(house, [stuck, free])
    async with house.working(stuck, free):
        await eventually(lambda: len(fast.done) == 4)
        await eventually(lambda: slow.begun)
        slow.go_on.set()
        await eventually(lambda: nothing_left(house))


async def test_a_workspace_that_fills_all_it_can_leaves_places_for_others(house: House) -> None:
    pit = Tarpit("hog", "sow")
    reaction = pit.reaction("pit", Queue("pit", concurrency=8))
    await backlog(house, "hog", 20)
    await jobs(house, [reaction])
    async with house.working(reaction):
        await eventually(lambda: len(pit.begun) == 4)
        await backlog(house, "sow", 20)
        await jobs(house, [reaction])
        await eventually(lambda: "sow" in pit.begun)
        await backlog(house, "guest", 3)
        await jobs(house, [reaction])
        await eventually(lambda: pit.done == ["guest"] * 3)
        assert pit.begun.count("hog") == 4, "half of all places"
        assert pit.begun.count("sow") == 2, "half of what was left"
        pit.go_on.set()
        await eventually(lambda: nothing_left(house))


async def test_turns_go_round_among_workspaces_whoever_came_first(house: House) -> None:
    pit = Tarpit()
    reaction = pit.reaction("pit", Queue("pit", concurrency=1))
    await backlog(house, "w1", 12)
    await backlog(house, "w2", 2)
    await backlog(house, "w3", 1)
    await jobs(house, [reaction])
    async with house.working(reaction):
        await eventually(lambda: nothing_left(house))

    assert pit.done.index("w3") < 4
    assert [n for n, each in enumerate(pit.done) if each == "w2"][-1] < 6


async def test_more_workspaces_than_one_look_takes_in_all_get_their_turn(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.jobs.worker.TENANTS_MAX", 2)
    pit = Tarpit("w0")
    reaction = pit.reaction("pit", Queue("pit", concurrency=4))
    for n in range(7):
        await backlog(house, f"w{n}", 3)
    await jobs(house, [reaction])
    async with house.working(reaction):
        await eventually(lambda: len(pit.done) == 18)
        pit.go_on.set()
        await eventually(lambda: nothing_left(house))


async def test_a_job_that_cannot_even_be_given_up_is_tried_to_give_up_again_and_parked_in_the_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.jobs.worker.GIVING_UP_MAX", 3)
    diary = Diary()
    diary.mood = _refuse_tree_one
    reluctance = iter([RuntimeError("not now"), RuntimeError("nor now")])

    async def give_up(recorded: Recorded, world: object, reason: str) -> None:
        if problem := next(reluctance, None):
            raise problem
        diary.given_up.append((recorded.position, reason))

    hasty = Hasty(name="diary", kinds=(TreeWatered,), handler=diary.write, due=lambda _: None, gives_up=give_up,
                  queue=Queue("diary", attempts=1))  # fmt: skip
    await watered(house, "1", 1)
    await jobs(house, [hasty])
    async with house.working(hasty):
        await eventually(lambda: nothing_left(house))
        assert diary.given_up == [(1, "It failed on our side, several times.")]

        reluctance = iter([RuntimeError("never")] * 9)
        await watered(house, "1", 1)
        await jobs(house, [hasty])
        [(problem,)] = await eventually(lambda: house.fetch("SELECT problem FROM jobs WHERE state = 'parked'"))
    assert problem == "RuntimeError('never')"


async def test_what_is_to_be_done_at_once_is_done_at_once_whatever_our_clock_says(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs are claimed by the clock of Postgres, and a projector's own may be ahead of it."""

    class Ahead:
        @staticmethod
        def now(tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) + timedelta(hours=1)

    monkeypatch.setattr("adapters.readmodels.writers.datetime", Ahead)
    done: list[str] = []

    async def note(recorded: Recorded, _: Any) -> None:
        done.append(recorded.stream)

    reaction = Reaction(name="note", kinds=(TreePlanted,), handler=note, due=lambda _: None)
    async with house.relaying(), house.projecting(reactions=[reaction]), house.working(reaction):
        await house.ask(PlantTree(tree_id="1"))
        await eventually(lambda: done == ["tree-1"])


async def test_a_timer_waits_for_our_clock_where_it_is_behind_that_of_postgres(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is asked too early says "not yet", and nobody would ask again."""
    behind = timedelta(hours=1)

    class Behind:
        @staticmethod
        def now(tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) - behind

    monkeypatch.setattr("adapters.jobs.worker.datetime", Behind)
    diary = Diary()
    reaction = diary.reaction(AlarmSet)
    await house.record("tree-1", AlarmSet(tree_id="1", rings_at=datetime.now(UTC)))
    await jobs(house, [reaction])
    async with house.working(reaction):
        [(attempts, problem, state, seconds)] = await eventually(
            lambda: house.fetch(
                "SELECT attempts, problem, state, extract(epoch FROM due_at - now())::float "
                "FROM jobs WHERE problem IS NOT NULL"
            )
        )
        assert diary.entries == []
        assert (attempts, state) == (0, "waiting")
        assert "behind that of Postgres" in problem
        assert 0 < seconds <= 30
        behind = timedelta()
        await house.fetch("UPDATE jobs SET due_at = now()")
        await eventually(lambda: diary.entries)
        await eventually(lambda: nothing_left(house))
