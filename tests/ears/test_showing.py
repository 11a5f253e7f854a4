"""What an analysis looks like to others: pictures, Spotify's schemas, waveform players, and the command line."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from msgspec.structs import replace

from adapters.ears import pictures
from adapters.ears.engine import analyse
from adapters.ears.exports import spotify_analysis, spotify_features
from domain.analyses.findings import Analysis, Detail, Findings
from infra import cli
from tests.data.compose import BAR, BPM, SONG
from tests.ears.sounds import silence, write_wav

FEATURES = {
    "danceability", "energy", "key", "loudness", "mode", "speechiness", "acousticness", "instrumentalness", "liveness",
    "valence", "tempo", "type", "id", "uri", "track_href", "analysis_url", "duration_ms", "time_signature",
}  # fmt: skip


@pytest.fixture(scope="session")
def song() -> Analysis:
    return analyse(SONG)


def test_the_tune_of_the_tour_is_heard_as_it_was_composed(song: Analysis) -> None:
    findings = song.findings
    assert findings.bpm == pytest.approx(BPM, rel=0.02)
    assert findings.key_notation == "Dm"
    assert findings.camelot == "7A"
    assert findings.time_signature == 4
    assert [section.label for section in findings.sections] == ["A", "B", "A"]
    assert [section.start for section in findings.sections] == pytest.approx([0, 4 * BAR, 8 * BAR], abs=0.6)
    assert SONG.stat().st_size < 200_000


def test_spotifys_features_are_all_there_and_what_was_not_measured_is_null(song: Analysis) -> None:
    features = spotify_features(song.findings, analysis_id="a1", analysis_url="/v1/analysis/a1")
    assert set(features) == FEATURES
    assert (features["key"], features["mode"], features["time_signature"]) == (2, 0, 4)
    assert [features[name] for name in ("speechiness", "acousticness", "instrumentalness", "liveness")] == [None] * 4
    assert features["duration_ms"] == pytest.approx(1000 * song.findings.duration_seconds, abs=1)


def test_spotifys_analysis_tells_bars_beats_tatums_sections_and_segments(song: Analysis) -> None:
    told = spotify_analysis(song, timestamp=1_700_000_000)
    assert set(told) == {"meta", "track", "bars", "beats", "tatums", "sections", "segments"}
    assert len(told["tatums"]) == 2 * len(told["beats"]) == 2 * len(song.detail.beats)
    beats = told["beats"]
    for one, following in pairwise(beats):
        assert one["start"] + one["duration"] == pytest.approx(following["start"], abs=0.002)
    assert told["sections"][0]["key"] in range(-1, 12)
    assert all(len(segment["pitches"]) == 12 for segment in told["segments"])
    assert told["segments"][-1]["loudness_end"] is None
    assert told["track"]["num_samples"] == song.detail.sample_count
    assert told["track"]["start_of_fade_out"] == pytest.approx(song.findings.duration_seconds, abs=3)
    json.dumps(told)


def test_a_recording_of_nothing_still_has_every_field() -> None:
    nothing = Analysis(findings=Findings(duration_seconds=3.0), detail=Detail())
    features = spotify_features(nothing.findings)
    assert set(features) == FEATURES
    assert (features["key"], features["mode"], features["tempo"]) == (-1, None, None)
    told = spotify_analysis(nothing)
    assert told["bars"] == told["beats"] == told["sections"] == told["segments"] == []


def test_a_metre_that_spotify_does_not_know_is_left_out() -> None:
    assert spotify_features(Findings(time_signature=9))["time_signature"] is None
    assert spotify_features(Findings(time_signature=7))["time_signature"] == 7


PICTURES = (pictures.overview, pictures.waveform, pictures.chromagram, pictures.loudness)


def is_picture(png: bytes) -> bool:
    width, height = int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
    return png.startswith(b"\x89PNG") and width > 1000 and height > 200 and len(png) > 3000


@pytest.mark.parametrize("draw", PICTURES)
def test_every_picture_can_be_drawn(song: Analysis, draw: object) -> None:
    assert callable(draw)
    assert is_picture(draw(song))


@pytest.mark.parametrize("draw", PICTURES)
def test_even_nothing_can_be_drawn(draw: object, tmp_path: Path) -> None:
    assert callable(draw)
    assert is_picture(draw(analyse(write_wav(tmp_path / "a.wav", silence(2)))))
    assert is_picture(draw(Analysis(findings=Findings(), detail=Detail())))


def test_what_is_wrong_with_a_file_stands_in_its_picture(song: Analysis) -> None:
    figure = Figure()
    wrong = replace(song.findings, warnings=("shorter_than_claimed", "channels_change"), complete=False)
    pictures._headline(figure, "a song", replace(wrong, duration_seconds=12.0, claimed_seconds=32.0))
    told = " ".join(text.get_text() for text in figure.texts)
    assert "only 12 of 32 s are in the file" in told
    assert "shorter than claimed, channels change" in told


def test_a_title_may_hold_any_sign(song: Analysis) -> None:
    assert is_picture(pictures.overview(song, title="$x_{1}$ 曲 \n\t é – 🎵"))


def test_many_sections_do_not_run_out_of_letters(song: Analysis) -> None:
    section = song.findings.sections[0]
    many = tuple(replace(section, label=label) for label in ("A", "Z", "AA", "ZZ"))
    assert is_picture(pictures.overview(Analysis(findings=replace(song.findings, sections=many), detail=song.detail)))


def run(*words: str | Path) -> int:
    return cli.main(["analyze", *(str(word) for word in words)])


def test_the_command_line_tells_a_person(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture = tmp_path / "song.png"
    assert run(SONG, "--plot", picture) == 0
    out = capsys.readouterr().out
    assert "song.ogg" in out
    assert "Dm (7A)" in out
    assert "LUFS" in out
    assert is_picture(picture.read_bytes())


def test_the_command_line_tells_a_machine_one_line_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = tmp_path / "words.mp3"
    words.write_text("no sound " * 100)
    assert run("--json", SONG, words) == 1
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["path"], first["key_notation"]) == (str(SONG), "Dm")
    assert "detail" not in first
    assert second["path"] == str(words)
    assert second["error"].endswith(".")


def test_the_detail_comes_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json", "--detail", SONG) == 0
    assert len(json.loads(capsys.readouterr().out)["detail"]["beats"]) > 40


def test_several_files_make_a_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(SONG, write_wav(tmp_path / "quiet.wav", silence(2))) == 0
    out = capsys.readouterr().out
    assert "song.ogg" in out
    assert "quiet.wav" in out


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(tmp_path / "gone.mp3") == 1
    assert "gone.mp3" in capsys.readouterr().out.replace("\n", "")
