"""Where the band plays: child processes with limits on time and memory, each for one job."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path

import msgspec
import structlog

import adapters
from adapters.band.worker import (
    Convert,
    Finished,
    Job,
    Message,
    Piece,
    Play,
    PlayStems,
    Reached,
    Refused,
    Stumbled,
)
from adapters.ears.worker import PREFIX
from adapters.launcher import can_shut_in
from adapters.provides import provides
from commands.beats import ports
from commands.beats.ports import PlayedTrack, Tell, Unplayable
from commands.beats.settings import Generation
from domain.beats.beats import Brief

log = structlog.get_logger(__name__)

#: A piece of a WAV is half a megabyte.
_MESSAGE_BYTES_MAX = 16 * 1024 * 1024
_MESSAGES: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)

TOOK_TOO_LONG = "It took too long and was stopped."
NOT_CONFINED = "The machine that makes beats cannot keep them apart (its kernel has no Landlock), and has to."


class ChildDied(Exception):
    """A child ended without a word, of which somebody else may be the cause; another attempt may go well."""

    def __init__(self, status: int | None) -> None:
        super().__init__(f"the child ended with status {status}")


class Studio(ports.Band):
    """Does each job in a child of its own, which inherits no environment and so no secret.

    A child that crashes, exceeds a limit or is no longer wanted is killed; nothing it does can reach this process but
    its messages, and the files in its folder.
    """

    def __init__(
        self, *, memory_bytes: int, cpu_seconds: int, wall_seconds: float, landlock_is_required: bool = False
    ) -> None:
        self._memory_bytes = memory_bytes
        self._cpu_seconds = cpu_seconds
        self._wall_seconds = wall_seconds
        self._landlock_is_required = landlock_is_required
        self._has_warned = False

    async def play(self, brief: Brief, track: int, folder: Path, tell: Tell) -> PlayedTrack:
        """Make the first or second track of a brief in a folder; raises Unplayable."""
        job = Play(brief=brief, track=track, folder=str(folder), cpu_seconds=self._cpu_seconds)
        async with aclosing(self._said(job)) as said:
            async for message in said:
                match message:
                    case Reached(stage=stage):
                        await tell(stage)
                    case Finished(track=PlayedTrack() as played):
                        _check_left(folder, [each.name for each in played.files])
                        return played
        raise ChildDied(None)

    async def stems(self, score: Path, folder: Path) -> Sequence[str]:
        """Play a score part by part, into WAV files whose names are returned; raises Unplayable."""
        job = PlayStems(score=str(score), folder=str(folder), cpu_seconds=self._cpu_seconds)
        async with aclosing(self._said(job)) as said:
            async for message in said:
                if isinstance(message, Finished):
                    _check_left(folder, [f"{name}.wav" for name in message.stems])
                    return message.stems
        raise ChildDied(None)

    async def to_wav(self, path: Path) -> AsyncIterator[bytes]:
        """A recording as WAV, 44.1 kHz and 16 bits, piece by piece; raises Unplayable."""
        async with aclosing(self._said(Convert(path=str(path), cpu_seconds=self._cpu_seconds))) as said:
            async for message in said:
                if isinstance(message, Piece):
                    yield message.data

    async def _said(self, job: Job) -> AsyncGenerator[Message, None]:
        """What the child of a job says; Unplayable for what it refuses, or when it takes too long."""
        self._look_at_the_kernel()
        process = await self._start()
        try:
            async with asyncio.timeout(self._wall_seconds):
                async for message in self._conversation(process, job):
                    match message:
                        case Refused(sentence=sentence):
                            raise Unplayable(sentence)
                        case Stumbled(trace=trace):
                            log.error("band.stumbled", job=type(job).__name__, trace=trace)
                            raise ChildDied(process.returncode)
                    yield message
                    if isinstance(message, Finished):
                        return
        except TimeoutError as slow:
            raise Unplayable(TOOK_TOO_LONG) from slow
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.MsgspecError) as loss:
            await _end(process)
            log.warning("band.child_died", job=type(job).__name__, status=process.returncode)
            if process.returncode == -signal.SIGXCPU:
                raise Unplayable(TOOK_TOO_LONG) from loss
            raise ChildDied(process.returncode) from loss
        finally:
            # Shielded, so that a job cancelled twice still leaves no process behind.
            await asyncio.shield(_end(process))

    def _look_at_the_kernel(self) -> None:
        """Say once that a child could reach what its user may, or refuse to start any; raises Unplayable."""
        if can_shut_in():
            return
        if self._landlock_is_required:
            log.error("band.landlock_missing", setting="LEDGERLINE_GENERATION_LANDLOCK=required")
            raise Unplayable(NOT_CONFINED)
        if not self._has_warned:
            log.warning("band.landlock_missing", setting="LEDGERLINE_GENERATION_LANDLOCK=preferred")
            self._has_warned = True

    async def _start(self) -> asyncio.subprocess.Process:
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": str(Path(adapters.__file__).parent.parent),
            # One core a track: many tracks share the cores better than one does, and limits stay meaningful.
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-m", "adapters.band.worker", str(self._memory_bytes)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment,
            cwd="/",
        )

    async def _conversation(self, process: asyncio.subprocess.Process, job: Job) -> AsyncIterator[Message]:
        assert process.stdin is not None
        assert process.stdout is not None
        body = msgspec.msgpack.encode(job)
        process.stdin.write(PREFIX.pack(len(body)) + body)
        await process.stdin.drain()
        while True:
            size = PREFIX.unpack(await process.stdout.readexactly(PREFIX.size))[0]
            if size > _MESSAGE_BYTES_MAX:
                raise ConnectionError("the child speaks nonsense")
            yield _MESSAGES.decode(await process.stdout.readexactly(size))


def _check_left(folder: Path, names: Sequence[str]) -> None:
    """Refuse what a child says to have left in its folder and has not: a link would lead us to other files."""
    for name in names:
        path = folder / name
        if path.parent != folder or path.is_symlink() or not path.is_file():
            raise ChildDied(None)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process at once and see it gone."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    if process.stdin is not None:
        process.stdin.close()
    await process.wait()


@provides
def studio(settings: Generation) -> Studio:
    """Where the band plays."""
    return Studio(
        memory_bytes=settings.generation_memory_bytes_max,
        cpu_seconds=settings.generation_cpu_seconds_max,
        wall_seconds=settings.generation_wall_seconds_max,
        landlock_is_required=settings.generation_landlock == "required",
    )
