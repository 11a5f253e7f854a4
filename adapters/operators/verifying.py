"""Everything that is kept, part by part: the log, the read models, the objects and the streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol, TypeVar, get_args

from msgspec import to_builtins

from adapters.log.eventlog import EventLog
from adapters.log.seals import seal_key
from adapters.log.settings import Sealing
from adapters.operators.findings import Finding, Part, Progress, nobody
from adapters.operators.folded import check_read_models
from adapters.operators.objects import check_objects
from adapters.operators.sealed_log import Witness, check_log
from adapters.operators.streamed import check_published, check_stream
from adapters.postgres.retrying import Pool
from adapters.postgres.settings import Postgres
from adapters.published import Envelopes
from adapters.storage.blobs import Blobs
from adapters.stream.bus import Bus
from adapters.subscribing.readers import Readers
from domain.kernel import Value

T = TypeVar("T")

PARTS: tuple[Part, ...] = get_args(Part)


class Provider(Protocol):
    """Gives parts of this process by their types, each made when somebody first asks for it."""

    async def get(self, kind: type[T]) -> T:
        """The part of a type."""


class Verified(Value):
    """What was looked at in a part, by the names of numbers, and what was found there."""

    part: Part
    looked_at: dict[str, Any]
    findings: tuple[Finding, ...]


def public_key(sealing: Sealing) -> bytes:
    """Whose signature under seals counts."""
    return seal_key(sealing.secret_key.reveal().encode()).public_key().public_bytes_raw()


async def verify(
    here: Provider,
    parts: Sequence[Part] = PARTS,
    *,
    key: bytes | None = None,
    witnesses: Sequence[Witness] = (),
    progress: Progress = nobody,
) -> AsyncIterator[Verified]:
    """Look at each part, one after the other. Raises what servers that are away make of it."""
    postgres, sealing = await here.get(Postgres), await here.get(Sealing)
    for part in parts:
        found: Any
        match part:
            case "log":
                signer = key or public_key(sealing)
                found = await asyncio.to_thread(
                    check_log, postgres.postgres_url, signer, witnesses=witnesses, progress=progress
                )
            case "read_models":
                found = await check_read_models(postgres.postgres_url, await here.get(EventLog), progress=progress)
            case "objects":
                found = await check_objects(await here.get(EventLog), await here.get(Blobs), progress=progress)
            case "stream":
                found = await check_stream(await here.get(EventLog), await here.get(Bus), progress=progress)
            case "published":
                found = await check_published(
                    await here.get(EventLog),
                    await here.get(Bus),
                    await here.get(Pool),
                    await here.get(Envelopes),
                    await here.get(Readers),
                    progress=progress,
                )
        numbers: dict[str, Any] = to_builtins(found)
        del numbers["findings"]
        yield Verified(part=part, looked_at=numbers, findings=found.findings)
