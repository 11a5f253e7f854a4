"""Wishing for beats, having them made, and writing down what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from commands.billing.quotas import count
from commands.idempotency import Once, claim
from commands.kernel import Command, Transaction, decides, handles
from domain.beats.beats import (
    BPM_MAX,
    BPM_MIN,
    GENERATIONS,
    SECONDS_MAX,
    SECONDS_MIN,
    VERSIONS_MAX,
    Beat,
    BeatCreated,
    BeatHasAudio,
    BeatNotFound,
    Brief,
    BriefIsUnplayable,
    GenerationAdvanced,
    GenerationCancelled,
    GenerationCompleted,
    GenerationFailed,
    GenerationRequested,
    GenerationStarted,
    NothingToCancel,
    PrimaryChosen,
    Provider,
    Remote,
    Stage,
    StoredFile,
    TooManyVersions,
    Version,
    VersionCompleted,
    VersionNotFound,
    beats,
)
from domain.kernel import Event, Value


class NewGeneration(Value):
    """The ids of a generation and of its first version, and who makes it."""

    generation_id: str
    version_id: str
    provider: Provider


class NewBeat(Value):
    """One beat: what it is made from; with a generation it is made at once."""

    beat_id: str
    template_id: str
    category: str
    name: str
    genre: str
    style: str
    mood: str
    use_case: str
    tags: tuple[str, ...]
    description: str
    base_prompt: str
    normalized_prompt: str
    brief: Brief
    generation: NewGeneration | None = None


class CreateBeats(Command):
    """Wish for beats, all or none. The subject of a claimed key is `subject_id`: the first beat."""

    subject_id: str
    workspace_id: str
    beats: tuple[NewBeat, ...]
    once: Once | None = None
    monthly_limit: int | None = None


@handles(CreateBeats)
async def create(wish: CreateBeats, transaction: Transaction) -> None:
    """Each beat is created once, under a key at most once, and what is made of them is within the month's quota."""
    if not await claim(transaction, wish.once, wish.subject_id):
        return
    fresh = []
    for new in wish.beats:
        _check(new.brief)
        if not (await transaction.expect_new(beats, new.beat_id)).workspace_id:
            fresh.append(new)
    made = [new.generation.generation_id for new in fresh if new.generation is not None]
    await count(transaction, GENERATIONS, wish.workspace_id, made, wish.monthly_limit)
    for new in fresh:
        created = BeatCreated(
            beat_id=new.beat_id,
            workspace_id=wish.workspace_id,
            template_id=new.template_id,
            category=new.category,
            name=new.name,
            genre=new.genre,
            style=new.style,
            mood=new.mood,
            use_case=new.use_case,
            tags=new.tags,
            description=new.description,
            base_prompt=new.base_prompt,
            normalized_prompt=new.normalized_prompt,
            brief=new.brief,
            created_at=transaction.now,
        )
        transaction.record(beats, new.beat_id, created)
        if new.generation is not None:
            transaction.record(
                beats,
                new.beat_id,
                GenerationRequested(
                    beat_id=new.beat_id,
                    workspace_id=wish.workspace_id,
                    generation_id=new.generation.generation_id,
                    version_id=new.generation.version_id,
                    version_number=1,
                    provider=new.generation.provider,
                    source="suno",
                    set_primary=True,
                    brief=new.brief,
                    requested_at=transaction.now,
                ),
            )


def _check(brief: Brief) -> None:
    if not SECONDS_MIN <= brief.seconds <= SECONDS_MAX:
        raise BriefIsUnplayable(problem=f"A beat lasts from {SECONDS_MIN:g} to {SECONDS_MAX:g} seconds.")
    for bpm in (brief.bpm, brief.bpm_min, brief.bpm_max):
        if bpm is not None and not BPM_MIN <= bpm <= BPM_MAX:
            raise BriefIsUnplayable(problem=f"A tempo lies between {BPM_MIN} and {BPM_MAX} beats per minute.")


class RequestGeneration(Command):
    """Have a beat made, or made once more. The `first` time there must be nothing there or on its way."""

    beat_id: str
    workspace_id: str
    generation: NewGeneration
    seed: int | None = None
    first: bool = False
    set_primary: bool = False
    once: Once | None = None
    monthly_limit: int | None = None


@handles(RequestGeneration)
async def request_generation(wish: RequestGeneration, transaction: Transaction) -> None:
    """A generation is asked for once; its version gets the next number whoever else asks at the same time."""
    beat = await transaction.load(beats, wish.beat_id)
    if beat.workspace_id != wish.workspace_id or beat.brief is None:
        raise BeatNotFound
    if beat.generation(wish.generation.generation_id) is not None:
        return
    if not await claim(transaction, wish.once, wish.generation.version_id):
        return
    if wish.first and (beat.is_in_flight or any(each.status == "completed" for each in beat.versions)):
        raise BeatHasAudio
    # The second track becomes a version, too.
    if beat.versions_to_come + 2 > VERSIONS_MAX:
        raise TooManyVersions(limit=VERSIONS_MAX)
    await count(transaction, GENERATIONS, wish.workspace_id, [wish.generation.generation_id], wish.monthly_limit)
    brief = beat.brief
    transaction.record(
        beats,
        wish.beat_id,
        GenerationRequested(
            beat_id=wish.beat_id,
            workspace_id=wish.workspace_id,
            generation_id=wish.generation.generation_id,
            version_id=wish.generation.version_id,
            version_number=beat.next_number,
            provider=wish.generation.provider,
            source="suno_retry" if beat.versions or not wish.first else "suno",
            set_primary=wish.set_primary or wish.first,
            brief=brief if wish.seed is None else replace(brief, seed=wish.seed),
            requested_at=transaction.now,
        ),
    )


class StartGeneration(Command):
    """Note that somebody is at it."""

    beat_id: str
    generation_id: str


@decides(StartGeneration, beats)
def start(wish: StartGeneration, beat: Beat, now: datetime) -> list[Event]:
    """A generation starts once; a second worker after a crash is not another start."""
    generation = beat.generation(wish.generation_id)
    if generation is None or generation.status != "requested":
        return []
    return [GenerationStarted(beat_id=wish.beat_id, generation_id=wish.generation_id, started_at=now)]


class AdvanceGeneration(Command):
    """Note how far a track has come."""

    beat_id: str
    generation_id: str
    track: int
    stage: Stage


@decides(AdvanceGeneration, beats)
def advance(wish: AdvanceGeneration, beat: Beat, now: datetime) -> list[Event]:
    """What is over goes no further; each stage is told once in a row."""
    generation = beat.under_way(wish.generation_id)
    if generation is None or generation.reached == (wish.track, wish.stage):
        return []
    return [
        GenerationAdvanced(
            beat_id=wish.beat_id,
            generation_id=wish.generation_id,
            track=wish.track,
            stage=wish.stage,
            advanced_at=now,
        )
    ]


class CompleteTrack(Command):
    """Write down that a track is there; `version_id` is for the second one, which had no version before."""

    beat_id: str
    generation_id: str
    track: int
    version_id: str
    model_name: str
    bpm: int | None
    musical_key: str | None
    duration_seconds: float | None
    files: tuple[StoredFile, ...] = ()
    remote: Remote | None = None


@decides(CompleteTrack, beats)
def complete_track(wish: CompleteTrack, beat: Beat, now: datetime) -> list[Event]:
    """A track is there once. A version that was asked for as the primary, or comes while there is none, becomes it."""
    generation = beat.under_way(wish.generation_id)
    if generation is None:
        return []
    there = beat.track(wish.generation_id, wish.track)
    if there is not None and there.status == "completed":
        return []
    first = beat.version(generation.version_id)
    number = first.number if wish.track == 1 and first is not None else beat.next_number
    version_id = generation.version_id if wish.track == 1 else wish.version_id
    events: list[Event] = [
        VersionCompleted(
            beat_id=wish.beat_id,
            generation_id=wish.generation_id,
            version_id=version_id,
            version_number=number,
            track=wish.track,
            source=generation.source if wish.track == 1 else "suno",
            model_name=wish.model_name,
            bpm=wish.bpm,
            musical_key=wish.musical_key,
            duration_seconds=wish.duration_seconds,
            files=wish.files,
            remote=wish.remote,
            completed_at=now,
        )
    ]
    if _becomes_primary(beat.primary, generation.set_primary and wish.track == 1, version_id):
        events.append(PrimaryChosen(beat_id=wish.beat_id, version_id=version_id, chosen_at=now))
    return events


def _becomes_primary(primary: Version | None, wanted: bool, version_id: str) -> bool:
    if primary is None or primary.version_id == version_id:
        return False
    return wanted or primary.status == "failed"


class CompleteGeneration(Command):
    """Write down that all of it is there."""

    beat_id: str
    generation_id: str


@decides(CompleteGeneration, beats)
def complete(wish: CompleteGeneration, beat: Beat, now: datetime) -> list[Event]:
    """A generation ends once."""
    if beat.under_way(wish.generation_id) is None:
        return []
    return [GenerationCompleted(beat_id=wish.beat_id, generation_id=wish.generation_id, completed_at=now)]


class FailGeneration(Command):
    """Write down why there will be nothing, or no more."""

    beat_id: str
    generation_id: str
    reason: str


@decides(FailGeneration, beats)
def fail(wish: FailGeneration, beat: Beat, now: datetime) -> list[Event]:
    """A generation ends once."""
    if beat.under_way(wish.generation_id) is None:
        return []
    failed = GenerationFailed(beat_id=wish.beat_id, generation_id=wish.generation_id, reason=wish.reason, failed_at=now)
    return [failed, *_stands_in(wish.beat_id, beat, [wish.generation_id], now)]


class CancelGenerations(Command):
    """Want no more of what is being made of a beat."""

    beat_id: str
    workspace_id: str


@decides(CancelGenerations, beats)
def cancel(wish: CancelGenerations, beat: Beat, now: datetime) -> list[Event]:
    """What is under way is cancelled; what has been cancelled stays so."""
    if beat.workspace_id != wish.workspace_id:
        raise BeatNotFound
    under_way = [each.generation_id for each in beat.generations if not each.is_over]
    if not under_way and not (beat.generations and beat.generations[-1].status == "cancelled"):
        raise NothingToCancel
    cancelled = [GenerationCancelled(beat_id=wish.beat_id, generation_id=each, cancelled_at=now) for each in under_way]
    return [*cancelled, *_stands_in(wish.beat_id, beat, under_way, now)]


def _stands_in(beat_id: str, beat: Beat, ended: Sequence[str], now: datetime) -> list[Event]:
    """A version that is there stands for the beat once the one that did is never coming."""
    primary = beat.primary
    if primary is None or primary.status == "completed" or primary.generation_id not in ended:
        return []
    other = beat.stand_in(primary)
    return [] if other is None else [PrimaryChosen(beat_id=beat_id, version_id=other.version_id, chosen_at=now)]


class ChoosePrimary(Command):
    """Let this version stand for the beat."""

    beat_id: str
    workspace_id: str
    version_number: int


@decides(ChoosePrimary, beats)
def choose_primary(wish: ChoosePrimary, beat: Beat, now: datetime) -> list[Event]:
    """Only what is there can be the primary."""
    if beat.workspace_id != wish.workspace_id:
        raise BeatNotFound
    chosen = next((each for each in beat.versions if each.number == wish.version_number), None)
    if chosen is None or chosen.status != "completed":
        raise VersionNotFound(version_number=wish.version_number)
    if chosen.version_id == beat.primary_id:
        return []
    return [PrimaryChosen(beat_id=wish.beat_id, version_id=chosen.version_id, chosen_at=now)]
