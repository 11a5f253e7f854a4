"""Listening to foreign files without being harmed by them: a small pool of confined child processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

import adapters
from adapters.ears.worker import PREFIX, Heard, Job, Message, Progress, Ready, Refused, Stumbled
from adapters.provides import provides
from commands.analyses import ports
from commands.analyses.settings import Listening
from domain.analyses.findings import Analysis, Unreadable

log = structlog.get_logger(__name__)

#: No honest analysis is larger; a child that claims so has been taken over.
_MESSAGE_BYTES_MAX = 256 * 1024 * 1024

_MESSAGES: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)

TOOK_TOO_LONG = "The analysis of this file took too long and was stopped."
BROKE_THE_DECODER = "This file breaks the audio decoder; it is damaged, or not what it claims to be."
OUR_FAULT = "The analysis of this file failed for a reason that is ours; it has been noted."


def shown(path: Path | str) -> str:
    """The name of a file as text: bytes that stand for no character, as in old names, are written as `\\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class Ears(ports.Ears):
    """Analyses files in child processes that stay warm between jobs, `workers` at a time.

    A child that crashes, exceeds a limit or is no longer wanted is killed and replaced; nothing it does can reach this
    process but one message. Children inherit no environment, so no secret is within a hostile file's reach.
    """

    def __init__(
        self,
        *,
        workers: int = 1,
        memory_bytes: int = 3 * 1024**3,
        cpu_seconds: int = 600,
        wall_seconds: float = 1200.0,
        jobs_per_worker: int = 200,
    ) -> None:
        self._here = Path.cwd()
        self._memory_bytes = memory_bytes
        self._cpu_seconds = cpu_seconds
        self._wall_seconds = wall_seconds
        self._jobs_per_worker = jobs_per_worker
        self._turn = asyncio.Semaphore(workers)
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()
        self._closed = False

    async def listen(self, path: Path, *, progress: Callable[[float], None] | None = None) -> Analysis:
        """What this file sounds like; `Unreadable` says why it cannot be told.

        A crash is tried once more in a fresh child, for it may have been another's fault (the kernel short of memory).
        """
        async with self._turn:
            for last in (False, True):
                try:
                    return await self._attempt(path, progress)
                except _ChildDied as death:
                    log.warning("ears.child_died", status=death.status, will_retry=not last)
                    if death.status == -signal.SIGXCPU:
                        raise Unreadable(TOOK_TOO_LONG) from death
        raise Unreadable(BROKE_THE_DECODER)

    async def close(self) -> None:
        """End all children. Jobs in progress are given up."""
        self._closed = True
        children = [*self._idle, *self._busy]
        self._idle.clear()
        self._busy.clear()
        for child in children:
            await child.kill()

    async def _attempt(self, path: Path, progress: Callable[[float], None] | None) -> Analysis:
        child = await self._hire()
        well = False
        try:
            async with asyncio.timeout(self._wall_seconds):
                answer = await child.work(Job(os.fsencode(self._here / path), self._cpu_seconds), progress)
            well = True
        except TimeoutError as slow:
            raise Unreadable(TOOK_TOO_LONG) from slow
        finally:
            self._busy.discard(child)
            if well and child.jobs < self._jobs_per_worker and not self._closed:
                self._idle.append(child)
            else:
                # Shielded, so that a job cancelled twice still leaves no process behind.
                await asyncio.shield(child.kill())
        match answer:
            case Heard(analysis=analysis):
                return analysis
            case Refused(sentence=sentence):
                raise Unreadable(sentence)
            case Stumbled(trace=trace):
                log.error("ears.stumbled", path=str(path), trace=trace)
        raise Unreadable(OUR_FAULT)

    async def _hire(self) -> _Child:
        child = self._idle.pop() if self._idle else await _Child.start(self._memory_bytes)
        self._busy.add(child)
        return child


class _ChildDied(Exception):
    def __init__(self, status: int | None) -> None:
        self.status = status
        super().__init__(f"the child ended with status {status}")


class _Child:
    """One worker process and its two pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ready = False
        self.jobs = 0

    @classmethod
    async def start(cls, memory_bytes: int) -> _Child:
        """A new process, already importing; its first job waits until it is ready."""
        root = Path(adapters.__file__).parent.parent
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": str(root),
            # One core a file: many files share the cores better than one file does, and limits stay meaningful.
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                *("-P", "-m", "adapters.ears.worker", str(memory_bytes)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=environment,
                cwd="/",
            )
        )

    async def work(self, job: Job, progress: Callable[[float], None] | None) -> Message:
        """The answer to one job; `_ChildDied` if there is none."""
        self.jobs += 1
        body = msgspec.msgpack.encode(job)
        try:
            while not self._ready:
                self._ready = isinstance(await self._hear(), Ready)
            assert self._process.stdin is not None
            self._process.stdin.write(PREFIX.pack(len(body)) + body)
            await self._process.stdin.drain()
            while True:
                message = await self._hear()
                if not isinstance(message, Progress):
                    return message
                if progress is not None:
                    progress(message.share)
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.MsgspecError) as loss:
            await self.kill()
            raise _ChildDied(self._process.returncode) from loss

    async def _hear(self) -> Message:
        assert self._process.stdout is not None
        size = PREFIX.unpack(await self._process.stdout.readexactly(PREFIX.size))[0]
        if size > _MESSAGE_BYTES_MAX:
            raise ConnectionError("the child speaks nonsense")
        return _MESSAGES.decode(await self._process.stdout.readexactly(size))

    async def kill(self) -> None:
        """End the process at once and see it gone."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()


@provides
def ears(settings: Listening) -> Ears:
    """Children that listen."""
    return Ears(
        workers=settings.analysis_processes,
        memory_bytes=settings.analysis_memory_bytes_max,
        cpu_seconds=settings.analysis_cpu_seconds_max,
        wall_seconds=settings.analysis_wall_seconds_max,
    )
