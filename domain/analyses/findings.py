"""What was heard in a recording: a small summary everybody reads, and the long detail behind it."""

from __future__ import annotations

from typing import Literal

from domain.kernel import Value

#: The name under which our six broad genres are published; a changed list gets a new name.
GENRE_TAXONOMY = "beatlyze_broad_6_v1"

ReviewCode = Literal["low_confidence", "close_scores", "out_of_taxonomy"]
Scale = Literal["major", "minor"]
Mode = Literal["mixolydian", "lydian", "dorian", "phrygian"]
Relation = Literal["same", "half", "double", "third", "triple", "other"]
#: What is to be known of a file before its figures are trusted.
FileWarning = Literal[
    "shorter_than_claimed",
    "longer_than_claimed",
    "packets_broken",
    "samples_mended",
    "channels_change",
    "rate_changes",
]

WARNINGS: dict[FileWarning, str] = {
    "shorter_than_claimed": "The file holds less than its header promises.",
    "longer_than_claimed": "The file holds more than its header promises.",
    "packets_broken": "Parts of the file could not be decoded.",
    "samples_mended": "Some samples were no levels and were put right.",
    "channels_change": "The channels change on the way.",
    "rate_changes": "The sample rate changes on the way.",
}


class Unreadable(Exception):
    """These bytes cannot be heard. The message is one sentence for the person who sent them."""

    @property
    def sentence(self) -> str:
        """What is wrong with the file, in words its owner understands."""
        return str(self)


class Section(Value, frozen=True):
    """A stretch of the recording that holds together; sections with one label repeat each other."""

    start: float
    end: float
    duration: float
    label: str
    energy: float | None = None
    loudness: float | None = None
    key: str | None = None
    confidence: float = 0.0


class TempoCandidate(Value, frozen=True):
    """Another speed at which people may count this music, and how likely it is the one they choose."""

    bpm: float
    confidence: float
    relation: Relation = "other"


class KeyCandidate(Value, frozen=True):
    """A key this music may be in, and how likely it is that one."""

    key_notation: str
    confidence: float


class Findings(Value, frozen=True):
    """The summary of a recording. What cannot honestly be known of it is null.

    Times are seconds from the first sample; loudness is in LUFS, LU, dBFS or dBTP as named; every other measure
    without a unit is a share from 0 to 1.
    """

    bpm: float | None = None
    bpm_confidence: float = 0.0
    key: str | None = None
    scale: Scale | None = None
    key_notation: str | None = None
    key_confidence: float = 0.0
    loudness_lufs: float | None = None
    duration_seconds: float = 0.0
    time_signature: int | None = None
    energy: float | None = None
    danceability: float | None = None
    valence: float | None = None
    mood_tags: tuple[str, ...] = ()
    genre_suggestions: tuple[str, ...] = ()
    genre_confidence: float = 0.0
    genre_taxonomy: str = GENRE_TAXONOMY
    genre_review_recommended: bool = True
    genre_review_code: ReviewCode | None = "low_confidence"
    sections: tuple[Section, ...] = ()

    bpm_candidates: tuple[TempoCandidate, ...] = ()
    tempo_stability: float | None = None
    tempo_is_variable: bool | None = None
    beat_count: int = 0
    time_signature_text: str | None = None
    time_signature_confidence: float = 0.0
    key_candidates: tuple[KeyCandidate, ...] = ()
    camelot: str | None = None
    tuning_hz: float | None = None
    tuning_cents: float | None = None
    modulates: bool | None = None
    loudness_range_lu: float | None = None
    short_term_max_lufs: float | None = None
    momentary_max_lufs: float | None = None
    true_peak_dbtp: float | None = None
    sample_peak_dbfs: float | None = None
    rms_dbfs: float | None = None
    clipped_share: float | None = None
    fade_in_end_seconds: float | None = None
    fade_out_start_seconds: float | None = None
    chord_progression: tuple[str, ...] = ()

    #: Seconds that could be decoded, and seconds that a header promises; None where none does, or nothing was noted.
    decoded_seconds: float | None = None
    claimed_seconds: float | None = None
    #: Whether all that was promised came out; None where nothing was promised.
    complete: bool | None = None
    warnings: tuple[FileWarning, ...] = ()
    #: The standard error of `bpm` where one even grid of beats holds from end to end, elsewhere the standard deviation
    #: of local tempi; and where such a grid holds, its first beat: beat n is at `first_beat_seconds` + n * 60 / `bpm`.
    bpm_stdev: float | None = None
    first_beat_seconds: float | None = None
    #: How likely bars begin where the detail's `downbeats` say.
    downbeat_confidence: float = 0.0
    #: The mode on the tonic `key` where it clearly is neither plain major nor minor; `scale` then tells its third.
    mode: Mode | None = None


class Chord(Value, frozen=True):
    """A chord that sounds from `start` to `end`, written as C, Cm, G7 or Am7; N where none does."""

    start: float
    end: float
    name: str
    confidence: float = 0.0


class Segment(Value, frozen=True):
    """The stretch between two onsets: how loud it is, which pitches it holds, what colour it has."""

    start: float
    duration: float
    confidence: float
    loudness_start: float
    loudness_max: float
    loudness_max_time: float
    pitches: tuple[float, ...]
    timbre: tuple[float, ...]


class Curve(Value, frozen=True):
    """A measure over time: value `i` belongs to the moment `(i + 0.5) * step_seconds`; null where it has no value."""

    step_seconds: float
    values: tuple[float | None, ...] = ()


class Waveform(Value, frozen=True):
    """The outline of the recording: the lowest and highest sample of each step, over all channels, from -1 to 1."""

    step_seconds: float
    lows: tuple[float, ...] = ()
    highs: tuple[float, ...] = ()


class Chromagram(Value, frozen=True):
    """How strong each of the twelve pitch classes from C to B is in each step, from 0 to 1."""

    step_seconds: float
    rows: tuple[tuple[float, ...], ...] = ()


class Cue(Value, frozen=True):
    """A place to start playing from: the first beat of a bar at which a section begins."""

    seconds: float
    label: str


class Detail(Value, frozen=True):
    """Everything that grows with the length of the recording; kept beside the event log, not in it."""

    beats: tuple[float, ...] = ()
    downbeats: tuple[float, ...] = ()
    onsets: tuple[float, ...] = ()
    tempo_curve: Curve = Curve(step_seconds=1.0)
    chords: tuple[Chord, ...] = ()
    segments: tuple[Segment, ...] = ()
    waveform: Waveform = Waveform(step_seconds=1.0)
    chromagram: Chromagram = Chromagram(step_seconds=1.0)
    loudness_momentary: Curve = Curve(step_seconds=1.0)
    loudness_short_term: Curve = Curve(step_seconds=1.0)
    sample_rate: int = 0
    channels: int = 0
    sample_count: int = 0
    cue_points: tuple[Cue, ...] = ()


class Analysis(Value, frozen=True):
    """All that the ears have to say about one recording."""

    findings: Findings
    detail: Detail
