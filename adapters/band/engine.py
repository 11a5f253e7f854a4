"""From a brief to files within one process: what the command and the confined child of a worker both call."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import msgspec

from adapters.band import files
from adapters.band.compose import compose
from adapters.band.cover import cover
from adapters.band.master import Levels, master
from adapters.band.midi import to_midi
from adapters.band.render import Stem, mixed
from adapters.band.score import ENGINE_VERSION, Brief, Score, to_json
from adapters.band.waves import RATE, Sound
from domain.kernel import Value

#: What `ledgerline` is called where players ask for an artist.
ARTIST = "Ledgerline"
#: Stages and the share of all work that is done when each begins.
STAGES = {"composing": 0.0, "rendering": 0.02, "mastering": 0.6, "storing": 0.8}

Tell = Callable[[str, float], None]


class Wanted(Value):
    """Which files are to be written; null means no such file. Folders are made."""

    wav: Path | None = None
    flac: Path | None = None
    mp3: Path | None = None
    #: 30 seconds of the hook as an MP3 of 128 kbit/s.
    preview: Path | None = None
    cover: Path | None = None
    midi: Path | None = None
    score: Path | None = None
    #: The outline of the wave as a JSON array of heights from 0 to 1.
    peaks: Path | None = None
    #: A folder for the five stems and, beside them, their sum: the mix before it was mastered.
    stems: Path | None = None
    artist: str = ARTIST


class Made(Value):
    """What was made."""

    engine: str
    title: str
    genre: str
    style: str
    mood: str
    seed: int
    take: int
    bpm: int
    key: str
    duration_seconds: float
    lufs: float
    true_peak_dbtp: float
    peaks: tuple[float, ...]
    #: Paths of everything that was written.
    files: tuple[str, ...]


class Finished(NamedTuple):
    """A mastered piece that has not been written yet."""

    score: Score
    #: (2, samples)
    sound: Sound
    levels: Levels


def play(brief: Brief, *, stems: Path | None = None, tell: Tell = lambda _stage, _share: None) -> Finished:
    """Compose, play, mix and master; `stems` is a folder for the unmastered stems.

    Raises `UnplayableBrief`, `UnknownGenre` or `UnknownKey`. `tell` hears the stage and the share of all work done.
    """
    tell("composing", 0.0)
    score = compose(brief)
    tell("rendering", STAGES["rendering"])

    def keep(stem: Stem) -> None:
        assert stems is not None
        stems.mkdir(parents=True, exist_ok=True)
        files.write_float_wav(stems / f"{stem.name}.wav", stem.sound)

    span = STAGES["mastering"] - STAGES["rendering"]
    mix = mixed(
        score, keep if stems is not None else None, lambda share: tell("rendering", STAGES["rendering"] + span * share)
    )
    if stems is not None:
        files.write_float_wav(stems / "mix.wav", mix)
    tell("mastering", STAGES["mastering"])
    levels = master(score, mix)
    return Finished(score, mix, levels)


def make(brief: Brief, wanted: Wanted, *, tell: Tell = lambda _stage, _share: None) -> Made:
    """Make a beat and write the files that are wanted; raises what `play` raises, and `OSError`."""
    score, sound, levels = play(brief, stems=wanted.stems, tell=tell)
    tell("storing", STAGES["storing"])
    written = _write(wanted, score, sound)
    if wanted.stems is not None:
        written += [str(path) for path in sorted(wanted.stems.glob("*.wav"))]
    tell("storing", 1.0)
    return Made(
        engine=ENGINE_VERSION,
        title=score.title,
        genre=score.genre,
        style=brief.style,
        mood=brief.mood,
        seed=brief.seed,
        take=brief.take,
        bpm=score.bpm,
        key=score.key,
        duration_seconds=round(sound.shape[1] / RATE, 3),
        lufs=levels.lufs,
        true_peak_dbtp=levels.true_peak_dbtp,
        peaks=files.outline(sound),
        files=tuple(written),
    )


def _write(wanted: Wanted, score: Score, sound: Sound) -> list[str]:
    """Write what is wanted, on as many processors as there are: encoders take longer than the band does."""
    seed = score.brief.seed
    with ThreadPoolExecutor(max_workers=4) as hands:
        # First in line, because files with a cover wait for it.
        needed = wanted.cover or wanted.mp3 or wanted.flac
        picture = hands.submit(cover, score, wanted.artist) if needed else None

        def tags(*, with_cover: bool = True) -> files.Tags:
            return files.Tags(
                title=score.title,
                artist=wanted.artist,
                genre=score.genre,
                bpm=score.bpm,
                key=score.key,
                cover=picture.result() if picture is not None and with_cover else b"",
            )

        def preview(path: Path) -> None:
            files.write_mp3(path, files.preview(score, sound), tags(with_cover=False), kilobits=128)

        writers: tuple[tuple[Path | None, Callable[[Path], object]], ...] = (
            (wanted.wav, lambda path: files.write_wav(path, sound, seed=seed)),
            (wanted.flac, lambda path: files.write_flac(path, sound, tags(), seed=seed)),
            (wanted.mp3, lambda path: files.write_mp3(path, sound, tags())),
            (wanted.preview, preview),
            (wanted.cover, lambda path: path.write_bytes(tags().cover)),
            (wanted.midi, lambda path: path.write_bytes(to_midi(score))),
            (wanted.score, lambda path: path.write_bytes(to_json(score))),
            (wanted.peaks, lambda path: path.write_bytes(msgspec.json.encode(files.outline(sound)))),
        )
        work: list[tuple[Path, Future[object]]] = []
        for path, write in writers:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                work.append((path, hands.submit(write, path)))
        for _, written in work:
            written.result()
    return [str(path) for path, _ in work]
