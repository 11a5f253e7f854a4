"""Long looks in a process of their own, so that whoever asked for one goes on answering others."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress

import structlog
from msgspec import json

from domain.kernel import Conflict
from domain.sections import Sections

log = structlog.get_logger(__name__)

#: Between two signs of life on a connection over which nothing else goes.
SIGN_SECONDS = 10.0
_LINE_BYTES_MAX = 1 << 20
#: How `infra.cli` begins what it complains of.
_COMPLAINT = b"ledgerline: "
#: How Python begins what it says of a mistake, of which so much is written down.
_MISTAKE = b"Traceback (most recent call last):"
_MISTAKE_BYTES_MAX = 16 * 1024


class OneAtATime(Conflict):
    """Somebody has everything looked through here already. Wait for that, or ask another process."""


_at_it = asyncio.Lock()


async def done_apart(settings: Sections, *words: str, said: str = "") -> AsyncGenerator[bytes, None]:
    """The lines that a command writes with `--json`, each as soon as it is known, and empty ones meanwhile.

    `words` are those after `ledgerline`; they are ours, and end where options of somebody else's would begin. What is
    `said` is its input, which no list of processes shows. Raises OneAtATime with the first line. Whoever stops
    listening ends it. Where it failed, the last line says why (`{"problem"}`).
    """
    if _at_it.locked():
        raise OneAtATime
    async with _at_it:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "infra.cli", *words, "--json",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **settings.environment()}, limit=_LINE_BYTES_MAX,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        complaint = asyncio.ensure_future(_complaint(process.stderr))
        coming = asyncio.ensure_future(process.stdout.readline())
        try:
            with suppress(RuntimeError):  # it may have ended before it is told anything
                process.stdin.write(said.encode())
                process.stdin.close()
            while True:
                done, _ = await asyncio.wait({coming}, timeout=SIGN_SECONDS)
                if not done:
                    yield b"\n"
                    continue
                line = coming.result()
                if not line:
                    break
                yield line
                coming = asyncio.ensure_future(process.stdout.readline())
            status, (sentence, mistake) = await process.wait(), await complaint
            if mistake:
                log.error("apart.broken", command=words[0], exception=mistake)
            if status and sentence:
                yield json.encode({"problem": sentence}) + b"\n"
            elif mistake or status not in (0, 1):
                yield json.encode({"problem": f"It came to no end: exit status {status}; see the log."}) + b"\n"
        finally:
            coming.cancel()
            complaint.cancel()
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _complaint(told: asyncio.StreamReader) -> tuple[str, str]:
    """The sentence with which a command ends that failed, and the traceback of a mistake of ours, where there are any.

    Everything else that it tells people is read and let go.
    """
    sentence, mistake = "", b""
    while True:
        try:
            line = await told.readuntil()
        except asyncio.LimitOverrunError as endless:
            await told.readexactly(endless.consumed)
            continue
        except asyncio.IncompleteReadError as end:
            line = end.partial
        if line.startswith(_COMPLAINT):
            sentence = line.removeprefix(_COMPLAINT).decode(errors="replace").strip()
        elif mistake or line.startswith(_MISTAKE):
            mistake = (mistake + line)[-_MISTAKE_BYTES_MAX:]
        if not line.endswith(b"\n"):
            return sentence, mistake.decode(errors="replace").strip()
