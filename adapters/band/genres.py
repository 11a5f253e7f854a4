"""What makes a genre itself, one profile each: the page that a musician reads and corrects.

Rhythms are written in sixteenths, sixteen signs a bar, and go round: `X` an accent, `x` a stroke, `o` a soft one, a
digit a stroke that comes so many times in ten (drawn once for a loop, so that a loop repeats), `.` nothing. In rhythms
of chords and melodies `-` holds on. Basses are spelt: `r` the root, `o` its octave, `f` the fifth, `s` the seventh
below the octave, `a` a step towards the next root. Counter-melodies name tones of the chord from below, `0` to `7`.
Forms are tables: section, bars, energy, and who plays: d drums, b bass, c chords, m melody, a counter-melody.

Sources. Mark J. Butler, Unlocking the Groove (2006): house and techno. Rick Snoman, Dance Music Manual (4th ed.
2019): trap, house, techno, drum and bass, ambient. Justin Adams Burton, Posthuman Rap (2017): trap. Joseph Schloss,
Making Beats (2004): boom bap. Andrew Frane, Swing Rhythm in Classic Drum Breaks From Hip-Hop's Breakbeat Canon, Music
Perception 34 (2017): swing of breaks. Dan Charnas, Dilla Time (2022): the late snare and unquantised hands of lo-fi.
Peter Manuel and Wayne Marshall, The riddim method, Popular Music 25 (2006), and Rivera, Marshall and Pacini Hernandez
(eds), Reggaeton (2009): dembow. Simon Reynolds, Energy Flash (1998): breakbeats and reese basses. Brian Eno, Music
for Airports, sleeve notes (1978): ambient. Tunes: David Huron, Sweet Anticipation (2006), and Paul von Hippel and David
Huron, Why Do Skips Precede Reversals?, Music Perception 18 (2000): mostly steps, few repeated tones, and after a skip
the way back; David Temperley, Information Flow and Repetition in Music, Journal of Music Theory 58 (2014): what returns
comes with a wider interval; Godfried Toussaint, The Geometry of Musical Rhythm (2013): three, three, two; Computer
Music (April 2017), Synthwave theory: arpeggios. Numbers that no book gives (levels, chances, milliseconds) are ours,
set by ear and picture.
"""

from __future__ import annotations

from adapters.band.score import Drum
from domain.kernel import Value


class Lane(Value):
    """One drum: its rhythms, of which a piece draws one, and how it is played."""

    drum: Drum
    patterns: tuple[str, ...]
    level: float = 1.0
    #: It plays in sections of at least this energy.
    energy_min: float = 0.0
    #: Milliseconds behind the beat (negative: before it).
    late: float = 0.0
    #: The chance that a beat of it turns into a roll, and into how many strokes.
    roll: float = 0.0
    rolls: tuple[int, ...] = (6, 8)


class Fill(Value):
    """What the last bar of a section does to some drums, from the first stroke of its rhythm on."""

    lanes: tuple[tuple[Drum, str], ...]


class Bass(Value):
    """How the bass behaves."""

    instruments: tuple[str, ...]
    #: Spelt rhythms; empty: it plays with the kick.
    patterns: tuple[str, ...] = ()
    low: int = 28
    high: int = 45
    #: The longest note in beats, and the chance of a slide into a note.
    beats_max: float = 4.0
    slide: float = 0.0
    #: The chance that a note of a bass that follows the kick is the fifth or the octave instead of the root.
    wander: float = 0.15


class Chords(Value):
    """What the harmony does, and how it is played."""

    instruments: tuple[str, ...]
    #: Progressions by the family of the mode, one numeral for each `bars` bars.
    minor: tuple[str, ...]
    major: tuple[str, ...]
    bars: int
    patterns: tuple[str, ...]
    low: int = 52
    high: int = 72
    voices: int = 4
    #: Milliseconds from one voice to the next.
    strum: float = 0.0


class Melody(Value):
    """How melodies are made."""

    instruments: tuple[str, ...]
    #: Rhythms of motifs, one bar or two.
    patterns: tuple[str, ...]
    low: int = 67
    high: int = 86
    pentatonic: bool = True
    #: How many tones of the scale a line moves at once, and how often; steps, and from three on skips.
    moves: tuple[tuple[int, float], ...] = ((0, 1), (1, 5), (2, 1.5), (3, 0.8))
    #: The chance that a line turns at a note, and how many tones of the scale it goes from its tonic before it must.
    turn: float = 0.35
    reach: int = 4
    #: The chance that a step goes where the scale has a half-step, up or down.
    half_steps: float = 0.0
    #: What a hook is held to: the share of its steps that may stay on their tone, how many tones it has at least, and
    #: over how many semitones.
    stays_max: float = 0.3
    tones_min: int = 5
    room_min: int = 7


class Counter(Value):
    """What plays around melody and chords."""

    instruments: tuple[str, ...]
    patterns: tuple[str, ...]
    low: int = 60
    high: int = 84


class Mix(Value):
    """Loudness of stems in dB against the drums, sends in dB, and how the kick makes room for itself."""

    drums: float = 0.0
    bass: float = -2.0
    chords: float = -8.0
    melody: float = -7.0
    counter: float = -11.0
    effects: float = -16.0
    #: To the hall, from -60 (none).
    drums_hall: float = -26.0
    chords_hall: float = -14.0
    melody_hall: float = -12.0
    #: To the echo, and its length in beats.
    melody_echo: float = -16.0
    echo_beats: float = 0.75
    #: Seconds until the hall has fallen by 60 dB, and how bright it is (Hz).
    hall_seconds: float = 1.8
    hall_bright: float = 5000.0
    #: How many dB bass and chords give way to the kick, and for how many seconds.
    duck_bass: float = 6.0
    duck_chords: float = 3.0
    duck_seconds: float = 0.18
    #: What lies under everything: none, vinyl, tape or air.
    bed: str = ""
    #: dB of drive on the whole mix, and the highest frequency it keeps (0: all).
    glue: float = 3.0
    bandwidth: float = 0.0
    #: dB that the whole mix gains above 1.5 kHz: kick and bass are loud, and what speaks must be heard over them.
    presence: float = 3.0


class Profile(Value):
    """A genre."""

    name: str
    #: The tempi that are right, and those that are usual.
    bpm: tuple[int, int]
    usual: tuple[int, int]
    #: Modes and how often.
    modes: tuple[tuple[str, float], ...]
    #: Where the second of two sixteenths falls, from and to.
    swing: tuple[float, float]
    #: Milliseconds by which hands stray, and how much strokes differ.
    hand: float
    touch: float
    kit: str
    lanes: tuple[Lane, ...]
    fills: tuple[Fill, ...]
    bass: Bass
    chords: Chords
    melody: Melody
    counter: Counter
    forms: tuple[str, ...]
    mix: Mix
    #: What must never happen; the tests hold the composer to it.
    never: tuple[str, ...]
    tail_seconds: float = 2.5


BACKBEAT = "....X.......X..."
FOUR = "X...X...X...X..."

TRAP = Profile(
    name="Trap",
    bpm=(120, 160),
    usual=(134, 148),
    modes=(("minor", 5), ("harmonic minor", 3), ("phrygian", 1)),
    swing=(0.5, 0.52),
    hand=2.0,
    touch=0.08,
    kit="808",
    lanes=(
        Lane(
            drum="kick",
            patterns=(
                "X......x..x.....X.........x.x...",
                "X.....x...x.....X..x......x.....",
                "X.........x..x..X.....x...x...3.",
                "X..x..x.........X..x..x.....x...",
            ),
        ),
        Lane(drum="clap", patterns=("........X.......",)),
        Lane(drum="snare", patterns=("........X......3", "........X.....2."), level=0.6),
        Lane(
            drum="hat",
            patterns=("x.o.x.o.x.o.x.o.", "X.o.x.o.X.o.x.o.", "x.o.x.oox.o.x.oo"),
            level=0.62,
            roll=0.16,
            rolls=(3, 6, 8),
        ),
        Lane(
            drum="open_hat",
            patterns=("......x.........", "..............x.", "..........x....."),
            level=0.5,
            energy_min=0.7,
        ),
        Lane(drum="rim", patterns=("...4.......4....", ".....3.....5..2."), level=0.5, energy_min=0.6),
    ),
    fills=(
        Fill(lanes=(("snare", "........x.x.xxxx"), ("kick", "........x......."))),
        Fill(lanes=(("kick", "............x.x."), ("hat", "............xxxx"), ("snare", ".............x.x"))),
        Fill(lanes=(("hat", "........X......."), ("kick", "........x......."), ("clap", "........X......."))),
    ),
    bass=Bass(instruments=("808",), low=26, high=40, beats_max=3.5, slide=0.22, wander=0.12),
    chords=Chords(
        instruments=("dark pad", "strings", "choir"),
        minor=("i VI i V", "i i VI VII", "i iv VI v", "i VI iv i", "i iv i V", "i i iv V"),
        major=("I vi IV V", "I iii vi IV"),
        bars=1,
        patterns=("x---------------", "x-------x-------"),
        low=53,
        high=72,
        voices=3,
    ),
    melody=Melody(
        instruments=("bell", "pluck", "flute", "piano"),
        patterns=(
            "x.x.x--.x.x.x---",
            "x--x--x.x--x--x.",
            "x...x.x.x---x.x.",
            "..x.x.x---x.x---",
            "x-x-x---x-x-x---x-x-x---x-------",
        ),
        low=67,
        high=85,
    ),
    counter=Counter(instruments=("pluck", "bell"), patterns=("..0...1...2...1.", "0..1..2.0..1..2."), low=72, high=88),
    forms=(
        """intro 4 .30 cm
           hook 8 1.0 dbcma
           verse 16 .75 dbcm
           hook 8 1.0 dbcma
           verse 16 .70 dbm
           bridge 8 .45 cma
           hook 16 1.0 dbcma
           outro 4 .30 cm""",
        """intro 8 .35 cma
           verse 16 .75 dbm
           hook 8 1.0 dbcma
           bridge 4 .40 cm
           verse 16 .75 dbcm
           hook 16 1.0 dbcma
           outro 4 .35 dm""",
    ),
    mix=Mix(bass=-2.0, chords=-11.0, melody=-6.0, counter=-12.0, hall_seconds=2.2, duck_bass=4.0, glue=4.0),
    never=("The clap leaves the third beat.", "The kick goes on all four beats."),
)

DRILL = Profile(
    name="Drill",
    bpm=(130, 150),
    usual=(138, 146),
    modes=(("minor", 4), ("harmonic minor", 4)),
    swing=(0.5, 0.51),
    hand=2.0,
    touch=0.1,
    kit="drill",
    lanes=(
        # The second backbeat comes late in every other bar: the third beat, then the fourth and a bit.
        Lane(drum="snare", patterns=("........X...............X.....x.", "........X.............X.....x...")),
        Lane(drum="clap", patterns=("........x.......",), level=0.55),
        Lane(
            drum="kick",
            patterns=(
                "X.....x.....x...X..x......x.....",
                "X..x........x...X.....x...x..x..",
                "X.....x..x......X..x........x...",
            ),
        ),
        Lane(
            drum="hat",
            patterns=("x..x..x.x..x..x.", "x..x..x.x..x.xx."),
            level=0.6,
            roll=0.12,
            rolls=(3, 6),
        ),
        Lane(drum="open_hat", patterns=("..............x.", "......4........."), level=0.42, energy_min=0.7),
        Lane(drum="rim", patterns=("...x.......3..4.", "......x....x..3."), level=0.55, energy_min=0.55),
    ),
    fills=(
        Fill(lanes=(("snare", "............x.xx"), ("kick", "........x......."))),
        Fill(lanes=(("rim", "........x..x..x."), ("kick", "........x..x...."))),
    ),
    bass=Bass(instruments=("808",), low=26, high=43, beats_max=3.0, slide=0.5, wander=0.25),
    chords=Chords(
        instruments=("strings", "dark pad", "choir"),
        minor=("i i VI V", "i i iv V", "i VI iv V", "i VI i V", "i iv VI V"),
        major=("I vi IV V",),
        bars=1,
        patterns=("x---------------", "x.....x.....x..."),
        low=53,
        high=72,
        voices=3,
    ),
    melody=Melody(
        instruments=("piano", "pluck", "bell", "choir lead"),
        patterns=(
            "x..x..x.x..x..x.",
            "x--x--x-----x.x-",
            "x-----x--x--x---",
            "x..x..x---x-----",
            "x.x.x-----x.x---",
            "x..x..x-x-------x..x..x-------x-",
            "x--x--x---------x-----x--x--x---",
        ),
        low=65,
        high=88,
        # Few tones, half-steps that close in on the tonic and the fifth, and an octave like a door that slams.
        pentatonic=False,
        moves=((1, 5), (2, 1.5), (7, 0.8)),
        half_steps=0.6,
        stays_max=0.25,
        tones_min=6,
        room_min=9,
    ),
    counter=Counter(
        instruments=("strings", "bell"), patterns=("0-----1-----2---", "..2.....1......."), low=72, high=88
    ),
    forms=(
        """intro 4 .30 cm
           verse 16 .80 dbcm
           hook 8 1.0 dbcma
           verse 16 .75 dbm
           hook 8 1.0 dbcma
           bridge 8 .45 cma
           hook 8 1.0 dbcma
           outro 4 .30 cm""",
        """intro 8 .35 ma
           hook 8 1.0 dbcma
           verse 16 .75 dbcm
           bridge 4 .40 cm
           hook 16 1.0 dbcma
           outro 4 .30 cma""",
    ),
    mix=Mix(bass=-1.0, chords=-10.0, melody=-6.0, counter=-13.0, hall_seconds=2.0, duck_bass=4.0, glue=4.0),
    never=("The snare falls on the same place in two bars in a row.", "Hats run in even eighths."),
)

BOOM_BAP = Profile(
    name="Boom Bap",
    bpm=(82, 100),
    usual=(86, 96),
    modes=(("minor", 5), ("dorian", 3)),
    swing=(0.56, 0.62),
    hand=5.0,
    touch=0.14,
    kit="break",
    lanes=(
        Lane(
            drum="kick",
            patterns=(
                "X......x..x.....X.x....x..x...3.",
                "X.........x..x..X......x..x.....",
                "X..x......x.....X..x...x..x.....",
                "X.x....x..x.....X......x..xx....",
            ),
        ),
        Lane(drum="snare", patterns=("....X..2....X...", "....X..o.2..X...", "....X....o..X..2"), late=6.0),
        Lane(drum="hat", patterns=("X.x.X.x.X.x.X.x.", "X.x.X.xoX.x.X.x."), level=0.55),
        Lane(drum="open_hat", patterns=("..............4.", "......3........."), level=0.45, energy_min=0.6),
        Lane(drum="ride", patterns=("x...x...x...x...",), level=0.28, energy_min=0.95),
    ),
    fills=(
        Fill(lanes=(("snare", "..........x.xoxx"), ("kick", "........x......."))),
        Fill(lanes=(("kick", "........X......."), ("snare", "............X..."), ("hat", "........x......."))),
    ),
    bass=Bass(
        instruments=("upright", "sub"),
        patterns=(
            "r--....r..r---..r-f....r--s...a.",
            "r-----....r-f---r--...r-..o-..a.",
            "r--r--....f-..s.r--....r..r--.a.",
        ),
        low=28,
        high=45,
        beats_max=1.5,
    ),
    chords=Chords(
        instruments=("rhodes", "piano", "organ"),
        minor=("iadd9 iadd9 iv9 V7", "i VImaj7 i V7", "iadd9 iv7 VImaj7 V7", "iadd9 i VImaj7 V7", "i iv7 i7 V7"),
        major=("Imaj7 vi7 ii7 V7",),
        bars=1,
        patterns=("x------.....x--.", "x--.......x--...", "x-------..x-----", "..x--.....x--..."),
        low=52,
        high=70,
        voices=4,
        strum=8.0,
    ),
    melody=Melody(
        instruments=("vibes", "flute", "brass", "pluck"),
        patterns=("x.x--.x.x---....", "..x.x.x--.x---..", "x---..x.x.x-....", "x.x.x---........"),
        low=64,
        high=81,
    ),
    counter=Counter(
        instruments=("brass", "strings"), patterns=("............2-1-", "2---------------"), low=62, high=79
    ),
    forms=(
        """intro 4 .40 cm
           verse 16 .75 dbc
           hook 8 1.0 dbcma
           verse 16 .75 dbc
           hook 8 1.0 dbcma
           bridge 4 .50 dbm
           hook 8 1.0 dbcma
           outro 4 .45 dcm""",
        """intro 2 .35 dm
           hook 8 1.0 dbcm
           verse 16 .70 dbca
           hook 8 1.0 dbcma
           bridge 8 .50 bcm
           verse 8 .75 dbc
           hook 8 1.0 dbcma
           outro 4 .40 cm""",
    ),
    mix=Mix(
        bass=-2.5,
        chords=-7.0,
        melody=-8.0,
        counter=-13.0,
        hall_seconds=1.0,
        drums_hall=-22.0,
        duck_bass=2.0,
        duck_chords=1.5,
        bed="vinyl",
        glue=5.0,
        bandwidth=14000.0,
        presence=1.0,
    ),
    never=("The snare leaves the second and fourth beat.", "Sixteenths are straight."),
)

LOFI = Profile(
    name="LoFi",
    bpm=(68, 92),
    usual=(74, 88),
    modes=(("major", 4), ("minor", 3), ("dorian", 1)),
    swing=(0.56, 0.63),
    hand=8.0,
    touch=0.16,
    kit="dusty",
    lanes=(
        Lane(drum="kick", patterns=("X.....x...x.....", "X......x..x...3.", "X.........x..x..", "X..x......x.....")),
        Lane(drum="snare", patterns=("....X.......X...", "....X.......X..2"), late=14.0, level=0.85),
        Lane(drum="hat", patterns=("x.x.x.x.x.x.x.x.", "x.o.x.o.x.o.x.oo"), level=0.42, late=-2.0),
        Lane(drum="rim", patterns=(".......4......2.",), level=0.4, energy_min=0.6),
        Lane(drum="shaker", patterns=("x.o.x.o.x.o.x.o.",), level=0.22, energy_min=0.8),
    ),
    fills=(
        Fill(lanes=(("kick", "........X......."), ("snare", "............x.o."))),
        Fill(lanes=(("snare", "..........o.x.oo"),)),
    ),
    bass=Bass(
        instruments=("upright", "sub"),
        patterns=("r-----....r-----", "r-----..f---r-..", "r---------r-..a."),
        low=28,
        high=45,
        beats_max=3.0,
    ),
    chords=Chords(
        instruments=("rhodes", "piano", "guitar"),
        minor=("iadd9 iv9 VImaj7 V7", "i VImaj7 iv9 V7", "iadd9 VImaj7 i V7", "iadd9 iv9 iadd9 V7"),
        major=("Iadd9 vi9 ii9 V7", "Imaj7 vi7 IVmaj7 V7", "Iadd9 iii7 vi7 V7", "I6 IVmaj7 I6 V7"),
        bars=1,
        patterns=("x---------------", "x-------..x-----", "x-----..x-------", "x--..x----------"),
        low=52,
        high=71,
        voices=4,
        strum=16.0,
    ),
    melody=Melody(
        instruments=("vibes", "guitar", "flute", "rhodes"),
        patterns=("x.x-x---..x-x---", "..x-x-x---------", "x---x-x-x-------", "x-x-..x---..x---", "....x-x-x---x---"),
        low=67,
        high=84,
    ),
    counter=Counter(
        instruments=("guitar", "vibes"), patterns=("..0..1..2..3....", "........3.2.1.0."), low=64, high=81
    ),
    forms=(
        """intro 4 .35 cm
           verse 8 .65 dbc
           hook 8 .95 dbcma
           verse 8 .70 dbca
           hook 8 .95 dbcma
           bridge 4 .45 cm
           hook 8 1.0 dbcma
           outro 4 .35 cm""",
        """intro 4 .30 ca
           hook 8 .95 dbcm
           verse 8 .65 dbca
           bridge 4 .45 bcm
           hook 8 1.0 dbcma
           verse 8 .65 dbc
           hook 8 .95 dbcma
           outro 4 .30 cm""",
    ),
    mix=Mix(
        drums=-1.5,
        bass=-4.0,
        chords=-4.0,
        melody=-7.5,
        counter=-12.0,
        effects=-17.0,
        hall_seconds=1.6,
        hall_bright=3000.0,
        duck_bass=2.0,
        duck_chords=2.5,
        duck_seconds=0.25,
        bed="tape",
        glue=5.0,
        bandwidth=9000.0,
        presence=0.0,
    ),
    never=(
        "Anything is brighter than a worn tape.",
        "The snare comes before the beat.",
        "A melody runs in sixteenths.",
    ),
    tail_seconds=3.0,
)

HOUSE = Profile(
    name="House",
    bpm=(118, 128),
    usual=(120, 126),
    modes=(("minor", 4), ("dorian", 2), ("major", 2)),
    swing=(0.52, 0.57),
    hand=1.5,
    touch=0.06,
    kit="909",
    lanes=(
        Lane(drum="kick", patterns=(FOUR,)),
        Lane(drum="clap", patterns=(BACKBEAT,), level=0.8, energy_min=0.5),
        Lane(drum="open_hat", patterns=("..x...x...x...x.",), level=0.62, energy_min=0.55),
        Lane(drum="hat", patterns=("x.ox.xo.x.ox.xo.", "o.xoo.xoo.xoo.xo"), level=0.42, energy_min=0.4),
        Lane(drum="shaker", patterns=("oxoXoxoXoxoXoxoX", "o.xoo.xoo.xoo.xo"), level=0.28, energy_min=0.7),
        Lane(drum="conga", patterns=("...x..x....x..x.", "..5..x....5..x.x"), level=0.4, energy_min=0.75),
    ),
    fills=(
        Fill(lanes=(("clap", "........x..x..xx"), ("kick", "............x..."))),
        Fill(lanes=(("snare", "........x.x.xxxx"),)),
    ),
    bass=Bass(
        instruments=("square bass", "fm bass", "saw bass"),
        patterns=("..r...r...r...r.", "..r..ro...r..r.o", "r..r..r...r..ro.", "..rr..o...rr..f."),
        low=31,
        high=48,
        beats_max=0.75,
    ),
    chords=Chords(
        instruments=("organ", "saw stab", "piano"),
        minor=("iadd9 i iv7 V7", "iadd9 VImaj7 iv7 V7", "iadd9 VII VImaj7 V7", "i iv7 i V7"),
        major=("Imaj7 vi7 ii7 V7", "Imaj9 IVmaj7 vi7 V7"),
        bars=1,
        patterns=("x--x--x---x--x--", "..x...x...x..x..", "x..x..x.....x...", "..x--.x--...x--."),
        low=55,
        high=74,
        voices=4,
    ),
    melody=Melody(
        instruments=("piano", "pluck", "saw lead", "vibes"),
        patterns=("x..x..x.x..x..x.", "..x.x..x..x.x...", "x.x..x--..x..x--", "x--x--x-x-------"),
        low=67,
        high=84,
    ),
    counter=Counter(
        instruments=("strings", "pluck"), patterns=("2---------------", "0.1.2.1.0.1.2.1."), low=67, high=86
    ),
    forms=(
        """intro 8 .55 dc
           verse 16 .75 dbc
           hook 16 1.0 dbcma
           bridge 8 .40 cma
           hook 16 1.0 dbcma
           verse 8 .75 dbc
           outro 8 .55 db""",
        """intro 8 .50 db
           hook 16 .95 dbcm
           bridge 8 .45 cm
           verse 16 .80 dbca
           hook 16 1.0 dbcma
           outro 8 .50 dc""",
    ),
    mix=Mix(
        bass=-3.0, chords=-5.5, melody=-6.5, counter=-12.0, hall_seconds=1.6, duck_bass=8.0, duck_chords=5.0, glue=4.0
    ),
    never=("The kick leaves a quarter out while drums play.", "The open hat falls on the beat."),
)

TECHNO = Profile(
    name="Techno",
    bpm=(124, 140),
    usual=(128, 136),
    modes=(("minor", 4), ("harmonic minor", 2)),
    swing=(0.5, 0.53),
    hand=0.8,
    touch=0.05,
    kit="techno",
    lanes=(
        Lane(drum="kick", patterns=(FOUR,)),
        Lane(drum="open_hat", patterns=("..x...x...x...x.",), level=0.5, energy_min=0.6),
        Lane(drum="hat", patterns=("oxxooxxooxxooxxo", "x.xox.xox.xox.xo"), level=0.36, energy_min=0.45),
        Lane(drum="clap", patterns=(BACKBEAT, "............X..."), level=0.9, energy_min=0.6),
        Lane(drum="ride", patterns=("x.x.x.x.x.x.x.x.",), level=0.42, energy_min=0.85),
        Lane(drum="rim", patterns=("...x..x.....x..x", "x..x..x..x..x..."), level=0.6, energy_min=0.55),
        Lane(drum="low_tom", patterns=("...x.....x....x.", "......x......x.."), level=0.42, energy_min=0.7),
    ),
    fills=(
        Fill(lanes=(("low_tom", "........x.xxx.xx"),)),
        Fill(lanes=(("hat", "........xxxxxxxx"), ("clap", "............x.xx"))),
    ),
    bass=Bass(
        instruments=("rumble", "saw bass"),
        patterns=(".rrr.rrr.rrr.rrr", "..rr..rr..rr..ro", ".rr..rr..rr..rro"),
        low=28,
        high=43,
        beats_max=0.25,
    ),
    chords=Chords(
        instruments=("dub stab", "saw stab", "dark pad"),
        minor=("i i i v", "i i iv i", "i i iv v", "i i VI i", "i i i V"),
        major=("I I vi V",),
        bars=2,
        patterns=("...x......x.....", "x..x..x.........", "..x....x..x....."),
        low=53,
        high=70,
        voices=3,
    ),
    melody=Melody(
        instruments=("acid", "square lead", "fm pluck"),
        patterns=("x.xx.xx.x.xx.x.x", "x..x..x..x..x.x.", "x.x..xx.x.x..x..", "xx.x.xx.xx.x.x.."),
        low=57,
        high=76,
        # One chord for sixteen bars: the second and the sixth degree of the tune say that it is minor.
        pentatonic=False,
    ),
    counter=Counter(
        instruments=("fm pluck", "bell"), patterns=("0..1..2..0..1.2.", "..2.....2....1.."), low=69, high=86
    ),
    forms=(
        """intro 16 .60 db
           verse 16 .80 dbc
           hook 16 1.0 dbcm
           bridge 8 .40 cma
           hook 16 1.0 dbcma
           outro 8 .60 db""",
        """intro 8 .50 dc
           verse 16 .75 dbm
           bridge 8 .40 ca
           hook 16 1.0 dbcma
           verse 16 .85 dbca
           hook 16 1.0 dbcma
           outro 8 .55 db""",
    ),
    mix=Mix(
        bass=-5.0,
        chords=-7.0,
        melody=-7.5,
        counter=-13.0,
        hall_seconds=2.6,
        chords_hall=-11.0,
        melody_echo=-12.0,
        duck_bass=12.0,
        duck_chords=5.0,
        duck_seconds=0.2,
        glue=5.0,
        presence=5.0,
    ),
    never=("The kick leaves a quarter out while drums play.", "Harmony changes within a bar."),
)

DRUM_AND_BASS = Profile(
    name="Drum and Bass",
    bpm=(168, 178),
    usual=(172, 176),
    modes=(("minor", 5), ("dorian", 2)),
    swing=(0.5, 0.53),
    hand=1.5,
    touch=0.1,
    kit="break",
    lanes=(
        Lane(drum="kick", patterns=("X.........x.....", "X.........x.....X.x.......x.....", "X.....3...x.....")),
        Lane(
            drum="snare",
            patterns=("....X..o.o..X..o", "....X..o....X.o.", "....X....o..X..o....X..o.o..X.oo"),
        ),
        Lane(drum="hat", patterns=("x.x.x.x.x.x.x.x.", "x.xxx.x.x.xxx.x."), level=0.5),
        Lane(drum="ride", patterns=("x.x.x.x.x.x.x.x.", "X...x...X...x..."), level=0.3, energy_min=0.9),
        Lane(drum="shaker", patterns=("oxoxoxoxoxoxoxox",), level=0.25, energy_min=0.7),
    ),
    fills=(
        Fill(lanes=(("snare", "........x..x.xxx"), ("kick", "........X.x....."))),
        Fill(lanes=(("snare", "....X..x..x.xoxx"), ("kick", "x.x............."))),
    ),
    bass=Bass(
        instruments=("reese", "reese", "sub"),
        patterns=(
            "r-----------r---r-------f-----s-",
            "r---------r-----r-----r---o---a-",
            "r-----r---..r---r-----r---..f---",
        ),
        low=28,
        high=43,
        beats_max=4.0,
        slide=0.15,
    ),
    chords=Chords(
        instruments=("pad", "strings", "rhodes"),
        minor=("iadd9 VImaj7 iv9 v", "i VI i VII", "iadd9 iv9 VImaj7 V", "i VI iv V"),
        major=("Imaj7 vi7 IVmaj7 V",),
        bars=2,
        patterns=("x---------------",),
        low=55,
        high=74,
        voices=4,
    ),
    melody=Melody(
        instruments=("bell", "pluck", "saw lead", "piano"),
        patterns=("x---x---x-x-x---", "x-----x-----x---", "x---....x-x-x---", "..x-x-x-----x---"),
        low=67,
        high=86,
    ),
    counter=Counter(
        instruments=("pluck", "fm pluck"), patterns=("0.1.2.3.2.1.2.3.", "0..1..2.3..2..1."), low=64, high=84
    ),
    forms=(
        """intro 16 .35 cma
           hook 32 1.0 dbcma
           bridge 16 .40 cm
           verse 16 .80 dbca
           hook 32 1.0 dbcma
           outro 8 .40 dca""",
        """intro 8 .40 dca
           verse 16 .75 dbca
           hook 32 1.0 dbcma
           bridge 16 .40 cma
           hook 32 .95 dbcma
           outro 8 .35 cm""",
    ),
    mix=Mix(
        bass=-3.0,
        chords=-10.5,
        melody=-8.5,
        counter=-12.0,
        hall_seconds=2.4,
        duck_bass=5.0,
        duck_chords=3.0,
        duck_seconds=0.12,
        glue=4.0,
    ),
    never=("The snare leaves the second and fourth beat.", "The kick goes on all four beats."),
)

REGGAETON = Profile(
    name="Reggaeton",
    bpm=(85, 105),
    usual=(90, 100),
    modes=(("minor", 5), ("harmonic minor", 2), ("major", 1)),
    swing=(0.5, 0.52),
    hand=2.0,
    touch=0.07,
    kit="dembow",
    lanes=(
        Lane(drum="kick", patterns=(FOUR,)),
        # Dembow: three, three, two against the four of the kick.
        Lane(drum="snare", patterns=("...X..x....X..x.",), level=0.8),
        Lane(drum="clap", patterns=(BACKBEAT,), level=0.5, energy_min=0.9),
        Lane(drum="rim", patterns=("...x..x....x..x.",), level=0.35, energy_min=0.9),
        Lane(drum="hat", patterns=("x.o.x.o.x.o.x.o.", "X...o...X...o.o."), level=0.42, energy_min=0.5),
        Lane(drum="shaker", patterns=("oxoxoxoxoxoxoxox",), level=0.25, energy_min=0.7),
        Lane(drum="conga", patterns=("......x.....x.xx", "..x....x..x....x"), level=0.4, energy_min=0.8),
    ),
    fills=(
        Fill(lanes=(("snare", "...X..x.x.x.xxxx"),)),
        Fill(lanes=(("conga", "........x.xxx.xx"), ("snare", "...X..x........."))),
    ),
    bass=Bass(
        instruments=("808", "square bass", "sub"),
        # The dembow already says three, three, two: a bass that says it too leaves nobody who counts to four.
        patterns=("r-------r---r-a-", "r-------r-----f-", "r-------r---f-o-"),
        low=28,
        high=45,
        beats_max=1.5,
    ),
    chords=Chords(
        instruments=("pluck chords", "saw stab", "guitar"),
        minor=("i VI iv VII", "i iv VI V", "i VI iv V", "i VII VI V"),
        major=("I V vi IV", "I IV vi V"),
        bars=1,
        patterns=("x---------------", "x-------x-------", "x---x---x---x---"),
        low=55,
        high=74,
        voices=3,
    ),
    melody=Melody(
        instruments=("flute", "pluck", "brass", "bell"),
        # Three, three, two of the dembow, whole or from the middle of the bar on.
        patterns=(
            "x--x--x-x--x--x-",
            "x--x--x-x-------",
            "x-x-x---x--x--x-",
            "x--x--x---x-x---",
            "x--x--x-x-x-x---x--x--x-x-------",
            "x-x-x--x--x-x---x--x--x---------",
        ),
        low=67,
        high=84,
        # Sung rather than played: mostly steps, a skip now and then, and a tone may be said twice.
        pentatonic=False,
        moves=((0, 1), (1, 6), (2, 2), (3, 1)),
        stays_max=0.3,
        tones_min=6,
        room_min=7,
    ),
    counter=Counter(instruments=("pluck", "bell"), patterns=("..2...1...2...0.", "0..1..2.0..1..2."), low=70, high=86),
    forms=(
        """intro 4 .35 cm
           hook 8 1.0 dbcma
           verse 16 .75 dbc
           hook 8 1.0 dbcma
           verse 8 .75 dbca
           bridge 4 .45 cm
           hook 16 1.0 dbcma
           outro 4 .50 dbm""",
        """intro 4 .35 ca
           verse 16 .75 dbc
           hook 8 1.0 dbcma
           bridge 4 .45 cma
           verse 8 .80 dbcm
           hook 16 1.0 dbcma
           outro 4 .40 dm""",
    ),
    mix=Mix(
        bass=-2.0, chords=-8.0, melody=-7.0, counter=-12.0, hall_seconds=1.4, duck_bass=5.0, duck_chords=3.0, glue=4.0
    ),
    never=("The snare falls on the beat while the dembow goes.",),
)

SYNTHWAVE = Profile(
    name="Synthwave",
    bpm=(80, 118),
    usual=(92, 112),
    modes=(("minor", 5), ("major", 2), ("dorian", 1)),
    swing=(0.5, 0.5),
    hand=1.0,
    touch=0.05,
    kit="linn",
    lanes=(
        Lane(drum="kick", patterns=("X...X...X..xX...", "X.......X.x.....", "X......xX.......")),
        Lane(drum="snare", patterns=(BACKBEAT,)),
        # Accents on quarters only: bass and arpeggio run in sixteenths, and somebody has to count.
        Lane(drum="hat", patterns=("X.o.X.o.X.o.X.o.", "XoooXoooXoooXooo"), level=0.42),
        Lane(drum="open_hat", patterns=("..............x.",), level=0.4, energy_min=0.8),
        Lane(drum="clap", patterns=(BACKBEAT,), level=0.4, energy_min=0.9),
    ),
    fills=(
        Fill(lanes=(("tom", "........x.x....."), ("low_tom", "............x.x."), ("snare", "....X..........."))),
        Fill(lanes=(("tom", "........xxx....."), ("low_tom", "...........xxxxx"))),
    ),
    bass=Bass(
        instruments=("saw bass", "square bass"),
        # A gallop parts each beat unevenly; even eighths or sixteenths on one tone are heard at twice the tempo.
        patterns=("r.rrr.rrr.rrr.rr", "rr..rr..rr..ro..", "r.ror.ror.ror.ro", "r.rrr.rro.rrr.ro"),
        low=28,
        high=47,
        beats_max=0.5,
    ),
    chords=Chords(
        instruments=("poly", "pad", "strings"),
        minor=("i VI i V", "i VI iv V", "i iv VI V", "i VII i V"),
        major=("I V vi IV", "I vi IV V"),
        bars=1,
        patterns=("x---------------", "x-------x-------"),
        low=55,
        high=74,
        voices=4,
    ),
    melody=Melody(
        instruments=("saw lead", "square lead", "brass"),
        patterns=(
            "x-----x-x---x---",
            "x---x---x-x-x---",
            "x--x--x---x-x---",
            "..x-x-x-x-------",
            "x-----x-----x---x---x---x-------",
            "x---x---x-----x-x-----x-x-------",
        ),
        low=67,
        high=88,
        # The arpeggio sung: thirds and fourths along the chord, in one direction for long.
        pentatonic=False,
        moves=((1, 2), (2, 5), (3, 1.5), (4, 0.5)),
        turn=0.2,
        reach=6,
        stays_max=0.25,
        tones_min=6,
        room_min=9,
    ),
    counter=Counter(
        instruments=("fm pluck", "pluck"),
        patterns=("0123210123210123", "0.1.2.3.2.1.2.3.", "0120120120120123"),
        low=60,
        high=84,
    ),
    forms=(
        """intro 8 .40 ca
           verse 16 .70 dbca
           hook 16 1.0 dbcma
           bridge 8 .45 cma
           verse 8 .75 dbca
           hook 16 1.0 dbcma
           outro 4 .40 ca""",
        """intro 4 .40 dba
           hook 8 .95 dbcma
           verse 16 .70 dbc
           hook 8 1.0 dbcma
           bridge 8 .45 ca
           hook 16 1.0 dbcma
           outro 8 .40 dca""",
    ),
    mix=Mix(
        bass=-4.0,
        chords=-8.0,
        melody=-6.5,
        counter=-11.0,
        hall_seconds=2.6,
        chords_hall=-11.0,
        drums_hall=-17.0,
        duck_bass=6.0,
        duck_chords=4.0,
        glue=4.0,
    ),
    never=("The snare leaves the second and fourth beat.", "Sixteenths swing."),
    tail_seconds=3.0,
)

AMBIENT = Profile(
    name="Ambient",
    bpm=(60, 90),
    usual=(66, 84),
    modes=(("major", 3), ("minor", 3), ("dorian", 1)),
    swing=(0.5, 0.5),
    hand=4.0,
    touch=0.12,
    kit="soft",
    lanes=(
        # A pulse like a heartbeat: it can be counted, but nobody would dance to it.
        Lane(drum="kick", patterns=("X.......x.......", "X...o...x...o..."), level=0.6, energy_min=0.5),
        Lane(drum="shaker", patterns=("x...X...x...X...", "x.o.X.o.x.o.X.o."), level=0.34, energy_min=0.5),
        Lane(drum="rim", patterns=("............x...", "....x.......x..."), level=0.3, energy_min=0.8),
    ),
    fills=(Fill(lanes=(("shaker", "x.o.X.o.x.o.x.xx"),)),),
    bass=Bass(
        instruments=("sub",),
        patterns=("r---------------", "r-------------f-"),
        low=28,
        high=43,
        beats_max=8.0,
    ),
    chords=Chords(
        instruments=("pad", "choir", "strings"),
        minor=("iadd9 VImaj7 iv9 Vsus4", "iadd9 VImaj7 iadd9 iv9", "iadd9 iv9 iadd9 Vsus4"),
        major=("Iadd9 IVmaj7 Iadd9 V", "Iadd9 vi7 IVmaj7 V7", "Iadd9 IVmaj7 I V7"),
        bars=2,
        patterns=("x---------------",),
        low=53,
        high=74,
        voices=4,
        strum=60.0,
    ),
    melody=Melody(
        instruments=("glass", "piano", "flute"),
        patterns=(
            "x-------x---x---",
            "....x---x---x---",
            "x---x-------x---",
            "x-------x---x---x-------x-------",
            "x-----------x---x-------x-------",
        ),
        low=69,
        high=91,
        # Few tones far apart, none of which can be wrong: fourths, fifths and octaves of five tones.
        moves=((1, 2), (2, 4), (3, 2.5), (5, 0.3)),
        reach=5,
        stays_max=0.25,
        tones_min=5,
        room_min=10,
    ),
    counter=Counter(
        instruments=("glass", "soft pluck"),
        patterns=("0.1.2.3.2.1.2.1.", "0.2.1.3.0.2.1.3.", "0...2...1...3..."),
        low=62,
        high=84,
    ),
    forms=(
        """intro 4 .35 ca
           verse 8 .60 dbca
           hook 8 .90 dbcma
           bridge 4 .45 cma
           verse 8 .65 dbca
           hook 8 .90 dbcma
           outro 4 .35 ca""",
        """intro 4 .40 cm
           hook 8 .85 dbcma
           verse 8 .60 bca
           hook 8 .90 dbcma
           bridge 8 .50 cma
           outro 4 .35 ca""",
    ),
    mix=Mix(
        drums=-6.0,
        bass=-5.0,
        chords=-3.0,
        melody=-7.0,
        counter=-8.0,
        effects=-18.0,
        hall_seconds=4.5,
        hall_bright=4000.0,
        drums_hall=-14.0,
        chords_hall=-8.0,
        melody_hall=-5.0,
        melody_echo=-10.0,
        echo_beats=1.5,
        duck_bass=0.0,
        duck_chords=0.0,
        bed="air",
        glue=1.5,
        presence=1.0,
    ),
    never=("A snare or a clap sounds.", "A melody moves faster than quarters."),
    tail_seconds=6.0,
)

PROFILES = {
    profile.name: profile
    for profile in (TRAP, DRILL, BOOM_BAP, LOFI, HOUSE, TECHNO, DRUM_AND_BASS, REGGAETON, SYNTHWAVE, AMBIENT)
}

#: Other names that people use for them.
ALIASES = {
    "lo-fi": "LoFi",
    "lo fi": "LoFi",
    "lofi hip hop": "LoFi",
    "chillhop": "LoFi",
    "boombap": "Boom Bap",
    "hip hop": "Boom Bap",
    "hip-hop": "Boom Bap",
    "dnb": "Drum and Bass",
    "d&b": "Drum and Bass",
    "drum & bass": "Drum and Bass",
    "jungle": "Drum and Bass",
    "dancehall": "Reggaeton",
    "dembow": "Reggaeton",
    "retrowave": "Synthwave",
    "uk drill": "Drill",
    "deep house": "House",
}


class UnknownGenre(ValueError):
    """A genre that nobody here plays."""


def profile_of(genre: str) -> Profile:
    """The profile of a genre, whatever its capitals; raises `UnknownGenre`."""
    wanted = " ".join(genre.lower().split())
    name = ALIASES.get(wanted, wanted)
    for profile in PROFILES.values():
        if profile.name.lower() == name.lower():
            return profile
    raise UnknownGenre(f"Nobody here plays {genre!r}. We play {', '.join(PROFILES)}.")
