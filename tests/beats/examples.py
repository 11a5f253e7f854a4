"""One ordinary example of every command of beats."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from commands.beats.beats import (
    AdvanceGeneration,
    CancelGenerations,
    ChoosePrimary,
    CompleteGeneration,
    CompleteTrack,
    CreateBeats,
    FailGeneration,
    NewBeat,
    NewGeneration,
    RequestGeneration,
    StartGeneration,
)
from commands.beats.files import (
    FailStems,
    FailWav,
    GiveUpFiles,
    NoteHeard,
    NoteNotHeard,
    RequestDownload,
    RequestStems,
    RequestWav,
    StoreFiles,
    StoreStems,
    StoreWav,
    UploadVersion,
)
from commands.beats.tasks import AcceptTask, BeginSubmission, HearTask, NoteAsked, NoteRefusal
from commands.beats.templates import DefineTemplates, NewTemplate
from commands.idempotency import Once
from domain.beats.beats import Brief, Remote, Stem, StoredFile
from domain.beats.templates import Template
from tests.examples import Example
from tests.spec import NOW

generation = NewGeneration(generation_id="gen-1", version_id="ver-1", provider="band")
new_beat = NewBeat(
    beat_id="beat-1",
    template_id="template-1",
    category="LoFi – Melodic/Calm",
    name="Summer Cruise Type Beat – Melodic Calm",
    genre="LoFi",
    style="Melodic",
    mood="Calm",
    use_case="Vlogs",
    tags=("lofi", "summer"),
    description="Melodic calm LoFi beat for vlogs.",
    base_prompt="A calm LoFi beat.",
    normalized_prompt="summer cruise melodic calm lofi",
    brief=Brief(genre="LoFi", style="Melodic", mood="Calm", seed=7),
    generation=generation,
)
created = CreateBeats(
    subject_id="beat-1",
    workspace_id="w1",
    beats=(new_beat,),
    once=Once(claim_id="once-beat", payload_digest="digest", lifetime=timedelta(hours=24)),
    monthly_limit=10,
)
started = StartGeneration(beat_id="beat-1", generation_id="gen-1")
audio = StoredFile(kind="audio", object_key="beats/w1/beat-1/1/a.mp3", content_type="audio/mpeg", size=3)
first_track = CompleteTrack(
    beat_id="beat-1",
    generation_id="gen-1",
    track=1,
    version_id="ver-1",
    model_name="band-1.0",
    bpm=85,
    musical_key="C Major",
    duration_seconds=180.5,
    files=(audio,),
)
second_track = CompleteTrack(
    beat_id="beat-1",
    generation_id="gen-1",
    track=2,
    version_id="ver-2",
    model_name="band-1.0",
    bpm=85,
    musical_key="C Major",
    duration_seconds=182.3,
    files=(StoredFile(kind="audio", object_key="beats/w1/beat-1/2/a.mp3", content_type="audio/mpeg", size=3),),
)
finished = CompleteGeneration(beat_id="beat-1", generation_id="gen-1")
once_more = RequestGeneration(
    beat_id="beat-1",
    workspace_id="w1",
    generation=NewGeneration(generation_id="gen-2", version_id="ver-3", provider="band"),
    seed=8,
    set_primary=True,
    once=Once(claim_id="once-version", payload_digest="digest", lifetime=timedelta(hours=24)),
    monthly_limit=10,
)

score = StoredFile(kind="score", object_key="beats/w1/beat-1/1/a.json", content_type="application/json", size=2)
played = replace(first_track, files=(audio, score))
remote = Remote(
    audio_id="audio-1",
    audio_url="https://example.com/a.mp3",
    image_url=None,
    stream_url=None,
    expires_at=datetime(2026, 3, 15, 12, tzinfo=UTC),
)
far_away = replace(first_track, files=(), remote=remote)
uploaded = UploadVersion(beat_id="beat-1", workspace_id="w1", version_id="ver-9", file=audio, set_primary=True)
wav_wanted = RequestWav(beat_id="beat-1", workspace_id="w1", wav_task_id="wav-1", include_alternate=True)
stems_wanted = RequestStems(beat_id="beat-1", workspace_id="w1")

elsewhere = replace(created, beats=(replace(new_beat, generation=replace(generation, provider="sunoapi")),))
begun = BeginSubmission(beat_id="beat-1", generation_id="gen-1")
accepted = AcceptTask(beat_id="beat-1", generation_id="gen-1", task_id="task-1")
heard = HearTask(beat_id="beat-1", generation_id="gen-1", task_id="task-1", stage="complete")

EXAMPLES = (
    Example(begun, [elsewhere]),
    Example(NoteRefusal(beat_id="beat-1", generation_id="gen-1", reason="It is away."), [elsewhere, begun]),
    Example(accepted, [elsewhere, begun]),
    Example(heard, [elsewhere, begun, accepted]),
    Example(
        NoteAsked(beat_id="beat-1", generation_id="gen-1", asks=1, wait=timedelta(seconds=20)),
        [elsewhere, begun, accepted],
    ),
    Example(uploaded, [created]),
    Example(
        NoteHeard(
            beat_id="beat-1",
            version_id="ver-9",
            bpm=84.9,
            musical_key="A Minor",
            duration_seconds=180.4,
            loudness_lufs=-14.1,
            peaks=StoredFile(kind="peaks", object_key="p.json", content_type="application/json", size=2),
        ),
        [created, uploaded],
    ),
    Example(
        NoteNotHeard(beat_id="beat-1", version_id="ver-9", reason="This is not audio.", unreadable=True),
        [created, first_track, uploaded],
    ),
    Example(RequestDownload(beat_id="beat-1", workspace_id="w1"), [created, far_away]),
    Example(StoreFiles(beat_id="beat-1", version_id="ver-1", files=(audio,)), [created, far_away]),
    Example(
        GiveUpFiles(beat_id="beat-1", version_id="ver-1", reason="They are gone.", expired=True), [created, far_away]
    ),
    Example(wav_wanted, [created, first_track, second_track]),
    Example(
        StoreWav(
            beat_id="beat-1",
            wav_task_id="wav-1",
            version_id="ver-1",
            asked_at=NOW,
            file=StoredFile(kind="wav", object_key="a.wav", content_type="audio/wav", size=44),
        ),
        [created, first_track, wav_wanted],
    ),
    Example(
        FailWav(beat_id="beat-1", wav_task_id="wav-1", version_id="ver-1", asked_at=NOW, reason="It is damaged."),
        [created, first_track, wav_wanted],
    ),
    Example(stems_wanted, [created, played]),
    Example(
        StoreStems(
            beat_id="beat-1",
            version_id="ver-1",
            asked_at=NOW,
            stems=(Stem(name="drums", object_key="drums.wav", content_type="audio/wav", size=44),),
        ),
        [created, played, stems_wanted],
    ),
    Example(
        FailStems(beat_id="beat-1", version_id="ver-1", asked_at=NOW, reason="It took too long."),
        [created, played, stems_wanted],
    ),
    Example(created),
    Example(once_more, [created, first_track, second_track, finished]),
    Example(started, [created]),
    Example(AdvanceGeneration(beat_id="beat-1", generation_id="gen-1", track=1, stage="rendering"), [created, started]),
    Example(second_track, [created, started, first_track]),
    Example(finished, [created, first_track, second_track]),
    Example(FailGeneration(beat_id="beat-1", generation_id="gen-1", reason="It took too long."), [created]),
    Example(CancelGenerations(beat_id="beat-1", workspace_id="w1"), [created]),
    Example(ChoosePrimary(beat_id="beat-1", workspace_id="w1", version_number=2), [created, first_track, second_track]),
    Example(
        DefineTemplates(
            workspace_id="w1",
            templates=(
                NewTemplate(
                    template_id="template-2",
                    template=Template(
                        category="Lofi Chill Study Beat",
                        genre="LoFi",
                        style="Chill",
                        mood="Calm",
                        use_case="Study",
                        tags=("lofi",),
                        prompt="A calm beat.",
                    ),
                ),
            ),
        )
    ),
)

#: What reactions have more to do after.
FURTHER = (Example(elsewhere), Example(far_away, [created]))
