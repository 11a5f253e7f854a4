"""Having a provider make a generation: handing it in once, hearing of it, and asking how it stands."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from commands.kernel import Command, decides
from domain.beats.beats import (
    Beat,
    SubmissionBegun,
    SubmissionRefused,
    TaskAccepted,
    TaskAsked,
    TaskHeard,
    beats,
)
from domain.kernel import Event


class BeginSubmission(Command):
    """Note that a generation is about to be handed in, since that may cost money and nobody may live to say so."""

    beat_id: str
    generation_id: str


@decides(BeginSubmission, beats)
def begin(wish: BeginSubmission, beat: Beat, now: datetime) -> list[Event]:
    """What was taken, or may have been, is not handed in again."""
    generation = beat.under_way(wish.generation_id)
    if generation is None or generation.in_doubt or generation.task_id is not None:
        return []
    return [SubmissionBegun(beat_id=wish.beat_id, generation_id=wish.generation_id, begun_at=now)]


class NoteRefusal(Command):
    """Note that the provider has not taken it this time."""

    beat_id: str
    generation_id: str
    reason: str


@decides(NoteRefusal, beats)
def note_refusal(wish: NoteRefusal, beat: Beat, now: datetime) -> list[Event]:
    """After that it may be handed in again."""
    generation = beat.generation(wish.generation_id)
    if generation is None or not generation.in_doubt:
        return []
    return [
        SubmissionRefused(beat_id=wish.beat_id, generation_id=wish.generation_id, reason=wish.reason, refused_at=now)
    ]


class AcceptTask(Command):
    """Note what the provider calls it."""

    beat_id: str
    generation_id: str
    task_id: str


@decides(AcceptTask, beats)
def accept(wish: AcceptTask, beat: Beat, now: datetime) -> list[Event]:
    """It has one name there."""
    generation = beat.under_way(wish.generation_id)
    if generation is None or generation.task_id is not None:
        return []
    return [TaskAccepted(beat_id=wish.beat_id, generation_id=wish.generation_id, task_id=wish.task_id, accepted_at=now)]


class HearTask(Command):
    """Take note of what somebody says who knows the secret of this generation."""

    beat_id: str
    generation_id: str
    task_id: str | None
    stage: Literal["complete", "error"]


@decides(HearTask, beats)
def hear(wish: HearTask, beat: Beat, now: datetime) -> list[Event]:
    """Each thing is heard once, and of another task nothing; a task whose name we never learnt is known from now on."""
    generation = beat.under_way(wish.generation_id)
    if generation is None or generation.provider != "sunoapi":
        return []
    events: list[Event] = []
    if generation.task_id is None:
        if not generation.in_doubt or not wish.task_id:
            return []
        events += accept(
            AcceptTask(beat_id=wish.beat_id, generation_id=wish.generation_id, task_id=wish.task_id), beat, now
        )
    elif wish.task_id is not None and wish.task_id != generation.task_id:
        return []
    if wish.stage in generation.heard:
        return []
    heard = TaskHeard(beat_id=wish.beat_id, generation_id=wish.generation_id, stage=wish.stage, heard_at=now)
    return [*events, heard]


class NoteAsked(Command):
    """Note that we have asked and it was not over; `asks` says how often by then."""

    beat_id: str
    generation_id: str
    asks: int
    wait: timedelta


@decides(NoteAsked, beats)
def note_asked(wish: NoteAsked, beat: Beat, now: datetime) -> list[Event]:
    """Each time is noted once."""
    generation = beat.under_way(wish.generation_id)
    if generation is None or generation.asks >= wish.asks:
        return []
    return [
        TaskAsked(
            beat_id=wish.beat_id,
            generation_id=wish.generation_id,
            asks=wish.asks,
            asked_at=now,
            next_at=now + wish.wait,
        )
    ]
