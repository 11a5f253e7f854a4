"""Long looks in a process of their own, so that whoever asked for one goes on answering others."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator

from msgspec import json

from domain.kernel import Conflict
from domain.sections import Sections

#: Between two signs of life on a connection over which nothing else goes.
SIGN_SECONDS = 10.0
_LINE_BYTES_MAX = 1 << 20


class OneAtATime(Conflict):
    """Somebody has everything looked through here already. Wait for that, or ask another process."""


_at_it = asyncio.Lock()


async def done_apart(settings: Sections, *words: str) -> AsyncGenerator[bytes, None]:
    """The lines that a command writes with `--json`, each as soon as it is known, and empty ones meanwhile.

    `words` are those after `ledgerline`; they are ours, and end where options of somebody else's would begin. Raises
    OneAtATime with the first line. Whoever stops listening ends it. Where it did not come to its end, the last line
    says so (`{"problem"}`).
    """
    if _at_it.locked():
        raise OneAtATime
    async with _at_it:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "infra.cli", *words, "--json",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, **settings.environment()}, limit=_LINE_BYTES_MAX,
        )  # fmt: skip
        assert process.stdout is not None
        coming = asyncio.ensure_future(process.stdout.readline())
        try:
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
            if (status := await process.wait()) not in (0, 1):
                yield json.encode({"problem": f"It came to no end: exit status {status}; see the log."}) + b"\n"
        finally:
            coming.cancel()
            if process.returncode is None:
                process.kill()
                await process.wait()
