"""Having beats made: one, several, one that was only wished for so far, one more version of one."""

from __future__ import annotations

import random
import re
from datetime import datetime
from typing import Annotated, Any, cast, get_args
from uuid import UUID

from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, Meta, Struct, UnsetType, json

from adapters.band.compose import title
from adapters.band.score import Brief as Played
from adapters.band.theory import UnknownKey, parse_key
from api.auth import Asker, needs
from api.beats.beats import beat_of
from api.beats.ports import Ports
from api.beats.shapes import Shape, task_id
from api.beats.templates import Known, all_templates, template_of
from api.kernel import NO_JSON, IdempotencyKey
from commands.beats.beats import (
    CancelGenerations,
    ChoosePrimary,
    CreateBeats,
    NewBeat,
    NewGeneration,
    RequestGeneration,
)
from commands.idempotency import Once
from domain.beats.beats import GENERATIONS, BeatNotFound, Brief, Provider, ProviderNotAvailable
from domain.idempotency import claims
from domain.kernel import Invalid
from projections.beats.beats import BeatDocument, VersionView

COUNT_MAX = 10
PENDING = "Beat metadata created. Use POST /beats/:id/generate-audio to generate audio files."
STARTED = "Beat generation started. Files will be ready via webhook callback."
NEW_VERSION = "New version generation started. Webhook will update when ready."


class InvalidMode(Invalid):
    """Invalid mode. Mode must be 'full' or 'metadata_only'."""


class InvalidCount(Invalid):
    """Invalid count. Count must be from 1 to {limit}."""


class InvalidKey(Invalid):
    """Invalid musical key. {problem}"""


class NewBeatAsked(Struct, rename="camel"):
    """What is asked for. Who wants to may choose `seed`, `bpm`, `musicalKey`, `duration` (seconds) and `provider`."""

    category_name: Annotated[str, Meta(min_length=1, max_length=200, examples=["LoFi – Melodic/Calm"])]
    mode: str = "full"
    seed: Annotated[int, Meta(ge=0, lt=2**31)] | None = None
    bpm: Annotated[int, Meta(ge=50, le=200)] | None = None
    musical_key: Annotated[str, Meta(max_length=20)] | None = None
    duration: Annotated[float, Meta(ge=8, le=600)] | None = None
    provider: Annotated[str, Meta(max_length=20)] | None = None


class BatchAsked(Struct, rename="camel"):
    """How many beats, of categories drawn from the catalogue."""

    count: int
    mode: str = "full"


class VersionAsked(Struct, rename="camel"):
    """Whether the new version is to stand for the beat once it is there."""

    set_primary: bool = False


class BeatMade(Shape, kw_only=True):
    """A beat that has just been wished for; with its task when it is being made."""

    id: str
    name: str
    genre: str
    style: str
    mood: str
    generation_status: str
    files_uploaded: bool | UnsetType = UNSET
    suno_task_id: str | UnsetType = UNSET
    created_at: datetime


class VersionBegun(Shape):
    """The version that comes of it."""

    id: str
    version_number: int
    is_primary: bool
    status: str
    suno_task_id: str | None


class Generated(Shape, kw_only=True):
    """A beat, and when it is being made, its first version."""

    success: bool
    mode: str
    beat: BeatMade
    version: VersionBegun | UnsetType = UNSET
    message: str


class BeatBrief(Shape):
    """One of several beats."""

    id: str
    name: str
    genre: str
    generation_status: str


class Batch(Shape):
    """Several beats."""

    success: bool
    mode: str
    count: int
    beats: list[BeatBrief]
    message: str


class AudioVersion(Shape):
    """The version that comes of it, as this answer has it."""

    id: str
    version_number: int
    suno_audio_url: str | None
    suno_image_url: str | None
    duration: float | None
    model_name: str | None
    is_primary: bool
    status: str
    suno_task_id: str | None


class AudioBegun(Shape):
    """A beat that is being made now."""

    success: bool
    beat_id: str
    version: AudioVersion


class NewVersion(Shape):
    """A version that is being made."""

    id: str
    version_number: int
    is_primary: bool
    status: str
    suno_task_id: str | None
    files_downloaded: bool
    created_at: datetime


class VersionStarted(Shape):
    """One more version of a beat."""

    success: bool
    beat_id: str
    version: NewVersion
    message: str


class Cancelled(Shape):
    """What was under way is not any more."""

    success: bool
    beat_id: str
    generation_status: str


class Chosen(Shape):
    """The version that stands for the beat."""

    success: bool
    beat_id: str
    version_number: int


def _is_full(mode: str) -> bool:
    if mode not in ("full", "metadata_only"):
        raise InvalidMode
    return mode == "full"


def _seed(of: str) -> int:
    """A seed that follows from an id, so that a request that is sent again asks for the same beat."""
    return UUID(of).int % 2**31


def _generation(ports: Ports, asked: str | None = None) -> NewGeneration:
    provider = asked or ports.settings.beats_provider
    if provider not in get_args(Provider) or (provider == "sunoapi" and not ports.provider.is_on):
        raise ProviderNotAvailable(provider=provider)
    return NewGeneration(
        generation_id=ports.vault.new_id(), version_id=ports.vault.new_id(), provider=cast("Provider", provider)
    )


def _new_beat(ports: Ports, known: Known, generation: NewGeneration | None, asked: NewBeatAsked) -> NewBeat:
    template, beat_id = known.template, ports.vault.new_id()
    brief = Brief(
        genre=template.genre,
        style=template.style,
        mood=template.mood,
        bpm=asked.bpm,
        key=asked.musical_key,
        seconds=asked.duration or ports.settings.beat_seconds,
        seed=_seed(beat_id) if asked.seed is None else asked.seed,
        bpm_min=template.bpm_min,
        bpm_max=template.bpm_max,
    )
    called = title(Played(genre=brief.genre, style=brief.style, mood=brief.mood, seed=brief.seed))
    feeling = " ".join(filter(None, (template.style, template.mood)))
    described = " ".join(filter(None, (feeling.lower(), template.genre, "beat")))
    purpose = f" for {template.use_case.lower()}" if template.use_case else ""
    return NewBeat(
        beat_id=beat_id,
        template_id=known.id,
        category=template.category,
        name=f"{called} Type Beat – {feeling}" if feeling else f"{called} Type Beat",
        genre=template.genre,
        style=template.style,
        mood=template.mood,
        use_case=template.use_case,
        tags=template.tags,
        description=f"{described[:1].upper()}{described[1:]}{purpose}.",
        base_prompt=template.prompt,
        normalized_prompt=" ".join(
            dict.fromkeys(f"{called} {feeling} {template.genre} {' '.join(template.tags)}".lower().split())
        ),
        brief=brief,
        generation=generation,
    )


async def _create(ports: Ports, asker: Asker, new: list[NewBeat], once: Once | None) -> list[BeatDocument]:
    """The beats as they are now: these, or those that the key of the request stands for."""
    wish = CreateBeats(
        subject_id=new[0].beat_id,
        workspace_id=asker.workspace_id,
        beats=tuple(new),
        once=once,
        monthly_limit=await ports.plans.monthly_limit(asker.workspace_id, GENERATIONS),
    )
    await ports.execute(wish, asker.context)
    subject = (await ports.log.state(claims, once.claim_id)).subject_id if once is not None else wish.subject_id
    if subject == wish.subject_id:
        return [await beat_of(ports, asker, each.beat_id) for each in new]
    return [await beat_of(ports, asker, subject)]


@post("/api/generate/beat", status_code=200, tags=["beats"], opt=needs("beats:write", "member"))
async def generate_beat(
    request: Request[Any, Any, Any],
    data: JSONBody[NewBeatAsked],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - read by `claims`, declared here for the contract
) -> Generated:
    """Create a beat of a category, and have it made at once, or only write down what it is to be (`metadata_only`)."""
    full = _is_full(data.mode)
    _check_key(data.musical_key)
    known = await template_of(ports, asker, data.category_name)
    new = _new_beat(ports, known, _generation(ports, data.provider) if full else None, data)
    [beat] = await _create(ports, asker, [new], ports.claims.of(request, asker.tenant, data))
    version = beat.versions[0] if full and beat.versions else None
    return Generated(
        success=True,
        mode=data.mode,
        beat=BeatMade(
            id=beat.id,
            name=beat.name,
            genre=beat.genre,
            style=beat.style,
            mood=beat.mood,
            generation_status=beat.status,
            files_uploaded=UNSET if full else False,
            suno_task_id=UNSET if version is None else version.generation_id,
            created_at=beat.created_at,
        ),
        version=UNSET if version is None else _begun(beat, version),
        message=STARTED if full else PENDING,
    )


def _check_key(key: str | None) -> None:
    if key is not None:
        try:
            parse_key(key)
        except UnknownKey as problem:
            raise InvalidKey(problem=str(problem), musical_key=key) from None


def _begun(beat: BeatDocument, version: VersionView) -> VersionBegun:
    return VersionBegun(
        id=version.id,
        version_number=version.number,
        is_primary=version.id == beat.primary_id,
        status=version.status,
        suno_task_id=task_id(version),
    )


@post("/api/generate/beats", status_code=200, tags=["beats"], opt=needs("beats:write", "member"))
async def generate_beats(
    data: JSONBody[BatchAsked],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Batch:
    """Create up to ten beats of categories drawn by chance, each another one as long as there are others."""
    full = _is_full(data.mode)
    if not 1 <= data.count <= COUNT_MAX:
        raise InvalidCount(limit=COUNT_MAX, count=data.count)
    known = await all_templates(ports, asker)
    drawn = random.sample(known, data.count)
    new = [
        _new_beat(ports, each, _generation(ports) if full else None, NewBeatAsked(each.template.category))
        for each in drawn
    ]
    made = await _create(ports, asker, new, None)
    return Batch(
        success=True,
        mode=data.mode,
        count=len(made),
        beats=[BeatBrief(id=each.id, name=each.name, genre=each.genre, generation_status=each.status) for each in made],
        message=f"{len(made)} {'beat' if len(made) == 1 else 'beats'} created successfully",
    )


async def _request(ports: Ports, asker: Asker, wish: RequestGeneration) -> tuple[BeatDocument, VersionView]:
    """The beat and the version that the wish, or the key of the request, stands for."""
    try:
        await ports.execute(wish, asker.context)
    except BeatNotFound:
        raise BeatNotFound(beat_id=wish.beat_id) from None
    version_id = wish.generation.version_id
    if wish.once is not None:
        version_id = (await ports.log.state(claims, wish.once.claim_id)).subject_id
    beat = await beat_of(ports, asker, wish.beat_id)
    version = beat.version(version_id)
    assert version is not None
    return beat, version


@post("/api/beats/{beat_id:str}/generate-audio", status_code=200, tags=["beats"], opt=needs("beats:write", "member"))
async def generate_audio(
    beat_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> AudioBegun:
    """Have a beat made that was only wished for so far, or that could not be made before."""
    wish = RequestGeneration(
        beat_id=beat_id,
        workspace_id=asker.workspace_id,
        generation=_generation(ports),
        first=True,
        monthly_limit=await ports.plans.monthly_limit(asker.workspace_id, GENERATIONS),
    )
    beat, version = await _request(ports, asker, wish)
    return AudioBegun(
        success=True,
        beat_id=beat.id,
        version=AudioVersion(
            id=version.id,
            version_number=version.number,
            suno_audio_url=None,
            suno_image_url=None,
            duration=None,
            model_name=None,
            is_primary=version.id == beat.primary_id,
            status=version.status,
            suno_task_id=task_id(version),
        ),
    )


_OPTIONAL_BODY = {
    "required": False,
    "content": {"application/json": {"schema": {"type": "object", "properties": {"setPrimary": {"type": "boolean"}}}}},
}


@post(
    "/api/beats/{beat_id:str}/versions",
    status_code=200,
    tags=["beats"],
    opt={**needs("beats:write", "member"), "request_body": _OPTIONAL_BODY},
)
async def create_version(
    request: Request[Any, Any, Any],
    beat_id: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - read by `claims`, declared here for the contract
) -> VersionStarted:
    """Have one more version of a beat made, which sounds different."""
    asked = await optional(request, VersionAsked)
    generation = _generation(ports)
    wish = RequestGeneration(
        beat_id=beat_id,
        workspace_id=asker.workspace_id,
        generation=generation,
        seed=_seed(generation.generation_id),
        set_primary=asked.set_primary,
        once=ports.claims.of(request, asker.tenant, asked),
        monthly_limit=await ports.plans.monthly_limit(asker.workspace_id, GENERATIONS),
    )
    beat, version = await _request(ports, asker, wish)
    return VersionStarted(
        success=True,
        beat_id=beat.id,
        version=NewVersion(
            id=version.id,
            version_number=version.number,
            is_primary=version.id == beat.primary_id,
            status=version.status,
            suno_task_id=task_id(version),
            files_downloaded=version.file("audio") is not None,
            created_at=version.created_at,
        ),
        message=NEW_VERSION,
    )


class MalformedBody(Invalid):
    """The request does not have the documented shape. {problem}"""


async def optional(request: Request[Any, Any, Any], kind: Any) -> Any:
    """The body of a request that need not have one."""
    body = await request.body()
    if not body.strip():
        return kind()
    try:
        return json.decode(body, type=kind)
    except NO_JSON as problem:
        raise MalformedBody(loc=("body",), problem=str(problem)) from None


@post("/api/beats/{beat_id:str}/cancel", status_code=200, tags=["beats"], opt=needs("beats:write", "member"))
async def cancel_generation(
    beat_id: FromPath[str], ports: NamedDependency[Ports], asker: NamedDependency[Asker]
) -> Cancelled:
    """Cancel what is being made of a beat; what is there already stays."""
    try:
        await ports.execute(CancelGenerations(beat_id=beat_id, workspace_id=asker.workspace_id), asker.context)
    except BeatNotFound:
        raise BeatNotFound(beat_id=beat_id) from None
    beat = await beat_of(ports, asker, beat_id)
    return Cancelled(success=True, beat_id=beat.id, generation_status=beat.status)


@post(
    "/api/beats/{beat_id:str}/versions/{version_number:str}/primary",
    status_code=200,
    tags=["beats"],
    opt=needs("beats:write", "member"),
)
async def choose_primary(
    beat_id: FromPath[str],
    version_number: FromPath[str],
    ports: NamedDependency[Ports],
    asker: NamedDependency[Asker],
) -> Chosen:
    """Let a version that is there stand for the beat."""
    number = int(version_number) if re.fullmatch(r"[1-9][0-9]{0,3}", version_number) else 0
    wish = ChoosePrimary(beat_id=beat_id, workspace_id=asker.workspace_id, version_number=number)
    try:
        await ports.execute(wish, asker.context)
    except BeatNotFound:
        raise BeatNotFound(beat_id=beat_id) from None
    return Chosen(success=True, beat_id=beat_id, version_number=number)
