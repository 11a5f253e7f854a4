"""Logs of builds in memory: pieces that are sent again, in other lengths, by whoever has heard no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from adapters.readmodels.followers import Followers, TooManyFollowers
from adapters.storage.memory import MemoryBlobs
from api.auth import Asker, MissingOrInvalidKey
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


class Reading:
    """Somebody who reads the log of a build along that goes on for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float = 600.0, *, places: int = 16) -> None:
        monkeypatch.setattr(logs, "LOOK_SECONDS", 0.01)
        self.jobs, self.blobs = Behind(), MemoryBlobs()
        self.may = True
        nothing: Any = None
        self.followers = Followers(nothing, nothing, places)
        self.ports: Any = SimpleNamespace(
            log=self,
            jobs=self.jobs,
            blobs=self.blobs,
            followers=self.followers,
            reading=SimpleNamespace(stream_seconds_max=seconds),
        )
        self.asker = Asker(
            workspace_id="w1", person_id="p", actor="person:p", scopes=(), correlation_id=UUID(int=1), again=self._again
        )

    async def _again(self) -> Asker:
        if not self.may:
            raise MissingOrInvalidKey
        return self.asker

    async def state(self, *_: object) -> Build:
        """The build, which is not over."""
        return Build(workspace_id="w1", status="running", platforms=("linux",))

    async def print(self, text: bytes) -> None:
        """One more piece."""
        size = sum(each.size for each in self.jobs.kept)
        await self.blobs.put_bytes(f"k{size}", text, content_type="text/plain")
        self.jobs.kept.append(Chunk(start=size, size=len(text), object_key=f"k{size}"))

    async def stream(self, **scope: bool) -> AsyncIterator[bytes]:
        """Its answer as Server-Sent Events."""
        request: Any = SimpleNamespace(headers={"accept": "text/event-stream"}, scope=scope)
        answer = await logs.get_build_log.fn(request, "B", self.ports, self.asker)
        told: AsyncIterator[bytes] = answer.iterator
        return told


async def to_its_end(stream: AsyncIterator[bytes]) -> list[bytes]:
    async with asyncio.timeout(20):
        return [each async for each in stream]


async def test_whoever_may_read_no_more_reads_no_more_of_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = Reading(monkeypatch)
    await reading.print(b"before")
    stream = await reading.stream()
    assert b'"text":"before"' in await anext(stream)
    reading.may = False
    await reading.print(b"after")
    assert await to_its_end(stream) == [b": Missing or invalid API key.\n\n"]


async def test_the_stream_of_a_log_ends_with_its_process_and_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = Reading(monkeypatch)
    await reading.print(b"before")
    stream = await reading.stream()
    await anext(stream)
    reading.followers.end()
    last = [b": this stream ends here, come again\n\n"]
    assert await to_its_end(stream) == last
    assert await to_its_end(await Reading(monkeypatch, 0.05).stream()) == last


async def test_the_streams_of_logs_take_places_among_all_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = Reading(monkeypatch, places=8)
    await reading.print(b"before")
    stream = await reading.stream()
    await anext(stream)
    with pytest.raises(TooManyFollowers):
        await reading.stream()
    reading.may = False
    await to_its_end(stream)
    reading.may = True
    await anext(await reading.stream())


async def test_only_the_head_of_a_stream_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not await Reading(monkeypatch).stream(is_head=True)
