"""Foreign files are heard in a child process, and whatever happens there stays there."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from adapters.ears import engine, worker
from adapters.ears.listening import BROKE_THE_DECODER, OUR_FAULT, TOOK_TOO_LONG, Ears
from adapters.ears.worker import PREFIX, TOO_MUCH_MEMORY, Job, Message, Ready, Refused, Stumbled
from domain.analyses.findings import Unreadable
from tests.ears.sounds import chords, encode, sine, write_wav


@pytest.fixture(scope="session")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("sounds") / "song.wav", chords("C Am F G C F G C"))


@pytest.fixture(scope="session")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Long enough that its analysis takes seconds, quick to make."""
    return encode(tmp_path_factory.mktemp("sounds") / "long.flac", sine(440, 600, rate=8000), "flac", rate=8000)


@pytest.fixture
async def ears() -> AsyncIterator[Ears]:
    pair = Ears(workers=1)
    yield pair
    await pair.close()


def children() -> list[psutil.Process]:
    """The worker processes of this test run that still live."""
    mine = psutil.Process().children()
    with contextlib.suppress(psutil.NoSuchProcess):
        return [one for one in mine if one.status() != psutil.STATUS_ZOMBIE and "adapters.ears.worker" in one.cmdline()]
    return []


async def test_a_file_is_heard_and_progress_grows_to_the_end(ears: Ears, song: Path) -> None:
    told: list[float] = []
    analysis = await ears.listen(song, progress=told.append)
    assert (analysis.findings.key_notation, analysis.findings.duration_seconds) == ("C", 16.0)
    assert told == sorted(told)
    assert told[-1] == 1.0


async def test_a_child_stays_warm_for_the_next_file(ears: Ears, song: Path) -> None:
    await ears.listen(song)
    before = [child.pid for child in children()]
    await ears.listen(song)
    assert [child.pid for child in children()] == before
    assert len(before) == 1


async def test_what_is_no_sound_is_refused_in_a_sentence_and_the_child_lives_on(ears: Ears, tmp_path: Path) -> None:
    text = tmp_path / "song.mp3"
    text.write_text("These are words. " * 1000)
    for _ in range(2):
        with pytest.raises(Unreadable, match=r"^[A-Z].*\.$"):
            await ears.listen(text)
    assert len(children()) == 1


async def test_a_crash_is_tried_once_more(ears: Ears, song: Path) -> None:
    killed: list[int] = []

    def kill_once(_: float) -> None:
        if not killed:
            killed.append(children()[0].pid)
            os.kill(killed[0], signal.SIGSEGV)

    analysis = await ears.listen(song, progress=kill_once)
    assert analysis.findings.key == "C"
    assert killed[0] not in [child.pid for child in children()]


async def test_a_file_that_crashes_every_child_is_unreadable(ears: Ears, song: Path) -> None:
    deaths: list[int] = []

    def kill(_: float) -> None:
        for child in children():
            if child.pid not in deaths:
                deaths.append(child.pid)
                child.kill()

    with pytest.raises(Unreadable) as refusal:
        await ears.listen(song, progress=kill)
    assert refusal.value.sentence == BROKE_THE_DECODER
    assert len(deaths) == 2


async def test_processor_time_is_bounded(long: Path) -> None:
    ears = Ears(cpu_seconds=0)
    with pytest.raises(Unreadable) as refusal:
        await ears.listen(long)
    assert refusal.value.sentence == TOOK_TOO_LONG
    assert children() == []
    await ears.close()


async def test_waiting_time_is_bounded(ears: Ears, long: Path, song: Path) -> None:
    impatient = Ears(wall_seconds=0.05)
    with pytest.raises(Unreadable) as refusal:
        await impatient.listen(long)
    assert refusal.value.sentence == TOOK_TOO_LONG
    assert children() == []
    await impatient.close()


async def test_a_child_without_memory_harms_nobody(song: Path) -> None:
    poor = Ears(memory_bytes=64 * 1024**2)
    with pytest.raises(Unreadable):
        await poor.listen(song)
    await poor.close()
    assert children() == []


async def test_cancelling_a_job_ends_its_child(ears: Ears, long: Path, song: Path) -> None:
    begun = asyncio.Event()
    job = asyncio.create_task(ears.listen(long, progress=lambda _: begun.set()))
    await begun.wait()
    busy = children()
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert len(busy) == 1
    assert not busy[0].is_running()
    assert (await ears.listen(song)).findings.key == "C"


async def test_closing_ends_every_child(song: Path) -> None:
    ears = Ears(workers=2)
    await asyncio.gather(ears.listen(song), ears.listen(song))
    assert len(children()) == 2
    await ears.close()
    assert children() == []


async def test_a_child_is_replaced_after_its_share_of_jobs(song: Path) -> None:
    ears = Ears(jobs_per_worker=1)
    await ears.listen(song)
    assert children() == []
    await ears.close()


async def test_no_secret_of_ours_is_in_the_childs_environment(
    ears: Ears, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEDGERLINE_SIGNING_KEY", "hush")
    await ears.listen(song)
    assert set(children()[0].environ()) <= {"PATH", "PYTHONPATH", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "LC_CTYPE"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other kernels have no address-space limit")
def test_a_confined_process_can_neither_write_files_nor_take_much_memory(tmp_path: Path) -> None:
    script = f"""
from adapters.ears.worker import confine
confine(512 * 1024 ** 2)
try:
    with open({str(tmp_path / "out")!r}, "wb") as file:
        file.write(b"x" * 100_000)
except OSError:
    print("unwritten")
try:
    bytearray(1024 ** 3)
except MemoryError:
    print("no memory")
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True, timeout=60)
    assert ran.stdout.split("\n")[:2] == ["unwritten", "no memory"]


def answers_of(jobs: list[Job]) -> list[Message]:
    """What the worker's loop says to these jobs."""
    asked = b"".join(PREFIX.pack(len(body)) + body for body in map(msgspec.msgpack.encode, jobs))
    said = io.BytesIO()
    worker.serve(io.BytesIO(asked), said)
    said.seek(0)
    answers: list[Message] = []
    while prefix := said.read(PREFIX.size):
        answers.append(msgspec.msgpack.decode(said.read(PREFIX.unpack(prefix)[0]), type=Message))
    return answers


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [(MemoryError(), Refused, TOO_MUCH_MEMORY), (ZeroDivisionError("oh"), Stumbled, "ZeroDivisionError: oh")],
)
def test_the_worker_answers_every_fault_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, fault: Exception, kind: type[Refused | Stumbled], words: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise fault

    monkeypatch.setattr(engine, "analyse", fail)
    monkeypatch.setattr(worker, "allow", lambda _: None)
    answers = answers_of([Job(b"a", 1), Job(b"b", 1)])
    assert [type(answer) for answer in answers] == [Ready, kind, kind]
    assert all(words in str(answer) for answer in answers[1:])


async def test_a_fault_of_ours_is_told_apart_from_a_fault_of_the_file(
    ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stumble(*_: Any) -> Message:
        return Stumbled("Traceback ...")

    monkeypatch.setattr("adapters.ears.listening._Child.work", stumble)
    with pytest.raises(Unreadable) as refusal:
        await ears.listen(Path("song.wav"))
    assert refusal.value.sentence == OUR_FAULT
