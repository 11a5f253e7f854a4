"""The files of a beat, read back by others: PyAV, a reader of MIDI of our own, and the command line."""

from __future__ import annotations

import importlib
import json
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from adapters.band import files, theory
from adapters.band.catalogue import UnknownCategory, brief_of, catalogue, find
from adapters.band.compose import compose
from adapters.band.cover import COMPOSITIONS, PALETTES, cover
from adapters.band.engine import Wanted, make
from adapters.band.genres import PROFILES, profile_of
from adapters.band.instruments import PATCHES
from adapters.band.midi import DRUM_KEYS, PROGRAMS, TICKS_PER_BEAT, to_midi
from adapters.band.moods import WORDS
from adapters.band.score import Brief, from_json
from adapters.band.waves import RATE, Sound
from infra.cli import commands

# Their functions have no types of their own.
flac: Any = importlib.import_module("mutagen.flac")
mp3: Any = importlib.import_module("mutagen.mp3")
mido: Any = importlib.import_module("mido")


@pytest.fixture(scope="module")
def tone() -> Sound:
    t = np.arange(RATE * 2) / RATE
    return np.stack([0.5 * np.sin(2 * np.pi * 440 * t), 0.25 * np.sin(2 * np.pi * 660 * t)]).astype(np.float32)


@pytest.fixture(scope="module")
def picture() -> bytes:
    return cover(compose(Brief(genre="House", seed=1, seconds=20)))


def read(path: Path) -> tuple[np.ndarray[Any, Any], dict[str, str], list[str]]:
    with av.open(str(path)) as container:
        kinds = [f"{stream.type} {stream.codec_context.name}" for stream in container.streams]
        tags = {name.lower(): value for name, value in container.metadata.items()}
        planes = [frame.to_ndarray() for frame in container.decode(audio=0)]
        channels = container.streams.audio[0].channels
        assert container.streams.audio[0].rate == RATE
    joined = np.concatenate(planes, axis=1)
    if len(joined) == 1:
        joined = joined.reshape(-1, channels).T
    return joined, tags, kinds


def test_wav_is_sixteen_bits_with_dither(tone: Sound, tmp_path: Path) -> None:
    files.write_wav(tmp_path / "a.wav", tone, seed=1)
    sound, _, kinds = read(tmp_path / "a.wav")
    assert kinds == ["audio pcm_s16le"]
    assert sound.shape == tone.shape
    error = sound / 32767 - tone
    assert np.abs(error).max() < 2.1 / 32767
    # With dither what is lost is noise; without, it would follow the wave.
    assert np.abs(np.corrcoef(error[0, :4000], tone[0, :4000])[0, 1]) < 0.05
    assert 0.4 < error.std() * 32767 < 0.6


def test_flac_is_the_wav(tone: Sound, tmp_path: Path) -> None:
    tags = files.Tags(title="T", artist="A", genre="House", bpm=124, key="F# Minor")
    files.write_wav(tmp_path / "a.wav", tone, seed=1)
    files.write_flac(tmp_path / "a.flac", tone, tags, seed=1)
    sound, told, _ = read(tmp_path / "a.flac")
    assert np.array_equal(sound, read(tmp_path / "a.wav")[0])
    assert (told["title"], told["artist"], told["bpm"], told["initialkey"]) == ("T", "A", "124", "F#m")


def test_mp3_has_tags_and_a_cover(tone: Sound, picture: bytes, tmp_path: Path) -> None:
    tags = files.Tags(title="T", artist="A", genre="House", bpm=124, key="C Major", cover=picture)
    files.write_mp3(tmp_path / "a.mp3", tone, tags)
    sound, told, kinds = read(tmp_path / "a.mp3")
    assert kinds == ["audio mp3float", "video png"]
    assert (told["title"], told["artist"], told["genre"], told["tbpm"], told["tkey"]) == ("T", "A", "House", "124", "C")
    assert picture in (tmp_path / "a.mp3").read_bytes()
    assert abs(sound.shape[1] - tone.shape[1]) < 3000
    assert float(np.abs(sound).max()) == pytest.approx(0.5, abs=0.03)
    assert struct.unpack(">II", picture[16:24]) == (3000, 3000)
    assert picture == cover(compose(Brief(genre="House", seed=1, seconds=20)))


def test_another_reader_finds_every_tag_and_the_cover(tone: Sound, picture: bytes, tmp_path: Path) -> None:
    tags = files.Tags(title="Späte Züge", artist="A", genre="Drum and Bass", bpm=174, key="F# Minor", cover=picture)
    files.write_mp3(tmp_path / "a.mp3", tone, tags)
    files.write_flac(tmp_path / "a.flac", tone, tags)

    song = mp3.MP3(tmp_path / "a.mp3")
    assert (song.info.bitrate, song.info.sample_rate, song.info.channels) == (320_000, 44_100, 2)
    names = ("TIT2", "TPE1", "TCON", "TBPM", "TKEY")
    assert [song.tags[name].text for name in names] == [["Späte Züge"], ["A"], ["Drum and Bass"], ["174"], ["F#m"]]
    [front] = song.tags.getall("APIC")
    assert (front.type, front.mime, front.data) == (3, "image/png", picture)

    master = flac.FLAC(tmp_path / "a.flac")
    assert (master.info.bits_per_sample, master.info.sample_rate, master.info.channels) == (16, 44_100, 2)
    names = ("title", "artist", "genre", "bpm", "initialkey")
    assert [master[name] for name in names] == [["Späte Züge"], ["A"], ["Drum and Bass"], ["174"], ["F#m"]]
    [front] = master.pictures
    assert (front.type, front.mime, front.width, front.height, front.data) == (3, "image/png", 3000, 3000, picture)


def test_every_composition_can_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.band.cover.PIXELS", 120)
    seen = set()
    for number, _ in enumerate(COMPOSITIONS):
        monkeypatch.setattr("adapters.band.cover.COMPOSITIONS", COMPOSITIONS[number : number + 1])
        seen.add(cover(compose(Brief(genre=list(PROFILES)[number], seed=number, seconds=30))))
    assert len(seen) == len(COMPOSITIONS)
    assert set(PALETTES) == set(PROFILES)


def chunks(midi: bytes) -> list[bytes]:
    assert midi[:4] == b"MThd"
    kind, count, division = struct.unpack(">HHH", midi[8:14])
    assert (kind, division) == (1, TICKS_PER_BEAT)
    found, place = [], 14
    while place < len(midi):
        assert midi[place : place + 4] == b"MTrk"
        size = struct.unpack(">I", midi[place + 4 : place + 8])[0]
        found.append(midi[place + 8 : place + 8 + size])
        place += 8 + size
    assert len(found) == count
    return found


def events(track: bytes) -> list[tuple[int, bytes]]:
    """Ticks and messages of a track; every message is whole and the last one ends it."""
    found, place, now = [], 0, 0
    while place < len(track):
        step = 0
        while True:
            byte = track[place]
            place += 1
            step = step << 7 | byte & 0x7F
            if not byte & 0x80:
                break
        now += step
        status = track[place]
        size = 3 + track[place + 2] if status == 0xFF else 2 if status & 0xF0 == 0xC0 else 3
        found.append((now, track[place : place + size]))
        place += size
    assert found[-1][1] == b"\xff\x2f\x00"
    return found


def test_midi_says_what_the_score_says() -> None:
    score = compose(Brief(genre="Trap", seed=2, seconds=40, key="F# Minor"))
    conductor, *tracks = (events(track) for track in chunks(to_midi(score)))
    metas = {message[1]: message[3:] for _, message in conductor}
    assert round(60e6 / int.from_bytes(metas[0x51], "big")) == score.bpm
    assert metas[0x59] == struct.pack(">bB", 3, 1)
    markers = [(tick, message[3:].decode()) for tick, message in conductor if message[1] == 6 and message[0] == 0xFF]
    assert markers == [(section.bar * 4 * TICKS_PER_BEAT, section.name.capitalize()) for section in score.sections]
    names = [track[0][1][3:].decode() for track in tracks]
    assert names == [*(f"{part.name.capitalize()} ({part.instrument})" for part in score.parts), "Drums"]
    for part, track in zip(score.parts, tracks, strict=False):
        starts = sorted((tick, message[1]) for tick, message in track if message[0] & 0xF0 == 0x90)
        ends = sorted(message[1] for _, message in track if message[0] & 0xF0 == 0x80)
        expected = sorted(
            (max(0, round((note.beat + note.late * score.bpm / 60) * TICKS_PER_BEAT)), note.pitch)
            for note in part.notes
        )
        assert starts == expected
        assert ends == sorted(note.pitch for note in part.notes)
    assert sum(message[0] == 0x99 for _, message in tracks[-1]) == len(score.drums)


@pytest.mark.parametrize("genre", PROFILES)
def test_another_reader_hears_in_the_midi_file_when_and_how_long_each_tone_sounds(genre: str, tmp_path: Path) -> None:
    """mido knows nothing of us. A tone that begins while its pitch sounds is ended by the end of the one before."""
    score = compose(Brief(genre=genre, seed=4, seconds=60))
    path = tmp_path / "score.mid"
    path.write_bytes(to_midi(score))
    file: Any = mido.MidiFile(path)
    assert (file.type, file.ticks_per_beat, len(file.tracks)) == (1, TICKS_PER_BEAT, 2 + len(score.parts))
    assert file.tracks[0].name == score.title
    key = next(each.key for each in file.tracks[0] if each.type == "key_signature")
    assert theory.parse_key(key) == theory.parse_key(score.key)
    assert -0.01 < file.length - score.time(score.beats) < 0.5

    parts = [*((part.name, len(part.notes)) for part in score.parts), ("drums", len(score.drums))]
    for (name, count), track in zip(parts, file.tracks[1:], strict=True):
        assert track.name.lower().startswith(name)
        sounding: dict[int, int] = {}
        begun = 0
        for message in track:
            if message.type == "note_on" and message.velocity:
                begun += 1
                sounding[message.note] = sounding.get(message.note, 0) + 1
                assert sounding[message.note] == 1 or name == "drums", f"{name}: {message} sounds already"
            elif message.type == "note_off":
                sounding[message.note] -= 1
        assert (begun, set(sounding.values())) == (count, {0})


def test_every_instrument_has_a_patch_and_a_program() -> None:
    named = set()
    for profile in PROFILES.values():
        for book in (profile.bass, profile.chords, profile.melody, profile.counter):
            named |= set(book.instruments)
        drums = {lane.drum for lane in profile.lanes} | {drum for fill in profile.fills for drum, _ in fill.lanes}
        assert drums <= set(DRUM_KEYS)
    assert named <= set(PATCHES)
    assert set(PATCHES) == set(PROGRAMS)


def test_the_preview_is_the_hook(tone: Sound) -> None:
    score = compose(Brief(genre="House", seed=1, seconds=120))
    ramp = np.linspace(0, 1, round(score.seconds * RATE), dtype=np.float32)
    cut = files.preview(score, np.stack([ramp, ramp]))
    hook = next(section for section in score.sections if section.name == "hook")
    assert cut.shape[1] == 30 * RATE
    assert float(cut[0, RATE]) == pytest.approx((score.time(hook.bar * 4) + 1) / score.seconds, abs=0.001)
    assert cut[0, 0] == 0
    assert cut[0, -1] == 0
    assert len(files.outline(tone)) == 1000
    assert max(files.outline(tone)) == pytest.approx(0.5, abs=0.001)


def test_the_catalogue_has_forty_categories_over_all_genres() -> None:
    templates = catalogue()
    assert len(templates) >= 40
    assert len({template.category for template in templates}) == len(templates)
    for genre in PROFILES:
        assert sum(template.genre == genre for template in templates) >= 4
    for template in templates:
        assert template.category == f"{template.genre} – {template.style}/{template.mood}"
        assert profile_of(template.genre).name == template.genre
        assert template.style.lower() in WORDS
        assert template.mood.lower() in WORDS
        assert template.prompt
        assert template.use_case
        assert template.tags


@pytest.mark.parametrize(
    "name", ["LoFi – Melodic/Calm", "lofi - melodic/calm", "LOFI—Melodic / Calm", "  LoFi ‐ melodic/CALM "]
)
def test_categories_are_found_whatever_the_dash_and_the_case(name: str) -> None:
    assert find(name).category == "LoFi – Melodic/Calm"


def test_a_category_that_is_none_is_said_so() -> None:
    with pytest.raises(UnknownCategory, match=r"Polka – Happy/Loud'\. `.*--list"):
        find("Polka – Happy/Loud")
    with pytest.raises(UnknownCategory, match=r"mean 'LoFi – Melodic/Calm'\?"):
        find("lofi - melodic calm")


def test_everything_that_is_wanted_is_written(tmp_path: Path) -> None:
    brief = brief_of(find("Trap – Dark/Aggressive"), seed=3, seconds=12)
    wanted = Wanted(
        wav=tmp_path / "a.wav",
        mp3=tmp_path / "deep" / "a.mp3",
        preview=tmp_path / "p.mp3",
        midi=tmp_path / "a.mid",
        score=tmp_path / "a.json",
        peaks=tmp_path / "peaks.json",
        stems=tmp_path / "stems",
    )
    told: list[tuple[str, float]] = []
    made = make(brief, wanted, tell=lambda stage, share: told.append((stage, share)))
    assert all(Path(name).is_file() for name in made.files)
    assert len(made.files) == 12
    assert told[0] == ("composing", 0.0)
    assert told[-1] == ("storing", 1.0)
    assert [share for _, share in told] == sorted(share for _, share in told)
    assert abs(made.lufs + 14) <= 0.5
    assert from_json((tmp_path / "a.json").read_bytes()) == compose(brief)
    parts = [read(path)[0] for path in sorted((tmp_path / "stems").glob("*.wav")) if path.stem != "mix"]
    assert np.array_equal(np.sum(parts, axis=0, dtype=np.float32), read(tmp_path / "stems" / "mix.wav")[0])
    assert json.loads((tmp_path / "peaks.json").read_text()) == list(made.peaks)


def test_the_command_lists_and_makes(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    from infra import generate

    assert generate.show_categories(as_json=True) == 0
    assert "LoFi – Melodic/Calm" in capfdbinary.readouterr().out.decode()
    out = tmp_path / "beat.wav"
    request = generate.Request("lofi-melodic/calm", out, 7, 1, 85, "C Major", 10.0, None, None, None, None, None)
    assert generate.run(request, as_json=True) == 0
    said = json.loads(capfdbinary.readouterr().out)
    assert (said["bpm"], said["key"], said["seed"], said["files"]) == (85, "C Major", 7, [str(out)])
    assert out.stat().st_size > 44


@pytest.mark.parametrize("ending", ["mp3", "flac"])
def test_every_option_of_the_command_writes_its_file(
    ending: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    out, stems, midi, score = (tmp_path / name for name in (f"beat.{ending}", "stems", "beat.mid", "beat.json"))
    asked = ["Trap - Dark/Aggressive", "--seed", "7", "--bpm", "150", "--key", "F# Minor", "--seconds", "8", "--json"]
    cover_png, hook = tmp_path / "new" / "cover.png", tmp_path / "hook.mp3"
    if ending == "flac":
        asked += ["--stems", str(stems), "--midi", str(midi), "--score", str(score), "--take", "2"]
        asked += ["--cover", str(cover_png), "--preview", str(hook)]
    assert commands()["generate"].main([*asked, "--out", str(out)], standalone_mode=False) == 0
    said = json.loads(capfdbinary.readouterr().out)

    assert (said["bpm"], said["key"], said["seed"]) == (150, "F# Minor", 7)
    sound, told, _ = read(out)
    assert told["title"] == said["title"]
    assert sound.shape[1] / RATE == pytest.approx(said["duration_seconds"], abs=0.1)
    assert abs(said["lufs"] + 14) <= 0.5
    assert said["true_peak_dbtp"] <= -1.0
    if ending == "flac":
        assert midi.read_bytes()[:4] == b"MThd"
        assert (from_json(score.read_bytes()).bpm, from_json(score.read_bytes()).brief.take, said["take"]) == (
            150,
            2,
            2,
        )
        assert struct.unpack(">II", cover_png.read_bytes()[16:24]) == (3000, 3000)
        assert mp3.MP3(hook).info.length == pytest.approx(said["duration_seconds"], abs=0.1)
        assert {path.stem for path in stems.iterdir()} == {"drums", "bass", "chords", "melody", "effects", "mix"}
        assert sorted(said["files"]) == sorted(map(str, [out, midi, score, cover_png, hook, *stems.iterdir()]))


def test_the_list_of_categories_is_an_option_and_says_everything(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert commands()["generate"].main(["--list", "--json"], standalone_mode=False) == 0
    listed = json.loads(capfdbinary.readouterr().out)
    names = [template.category for template in catalogue()]
    assert [each["category"] for each in listed] == names
    assert commands()["generate"].main(["--list"], standalone_mode=False) == 0
    shown = capfdbinary.readouterr().out.decode()
    # In a terminal of 80 columns, too, none is broken into lines.
    assert all(name in shown for name in names)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"category": "Polka"}, "There is no category"),
        ({"out": Path("beat.ogg")}, "must end in"),
        ({"bpm": 900}, "A tempo lies between"),
        ({"key": "H"}, "is not a key"),
        ({"midi": Path("./beat.wav")}, "Two files cannot go to one place"),
        ({"stems": Path("parts"), "out": Path("parts/mix.wav")}, "Two files cannot go to one place"),
    ],
)
def test_the_command_refuses_in_a_sentence(
    changes: dict[str, Any], sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    from infra import generate

    request = generate.Request(
        "LoFi – Melodic/Calm", Path("beat.wav"), 0, 1, None, None, 10.0, None, None, None, None, None
    )
    assert generate.run(request._replace(**changes), as_json=False) == 1
    assert sentence in capfd.readouterr().err
