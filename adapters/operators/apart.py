"""Long looks in a process of their own, so that whoever asked for one goes on answering others."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Sequence

from msgspec import json

from domain.kernel import Conflict
from domain.sections import Sections

#: Between two signs of life on a connection over which nothing else goes.
SIGN_SECONDS = 10.0
_LINE_BYTES_MAX = 1 << 20


class BeingVerified(Conflict):
    """Somebody has it verified here already. Wait for that, or ask another process."""


_at_it = asyncio.Lock()


async def verified_apart(settings: Sections, parts: Sequence[str]) -> AsyncGenerator[bytes, None]:
    """The lines that `ledgerline verify --json` writes, each as soon as it is known, and empty ones meanwhile.

    Raises BeingVerified with the first. Whoever stops listening ends it. Where it could not be looked, the last line
    says so (`{"problem"}`).
    """
    if _at_it.locked():
        raise BeingVerified
    async with _at_it:
        words = [word for part in parts for word in ("--only", part)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "infra.cli", "verify", "--json", *words,
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
                yield json.encode({"problem": f"It could not be verified: exit status {status}; see the log."}) + b"\n"
        finally:
            coming.cancel()
            if process.returncode is None:
                process.kill()
                await process.wait()
