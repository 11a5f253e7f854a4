"""What the process that plays, and the one that decodes foreign bytes, may touch: their own files and nobody else's."""

from __future__ import annotations

import io
import subprocess
import sys
from functools import partial
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from adapters import launcher, readiness
from adapters.band import studio as studio_module
from adapters.band import worker
from adapters.band.studio import ChildDied, Studio
from adapters.band.worker import Convert, Finished, Job, Play, PlayStems
from adapters.ears.worker import PREFIX
from adapters.launcher import landlock_version
from commands.beats.ports import PlayedFile, PlayedTrack, Unplayable
from domain.beats.beats import Brief, Stage

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not landlock_version(), reason="this kernel has no Landlock"
)

#: Each line is tried by itself, and what came of it is printed.
TRIES = """
import os
from pathlib import Path
from adapters.band.worker import *
shut_in({job!r})
for attempt in {attempts!r}:
    try:
        exec(attempt)
    except PermissionError:
        print("refused")
    else:
        print("done")
"""


def tried(job: Job, *attempts: str) -> list[str]:
    """What comes of some lines of Python in the process of a job."""
    script = TRIES.format(job=job, attempts=attempts)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True, timeout=60)
    return ran.stdout.split()


def test_what_plays_writes_into_its_folder_and_nowhere_else(tmp_path: Path) -> None:
    own, others = tmp_path / "own", tmp_path / "others"
    own.mkdir()
    others.mkdir()
    (others / "secret").write_text("hush")
    for job in (
        Play(brief=Brief(genre="Trap"), track=1, folder=str(own), cpu_seconds=1),
        PlayStems(score=str(others / "score.json"), folder=str(own), cpu_seconds=1),
    ):
        assert tried(
            job,
            f"Path({str(own / 'a')!r}).write_text('x')",
            f"Path({str(own / 'a')!r}).unlink()",
            f"Path({str(others / 'new')!r}).write_text('x')",
            f"Path({str(others / 'secret')!r}).read_text()",
            f"Path({str(others / 'secret')!r}).unlink()",
            f"os.rename({str(others / 'secret')!r}, {str(own / 'b')!r})",
            f"os.listdir({str(others)!r})",
            "Path('/tmp/of-a-beat').write_text('x')",
        ) == ["done", "done", *["refused"] * 6], type(job).__name__
    assert (others / "secret").read_text() == "hush"


def test_what_decodes_reads_the_recording_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "song").write_bytes(b"la")
    (tmp_path / "secret").write_text("hush")
    assert tried(
        Convert(path=str(tmp_path / "song"), cpu_seconds=1),
        f"Path({str(tmp_path / 'song')!r}).read_bytes()",
        f"Path({str(tmp_path / 'song')!r}).write_bytes(b'')",
        f"Path({str(tmp_path / 'secret')!r}).read_text()",
        f"Path({str(tmp_path / 'new')!r}).write_text('x')",
        "Path('/etc/passwd').read_text()",
        "Path('pyproject.toml').read_text()",
        "import av.subtitles, numpy.random",
    ) == ["done", *["refused"] * 5, "done"]


def test_whoever_does_a_job_is_confined_before(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    for name in ("confine", "shut_in", "allow"):
        monkeypatch.setattr(worker, name, lambda *_, name=name: done.append(name))

    def do(*_: object) -> Finished:
        done.append("do")
        return Finished()

    monkeypatch.setattr(worker, "do", do)
    body = msgspec.msgpack.encode(Convert(path="song", cpu_seconds=1))
    worker.serve(io.BytesIO(PREFIX.pack(len(body)) + body), io.BytesIO(), 2**30)
    assert done == ["confine", "shut_in", "allow", "do"]


@pytest.mark.parametrize("name", ["../secret", "link", "missing", "sub/file"])
async def test_what_a_child_says_to_have_left_is_looked_at(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    (own / "sub").mkdir(parents=True)
    for path in (tmp_path / "secret", own / "sub" / "file"):
        path.write_text("hush")
    (own / "link").symlink_to(tmp_path / "secret")
    file = PlayedFile(kind="audio", name=name, ending=".mp3", content_type="audio/mpeg")
    track = PlayedTrack(title="T", model_name="m", bpm=90, musical_key="C Major", duration_seconds=1.0, files=(file,))

    async def said(*_: object) -> object:
        yield Finished(track=track)

    async def tell(_: Stage) -> None: ...

    studio = Studio(memory_bytes=2**31, cpu_seconds=10, wall_seconds=10)
    monkeypatch.setattr(studio, "_said", said)
    with pytest.raises(ChildDied):
        await studio.play(Brief(genre="Trap"), 1, own, tell)


async def test_without_landlock_beats_are_made_and_it_is_said_once_or_none_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio_module, "can_shut_in", lambda: False)
    within = partial(Studio, memory_bytes=2**31, cpu_seconds=20, wall_seconds=60)
    (tmp_path / "silence").write_bytes(b"no audio")

    async def converts(studio: Studio) -> str:
        with pytest.raises(Unplayable) as refused:
            _ = [piece async for piece in studio.to_wav(tmp_path / "silence")]
        return str(refused.value)

    with capture_logs() as said:
        strict = within(landlock_is_required=True)
        assert await converts(strict) == studio_module.NOT_CONFINED
        assert [(each["event"], each["log_level"]) for each in said] == [("band.landlock_missing", "error")]
        said.clear()
        lenient = within()
        for _ in range(2):
            assert "damaged" in await converts(lenient)
        assert [(each["event"], each["log_level"]) for each in said] == [("band.landlock_missing", "warning")]


def test_whether_the_kernel_has_it_is_told_where_readiness_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert readiness._landlock() == "ok"
    monkeypatch.setattr(launcher, "landlock_version", lambda: 0)
    assert readiness._landlock() == "away"
