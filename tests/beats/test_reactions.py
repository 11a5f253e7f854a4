"""What follows when beats are to be made: again after a crash, once, and nothing for nobody."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from commands.beats.beats import CancelGenerations
from commands.beats.ports import Declined, NotTaken, Outcome, PlayedTrack, Task, Tell, Unplayable
from commands.beats.reactions import (
    convert_to_wav,
    expire_files,
    fetch_files,
    follow_task,
    forget_beats,
    hear_version,
    keep_files,
    make_beat,
    render_stems,
    submit_generation,
)
from commands.identity.teams import ForgetWorkspace
from commands.kernel import REACTIONS, Command, Reaction
from domain.beats.beats import (
    Brief,
    DownloadRequested,
    FilesNotStored,
    FilesStored,
    GenerationAdvanced,
    GenerationCompleted,
    GenerationFailed,
    GenerationRequested,
    StemsRequested,
    SubmissionBegun,
    SubmissionRefused,
    TaskAccepted,
    TaskAsked,
    VersionCompleted,
    VersionHeard,
    WavRequested,
    WavStored,
)
from domain.identity.workspaces import WorkspaceForgotten
from domain.kernel import Event
from projections.beats.beats import BeatDocument, beat_documents
from tests.beats.examples import audio, created, elsewhere, played, score, stems_wanted, wav_wanted
from tests.identity.examples import ada
from tests.scene import Label, Players, Scene
from tests.spec import CONTEXT, NOW

SONG = "https://example.com/a.mp3"


def scene(**parts: Any) -> Scene:
    made = Scene(now=NOW, context=CONTEXT, **parts)
    made.web.files[SONG] = (b"a song", "audio/mpeg")
    return made


def kinds(there: Scene) -> Counter[type[Event]]:
    return Counter(type(each.event) for each in there.log.all)


def shown(there: Scene) -> BeatDocument:
    found = beat_documents.fold("beat-1", [each.event for each in there.log.all])
    assert found is not None
    return found


async def keys_of(there: Scene) -> list[str]:
    return [each.key async for each in there.blobs.list("beats/")]


class Fragile(Players):
    """Dies with the second track, the first time."""

    def __init__(self) -> None:
        self.played: list[int] = []

    async def play(self, brief: Brief, track: int, folder: Path, tell: Tell) -> PlayedTrack:
        """Or not."""
        self.played.append(track)
        if self.played.count(2) == 1 and track == 2:
            await tell("rendering")
            raise RuntimeError("killed")
        return await super().play(brief, track, folder, tell)


async def test_what_died_in_the_middle_starts_again_leaves_what_is_there_and_ends_once() -> None:
    band = Fragile()
    there = scene(band=band)
    await there.when(created)
    asked = there.last(GenerationRequested)
    with pytest.raises(RuntimeError):
        await there.follows(make_beat, asked)
    assert [each.status for each in shown(there).versions] == ["completed"]

    await there.follows(make_beat, asked)
    await there.follows(make_beat, asked)
    assert band.played == [1, 2, 2]
    found = kinds(there)
    assert (found[VersionCompleted], found[GenerationCompleted]) == (2, 1)
    assert len(await keys_of(there)) == 2
    assert [(each.number, each.track) for each in shown(there).versions] == [(1, 1), (2, 2)]


class Slow(Players):
    """Never ends by itself, and says what became of it."""

    def __init__(self, meanwhile: Callable[[], Awaitable[object]]) -> None:
        self._meanwhile = meanwhile
        self.ended = False

    async def play(self, brief: Brief, track: int, folder: Path, tell: Tell) -> PlayedTrack:
        """Or not."""
        await tell("rendering")
        await self._meanwhile()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True
        raise AssertionError


async def test_what_nobody_wants_any_more_is_ended_while_it_is_made() -> None:
    there = scene()
    band = Slow(lambda: there.when(CancelGenerations(beat_id="beat-1", workspace_id="w1")))
    there.band = band
    await there.when(created)
    await asyncio.wait_for(there.follows(make_beat, there.last(GenerationRequested)), 10)

    assert band.ended
    found = kinds(there)
    assert not found[VersionCompleted]
    assert not found[GenerationCompleted]
    assert await keys_of(there) == []
    assert shown(there).status == "pending"


class LastMoment(Players):
    """Plays, and something happens just before it is written down."""

    def __init__(self, meanwhile: Callable[[], Awaitable[object]]) -> None:
        self._meanwhile = meanwhile

    async def play(self, brief: Brief, track: int, folder: Path, tell: Tell) -> PlayedTrack:
        """Then it happens."""
        played = await super().play(brief, track, folder, tell)
        await self._meanwhile()
        return played


async def test_what_is_cancelled_or_forgotten_at_the_last_moment_leaves_no_files() -> None:
    for wish in (CancelGenerations(beat_id="beat-1", workspace_id="w1"), ForgetWorkspace(workspace_id="w1", by="ada")):
        there = scene()
        there.band = LastMoment(lambda there=there, wish=wish: there.when(wish))  # type: ignore[misc]
        await there.when(ada)
        await there.when(created)
        await there.follows(make_beat, there.last(GenerationRequested))
        assert await keys_of(there) == [], type(wish).__name__


async def test_what_cannot_be_played_fails_with_its_reason() -> None:
    class Unable(Players):
        async def play(self, brief: Brief, track: int, folder: Path, tell: Tell) -> PlayedTrack:
            raise Unplayable("Nobody here plays Polka.")

    there = scene(band=Unable())
    await there.when(created)
    await there.follows(make_beat, there.last(GenerationRequested))
    assert (shown(there).status, shown(there).versions[0].problem) == ("failed", "Nobody here plays Polka.")


async def test_stages_are_told_while_it_is_made() -> None:
    there = scene()
    await there.when(created)
    await there.follows(make_beat, there.last(GenerationRequested))
    told = [each.event for each in there.log.all if isinstance(each.event, GenerationAdvanced)]
    assert [(each.track, each.stage) for each in told] == [(1, "composing"), (2, "composing")]


async def test_forgetting_a_workspace_deletes_its_files_and_nobody_else_s() -> None:
    there = scene()
    await there.when(ada)
    await there.when(created)
    await there.follows(make_beat, there.last(GenerationRequested))
    await there.blobs.put_bytes("beats/w2/other/v/a.mp3", b"x", content_type="audio/mpeg")
    await there.when(ForgetWorkspace(workspace_id="w1", by="ada"))
    await there.follows(forget_beats, there.last(WorkspaceForgotten))
    assert await keys_of(there) == ["beats/w2/other/v/a.mp3"]


# --- a provider -------------------------------------------------------------------------------------------------------


class Counting(Label):
    """Counts what it is handed, and does what it is told first."""

    def __init__(self, *first: Exception) -> None:
        self._first = list(first)
        self.taken: list[Task] = []
        self.outcome: Outcome | None = None

    async def submit(self, task: Task) -> str:
        """Take it, or not."""
        if self._first:
            raise self._first.pop(0)
        self.taken.append(task)
        return await super().submit(task)

    async def look(self, task_id: str) -> Outcome:
        """As it stands."""
        return self.outcome or await super().look(task_id)


async def submitted(there: Scene, *expected: type[Exception]) -> None:
    asked = there.last(GenerationRequested)
    for kind in expected:
        with pytest.raises(kind):
            await there.follows(submit_generation, asked)
    await there.follows(submit_generation, asked)


async def test_what_was_certainly_not_taken_is_handed_in_again() -> None:
    label = Counting(NotTaken("It is away."), NotTaken("It is away."))
    there = scene(provider=label)
    await there.when(elsewhere)
    await submitted(there, NotTaken, NotTaken)

    assert len(label.taken) == 1
    found = kinds(there)
    assert (found[SubmissionBegun], found[SubmissionRefused], found[TaskAccepted]) == (3, 2, 1)
    await submitted(there)
    assert len(label.taken) == 1


async def test_what_may_have_been_taken_is_never_handed_in_again_and_fails_in_words() -> None:
    label = Counting(ConnectionResetError("in the middle"))
    there = scene(provider=label)
    await there.when(elsewhere)
    asked = there.last(GenerationRequested)
    with pytest.raises(ConnectionResetError):
        await there.follows(submit_generation, asked)
    for _ in range(3):
        with pytest.raises(NotTaken) as doubt:
            await there.follows(submit_generation, asked)
    assert label.taken == []
    gives_up = REACTIONS["submit-generation"].gives_up
    assert gives_up is not None
    await gives_up(asked, await there.ports(submit_generation.ports), str(doubt.value))
    assert "Credits may have been used" in (shown(there).versions[0].problem or "")


async def test_what_is_declined_fails_at_once() -> None:
    there = scene(provider=Counting(Declined("No credits.")))
    await there.when(elsewhere)
    await submitted(there)
    assert shown(there).versions[0].problem == "No credits."
    assert kinds(there)[GenerationFailed] == 1


async def test_it_is_asked_less_and_less_often_and_given_up_in_the_end() -> None:
    label = Counting()
    label.outcome = Outcome(status="working")
    there = scene(provider=label)
    await there.when(elsewhere)
    await submitted(there)
    await there.follows(follow_task, there.last(TaskAccepted))
    waits = []
    while not kinds(there)[GenerationFailed]:
        asked = there.last(TaskAsked)
        assert isinstance(asked.event, TaskAsked)
        waits.append((asked.event.next_at - asked.event.asked_at).total_seconds())
        there.now = asked.event.next_at
        await there.follows(follow_task, asked)
    assert waits[:3] == pytest.approx([20, 26, 33.8])
    assert waits == sorted(waits)
    assert max(waits) <= 300
    assert 10 < len(waits) < 30
    assert shown(there).versions[0].problem == "The music provider did not finish in time."


async def finished_elsewhere() -> Scene:
    there = scene(provider=Counting())
    await there.when(elsewhere)
    await submitted(there)
    await there.follows(follow_task, there.last(TaskAccepted))
    await there.follows(follow_task, there.last(TaskAsked))
    assert kinds(there)[VersionCompleted] == 2
    return there


async def test_files_are_fetched_two_days_before_they_are_thrown_away_unless_they_are_here() -> None:
    there = await finished_elsewhere()
    made = there.last(VersionCompleted)
    assert isinstance(made.event, VersionCompleted)
    due = keep_files.due(made.event)
    assert due == NOW + timedelta(days=12)
    there.now = due
    await there.follows(keep_files, made)
    await there.follows(fetch_files, there.last(DownloadRequested))
    assert kinds(there)[FilesStored] == 1
    assert len(await keys_of(there)) == 1

    await there.follows(keep_files, made)
    await there.follows(expire_files, made)
    assert kinds(there)[DownloadRequested] == 1
    assert not kinds(there)[FilesNotStored]


async def test_what_nobody_fetched_in_time_is_said_to_have_expired() -> None:
    there = await finished_elsewhere()
    made = there.last(VersionCompleted)
    due = expire_files.due(made.event)
    assert due == NOW + timedelta(days=14)
    for _ in range(2):
        await there.follows(expire_files, made)
    gone = [each.event for each in there.log.all if isinstance(each.event, FilesNotStored)]
    assert [each.expired for each in gone] == [True]
    assert shown(there).versions[1].expired


async def test_every_version_is_heard_and_its_wave_drawn_where_nobody_has() -> None:
    there = await finished_elsewhere()
    made = there.last(VersionCompleted)
    for _ in range(2):
        await there.follows(hear_version, made)
    [heard] = [each.event for each in there.log.all if isinstance(each.event, VersionHeard)]
    assert heard.peaks is not None
    assert await keys_of(there) == [heard.peaks.object_key]


@pytest.mark.parametrize("what", ["wav", "stems"])
async def test_what_is_asked_for_anew_is_made_however_often_the_first_was_given_up(what: str) -> None:
    there = scene()
    for wish in (created, played):
        await there.when(wish)
    await there.blobs.put_bytes(score.object_key, b"{}", content_type="application/json")
    await there.blobs.put_bytes(audio.object_key, b"mp3", content_type="audio/mpeg")
    of_each: dict[str, tuple[Reaction, type[Event], Command, Command]] = {
        "wav": (convert_to_wav, WavRequested, wav_wanted, replace(wav_wanted, wav_task_id="wav-2")),
        "stems": (render_stems, StemsRequested, stems_wanted, stems_wanted),
    }
    reaction, kind, first, again = of_each[what]
    assert reaction.gives_up is not None
    await there.when(first)
    given_up = there.last(kind)
    ports = await there.ports(reaction.ports)
    await reaction.gives_up(given_up, ports, "It failed, and again.")
    # Whoever has given it up dies before they can say so to anybody.
    await there.later(seconds=1).when(again)
    await reaction.gives_up(given_up, ports, "It failed, and again.")
    await there.follows(reaction, given_up)
    await there.follows(reaction, there.last(kind))

    [version] = shown(there).versions
    assert {"wav": version.wav, "stems": version.stems_work}[what] == "completed"
    if what == "wav":
        stored = there.last(WavStored).event
        assert isinstance(stored, WavStored)
        assert stored.wav_task_id == "wav-2"
