"""Logs of builds in memory: pieces that are sent again, in other lengths, by whoever has heard no answer."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.storage.memory import MemoryBlobs
from api.builds import logs, runners
from commands.builds.ports import Chunk
from domain.builds.builds import Build


class Behind:
    """One job's log whose length everybody has asked for before anything was in it."""

    def __init__(self) -> None:
        self.kept: list[Chunk] = []

    async def of(self, _: str) -> list[Any]:
        return [SimpleNamespace(platform="linux", log_bytes=0)]

    async def add_chunk(self, build_id: str, platform: str, fence: int, chunk: Chunk) -> int:
        end = sum(each.size for each in self.kept)
        if chunk.start == end:
            self.kept.append(chunk)
        return sum(each.size for each in self.kept)

    async def chunks(self, build_id: str, platform: str, start: int) -> Sequence[Chunk]:
        return [each for each in self.kept if each.start + each.size > start]


@pytest.mark.parametrize("sent", [(b"first", b"first and"), (b"first and", b"first")], ids=["longer", "shorter"])
async def test_what_is_sent_again_at_once_in_another_length_neither_doubles_nor_is_lost(
    sent: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def held(*_: object) -> tuple[object, ...]:
        return "B", "linux", Build(workspace_id="w1"), None

    monkeypatch.setattr(runners, "_held", held)
    ports: Any = SimpleNamespace(jobs=Behind(), blobs=MemoryBlobs(), settings=SimpleNamespace(build_log_bytes_max=99))

    async def send(offset: int, text: bytes) -> int:
        async def body() -> bytes:
            return text

        request: Any = SimpleNamespace(body=body)
        size: int = (await runners.append_log.fn(request, "B-linux", ports, offset, 1)).size
        return size

    assert await send(0, sent[0]) == await send(0, sent[1]) == len(sent[0])
    assert b"".join([each async for each in logs._text(ports, "B", "linux", 0)]) == sent[0]
    assert b"".join([each async for each in logs._text(ports, "B", "linux", 3)]) == sent[0][3:]


async def test_no_more_of_a_piece_is_read_than_is_in_the_log() -> None:
    """Where two lengths of one piece lie under one key, as they once did."""
    blobs, jobs = MemoryBlobs(), Behind()
    await blobs.put_bytes("k", b"first and", content_type="text/plain")
    jobs.kept = [Chunk(start=0, size=5, object_key="k")]
    ports: Any = SimpleNamespace(jobs=jobs, blobs=blobs)

    assert b"".join([each async for each in logs._text(ports, "B", "linux", 2)]) == b"rst"
