"""Composes music of many styles by rule and chance, with every beat and bar known, as material to train the ears on.

Nothing here is anybody's work: patterns are the common property of their styles, everything else is drawn from the
given random generator, so that one seed always makes the same pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from msgspec import Struct, field

DRUM = 9  # General MIDI's percussion channel, counted from 0

KICK, RIM, SNARE, CLAP, TOM_LOW, HAT, TOM_MID, PEDAL, OPEN, CRASH, TOM_HIGH, RIDE = (
    36, 37, 38, 39, 45, 42, 47, 44, 46, 49, 50, 51,
)  # fmt: skip
TAMBOURINE, COWBELL, BONGO_HIGH, BONGO_LOW, CONGA_MUTE, CONGA_HIGH, CONGA_LOW, SHAKER, CLAVES = (
    54, 56, 60, 61, 62, 63, 64, 70, 75,
)  # fmt: skip


class Note(NamedTuple):
    """A note in beats of the score's own counting."""

    start: float
    length: float
    pitch: int
    velocity: int
    voice: int


class Piece(Struct):
    """A piece with its truth: the notes, who plays them, and how it is counted."""

    style: str
    bpm: float
    beats_per_bar: int
    #: 4 where beats are plain, 8 where each beat is three eighths.
    beat_unit: int
    bars: int
    #: Beats of a bar as the bar line counts them, in beats of `bpm` (3.5 for 7/8 counted in quarters).
    bar_beats: float
    notes: list[Note] = field(default_factory=list)
    #: General MIDI programs of the voices (channel 9 is drums; its entry is the kit).
    programs: dict[int, int] = field(default_factory=dict)
    #: The upper number of the time signature.
    numerator: int = 4
    #: Pitch class of the tonic (0 is C) and whether the scale is minor; None where nothing in the piece fixes a key.
    tonic: int | None = None
    minor: bool = False
    #: False for sound in which nobody could find a beat.
    counted: bool = True
    pump: bool = False
    loop: bool = False


#: Rows of sixteenths: digits are how likely (of 9) and at the same time how loud a stroke is.
GROOVES: dict[str, list[dict[int, str]]] = {
    "house": [
        {KICK: "9000900090009000", CLAP: "0000900000009000", OPEN: "0090009000900090", HAT: "2323232323232323"},
        {KICK: "9000900090009002", SNARE: "0000900000009000", HAT: "5090509050905090", SHAKER: "6464646464646464"},
        {KICK: "9000900090009000", CLAP: "0000800000008000", HAT: "0080008000800080", COWBELL: "0002002003000200"},
    ],
    "techno": [
        {KICK: "9000900090009000", HAT: "0090009000900090", RIM: "0003002000300203", CLAP: "0000400000004000"},
        {KICK: "9000900090009000", HAT: "6363636363636363", OPEN: "0090009000900090", TOM_LOW: "0001030010020300"},
        {KICK: "9000900090009000", RIDE: "0090009000900090", CONGA_HIGH: "0203002300203020"},
    ],
    "rave": [
        {KICK: "9000900090009000", OPEN: "0090009000900090", SNARE: "0000500000005002"},
        {KICK: "9000900090009000", HAT: "9090909090909090"},
        {KICK: "9000900090009000", CLAP: "0000900000009000", HAT: "7373737373737373"},
    ],
    "dnb": [
        {KICK: "9000000000900000", SNARE: "0000900000009000", HAT: "9090909090909090"},
        {KICK: "9000000000900000", SNARE: "0000900201009002", HAT: "9494949494949494", RIDE: "1010101010101010"},
        {KICK: "9020000000900000", SNARE: "0000900302009003", HAT: "9090909090909090", OPEN: "0000000000000020"},
    ],
    "breakbeat": [
        {KICK: "9090000000990000", SNARE: "0000900202009002", HAT: "9090909090909090"},
        {KICK: "9000000090900000", SNARE: "0000900300029000", HAT: "9494949494949494"},
        {KICK: "9020002000902000", SNARE: "0000900202009020", RIDE: "9090909090909090"},
        {KICK: "9000009000900000", SNARE: "0000900000009000", HAT: "9090909090909090", OPEN: "0000000000000040"},
    ],
    "electro": [
        {KICK: "9000009000900000", SNARE: "0000900000009000", HAT: "7373737373737373"},
        {KICK: "9002000090020000", CLAP: "0000900000009000", HAT: "5050505050505050", COWBELL: "2020020020200200"},
    ],
    "hiphop": [
        {KICK: "9000000300900000", SNARE: "0000900000009000", HAT: "9090909090909090"},
        {KICK: "9000003090300000", SNARE: "0000900000009001", HAT: "8383838383838383"},
        {KICK: "9003000000900300", CLAP: "0000900000009000", HAT: "9090909090909092"},
    ],
    "halftime": [
        {KICK: "9000002000300000", SNARE: "0000000090000000", HAT: "9393939393939393"},
        {KICK: "9000000000902000", CLAP: "0000000090000000", HAT: "9090909090909090", OPEN: "0000000000000030"},
        {KICK: "9002000000300200", SNARE: "0000000090000000", RIDE: "9000900090009000"},
    ],
    "rock": [
        {KICK: "9000000090000000", SNARE: "0000900000009000", HAT: "9090909090909090"},
        {KICK: "9000000090900000", SNARE: "0000900000009000", HAT: "9070907090709070"},
        {KICK: "9000003090900000", SNARE: "0000900000009000", RIDE: "9090909090909090"},
        {KICK: "9000009090000030", SNARE: "0000900000009000", OPEN: "9000900090009000"},
        {KICK: "9000900090009000", SNARE: "0000900000009000", HAT: "9090909090909090"},
    ],
    "punk": [
        {KICK: "9000900090009000", SNARE: "0090009000900090", HAT: "9090909090909090"},
        {KICK: "9000000090900000", SNARE: "0000900000009000", OPEN: "9090909090909090"},
        {KICK: "9090009090900000", SNARE: "0000900000009000", CRASH: "9000900090009000"},
    ],
    "pop": [
        {KICK: "9000000090300000", SNARE: "0000900000009000", HAT: "9060906090609060"},
        {KICK: "9000000390000000", SNARE: "0000900000009000", HAT: "9060906090609060", TAMBOURINE: "0000900000009000"},
        {KICK: "9000900090009000", SNARE: "0000900000009000", HAT: "0090009000900090", SHAKER: "5353535353535353"},
    ],
    "ballad": [
        {KICK: "9000000090000000", SNARE: "0000900000009000", HAT: "9060906090609060"},
        {KICK: "9000000390300000", SNARE: "0000900000009000", HAT: "9050705090507050", SHAKER: "4242424242424242"},
        {KICK: "9000000000900000", RIM: "0000900000009000", HAT: "9494949494949494"},
        {KICK: "9000000090000000", RIM: "0000900000009000", SHAKER: "9363936393639363"},
    ],
    "disco": [
        {KICK: "9000900090009000", SNARE: "0000900000009000", HAT: "9494949494949494", OPEN: "0090009000900090"},
        {KICK: "9000900090009000", CLAP: "0000900000009000", OPEN: "0090009000900090"},
    ],
    "funk": [
        {KICK: "9090000000900300", SNARE: "0000900302009002", HAT: "9595959595959595"},
        {KICK: "9003002000900000", SNARE: "0000900203009020", HAT: "9090909090909090", OPEN: "0000000000000060"},
    ],
    "bossa": [
        {KICK: "9000009090000090", RIM: "9000009000009000", HAT: "9090909090909090"},
        {KICK: "9000009090000090", RIM: "0000900009000000", SHAKER: "9393939393939393"},
    ],
    "latin": [
        {KICK: "9000009000000090", CONGA_MUTE: "9030903090309030", CONGA_HIGH: "0000009900000099",
         CLAVES: "9000009000900090"},
        {KICK: "9000900090009000", CONGA_LOW: "0000000990000099", COWBELL: "9060906090609060",
         CLAVES: "0000900090009009"},
        {BONGO_HIGH: "9353935393539353", BONGO_LOW: "0000000900000009", SHAKER: "9595959595959595"},
    ],
    "reggae": [
        {KICK: "0000000090000000", RIM: "0000000090000000", HAT: "9090909090909090"},
        {KICK: "9000000090000000", SNARE: "0000000090000000", HAT: "9060906090609060"},
    ],
    "percussion": [
        {CONGA_HIGH: "9030603090306030", CONGA_LOW: "0000009000000090", SHAKER: "7474747474747474"},
        {TOM_LOW: "9000300090030000", TOM_MID: "0030009000300900", TOM_HIGH: "0000030300000033",
         TAMBOURINE: "0000900000009000"},
        {BONGO_HIGH: "9009009000909000", BONGO_LOW: "0030300300030300", CLAVES: "9000900090009000"},
        {RIM: "9003003000303000", SHAKER: "9393939393939393", KICK: "9000000090000000"},
    ],
    "march": [
        {KICK: "9000000090000000", SNARE: "0000906400009064", CRASH: "0000400000004000"},
        {KICK: "9000000090000000", SNARE: "9060906690609066"},
    ],
}  # fmt: skip

#: Styles in three: rows of twelve sixteenths (3/4) or of eighths in compound time.
WALTZES: list[dict[int, str]] = [
    {KICK: "900000000000", SNARE: "000060006000", HAT: "900090009000"},
    {KICK: "900000000000", HAT: "000090009000"},
    {KICK: "900000000000", RIM: "000090009000", RIDE: "900090609000"},
    {KICK: "900000000000", SNARE: "000000009000", HAT: "906090609060"},
]
JIGS: list[dict[int, str]] = [
    {KICK: "900000", SNARE: "000900", HAT: "969969"},
    {KICK: "900900", HAT: "936936"},
    {KICK: "900004", SNARE: "000900", RIDE: "939939"},
    {TAMBOURINE: "936936", KICK: "900900"},
    {KICK: "900000", RIM: "000900", HAT: "999999"},
]
FIVES: list[dict[int, str]] = [
    {KICK: "90000000000090000000", SNARE: "00000000900000009000", RIDE: "90009060900090009060"},
    {KICK: "90000090000090000000", SNARE: "00009000000000009000", HAT: "90909090909090909090"},
    {KICK: "90000090000000009000", SNARE: "00000000000090000000", RIDE: "90909090909090909090"},
    {KICK: "90000000000090000000", SNARE: "00000000900000009000", HAT: "90909090909090909090"},
    {KICK: "90000090000090000000", SNARE: "00000000900000009000", HAT: "90609060906090609060"},
    {KICK: "90009000000090000000", RIM: "00000000900000000000", RIDE: "90009000900090009000"},
    {HAT: "90009000900090009000", KICK: "90000000000000000000", SNARE: "00000000000090000000"},
]
SEVENS: list[dict[int, str]] = [
    {KICK: "90000000900000", SNARE: "00009000000090", HAT: "90909090909090"},
    {KICK: "90009000900000", SNARE: "00000000000090", HAT: "90909090909090"},
    {KICK: "90000090000000", SNARE: "00000000009000", RIDE: "90009000906090"},
]

#: Mean tempo, spread and bounds of each style, in beats as its players count them, and how often it is drawn.
TEMPI: dict[str, tuple[float, float, float, float, float]] = {
    "house": (124, 6, 110, 142, 6),
    "techno": (136, 8, 118, 155, 6),
    "trance": (138, 5, 126, 150, 4),
    "rave": (170, 14, 145, 200, 4),
    "dnb": (173, 6, 158, 186, 6),
    "breakbeat": (134, 16, 98, 178, 6),
    "electro": (120, 12, 95, 140, 4),
    "hiphop": (91, 8, 74, 108, 5),
    "halftime": (142, 9, 126, 175, 4),
    "rock": (132, 24, 84, 190, 8),
    "punk": (172, 15, 145, 205, 3),
    "pop": (112, 20, 72, 160, 8),
    "ballad": (73, 10, 52, 98, 7),
    "disco": (118, 7, 104, 134, 3),
    "funk": (104, 9, 86, 124, 3),
    "bossa": (118, 20, 70, 160, 3),
    "latin": (104, 14, 78, 135, 4),
    "reggae": (76, 8, 62, 96, 2),
    "swing": (140, 32, 80, 220, 4),
    "percussion": (108, 18, 75, 150, 4),
    "march": (116, 12, 92, 140, 2),
    "arpeggio": (118, 22, 70, 160, 5),
    "piano": (88, 22, 52, 140, 5),
    "song": (84, 20, 50, 150, 16),
    "waltz": (126, 34, 66, 200, 6),
    "viennese": (174, 14, 140, 210, 5),
    "jig": (108, 14, 80, 140, 6),
    "slip": (106, 10, 88, 126, 2),
    "slow6": (56, 11, 38, 80, 6),
    "five": (130, 28, 80, 184, 5),
    "seven": (128, 22, 80, 180, 3),
    "dembow": (94, 7, 78, 112, 6),
    "onedrop": (76, 9, 58, 100, 7),
    "ska": (148, 20, 110, 190, 3),
    "shuffle": (118, 24, 68, 180, 7),
    "jazz": (138, 38, 76, 230, 7),
    "salsa": (98, 12, 76, 130, 4),
    "samba": (104, 14, 80, 136, 3),
    "afrobeat": (112, 10, 92, 134, 3),
    "cumbia": (92, 8, 76, 110, 2),
    "amen": (160, 18, 120, 180, 5),
    "rumble": (136, 8, 118, 155, 4),
    "metronome": (108, 28, 58, 176, 6),
}

#: Twelve bars of blues, each chord a dominant seventh, and how often the players of a style play it.
BLUES = (0, 0, 0, 0, 3, 3, 0, 0, 4, 3, 0, 4)
BLUES_SHARE = {"shuffle": 0.55, "jazz": 0.35}
#: How often the chords of a style come half a beat early, all of them.
PUSHED = {"metronome": 0.35, "afrobeat": 0.15, "samba": 0.15, "amen": 0.2, "salsa": 0.15, "shuffle": 0.05}
PROGRESSIONS = (
    (0, 5, 3, 4), (0, 4, 5, 3), (5, 3, 0, 4), (0, 3, 4, 3), (0, 0, 3, 4), (0, 5, 1, 4), (1, 4, 0, 0),
    (5, 4, 3, 4), (0, 6, 3, 0),
)  # fmt: skip
MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)

#: Rhythms of accompaniment over four beats, in sixteenths: starts with their lengths.
COMPING: dict[str, tuple[tuple[tuple[int, int], ...], ...]] = {
    "slow": (((0, 16),), ((0, 8), (8, 8)), ((0, 4), (4, 4), (8, 4), (12, 4))),
    "strum": (
        ((0, 4), (4, 2), (6, 2), (10, 2), (12, 2), (14, 2)),
        ((0, 2), (2, 2), (4, 2), (6, 2), (8, 2), (10, 2), (12, 2), (14, 2)),
        ((0, 6), (6, 6), (12, 4)),
        ((0, 3), (3, 3), (6, 4), (10, 6)),
    ),
    "off": (((2, 2), (6, 2), (10, 2), (14, 2)), ((4, 2), (12, 2)), ((2, 1), (3, 1), (6, 2), (10, 2), (14, 2))),
    "funk": (((0, 1), (3, 1), (6, 1), (10, 1), (11, 1), (14, 1)), ((0, 2), (7, 1), (10, 1), (13, 2))),
}
BASSES: dict[str, tuple[tuple[int, ...], ...]] = {
    "eighths": ((0, 2, 4, 6, 8, 10, 12, 14),),
    "offbeat": ((2, 6, 10, 14), (1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15)),
    "sixteenths": (tuple(range(16)),),
    "quarters": ((0, 4, 8, 12),),
    "syncopated": ((0, 6, 8, 14), (0, 3, 6, 10, 12), (0, 7, 10), (0, 6, 10, 12, 15)),
    "halves": ((0, 8), (0,), (0, 6, 8)),
}
CHARACTER: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "house": (("off", "funk", "slow"), ("offbeat", "eighths", "syncopated")),
    "techno": (("off", "slow", "funk"), ("sixteenths", "offbeat", "syncopated")),
    "trance": (("slow", "off"), ("offbeat", "sixteenths")),
    "rave": (("slow", "off", "funk"), ("offbeat", "eighths", "sixteenths")),
    "dnb": (("slow",), ("syncopated", "halves", "eighths")),
    "breakbeat": (("slow", "off", "funk"), ("syncopated", "eighths")),
    "electro": (("slow", "funk"), ("sixteenths", "syncopated", "eighths")),
    "hiphop": (("slow", "strum"), ("syncopated", "halves")),
    "halftime": (("slow",), ("halves", "syncopated")),
    "rock": (("strum", "slow"), ("eighths", "quarters")),
    "punk": (("strum",), ("eighths",)),
    "pop": (("strum", "slow", "off"), ("eighths", "syncopated", "quarters", "halves")),
    "ballad": (("slow", "strum"), ("halves", "syncopated")),
    "disco": (("off", "funk"), ("eighths", "offbeat")),
    "funk": (("funk",), ("syncopated", "sixteenths")),
    "bossa": (("strum", "funk"), ("syncopated", "halves")),
    "latin": (("funk", "off"), ("syncopated",)),
    "reggae": (("off",), ("syncopated", "quarters")),
    "swing": (("off", "slow"), ("quarters",)),
    "march": (("off", "slow"), ("quarters", "halves")),
    "percussion": (("slow",), ("halves",)),
}


class Band(NamedTuple):
    """How the players of a style share a bar of four: drums, bass and chords, each on the same number of places."""

    #: Places in a bar of four beats: 16, or 12 where beats are in three.
    places: int
    drums: tuple[dict[int, str], ...]
    #: Bass by place: 1 3 5 6 7 8 are steps above the root, a is the root of the chord to come, . is silence.
    basses: tuple[str, ...]
    #: Chords by place: x is short, X is held to the next one, . is silence.
    chords: tuple[str, ...]
    #: Bars that one chord lasts.
    bars: tuple[float, ...] = (1, 1, 2)
    bass_programs: tuple[int, ...] = (32, 33, 34, 35, 36, 38, 39)
    chord_programs: tuple[int, ...] = (0, 4, 16, 24, 26, 27, 28)
    #: How often each of bass, chords and melody is there; drums nearly always are.
    parts: tuple[float, float, float] = (0.95, 0.85, 0.5)
    swing: float = 0.0


#: Grooves of the Caribbean, of jazz, blues and Brazil, of West Africa and of breaks, as their players learn them.
BANDS: dict[str, Band] = {
    "dembow": Band(
        16,
        (
            {KICK: "9000900090009000", SNARE: "0009009000090090", HAT: "9090909090909090"},
            {KICK: "9000900090009000", RIM: "0009009000090090", SHAKER: "9393939393939393"},
            {KICK: "9000000090000000", SNARE: "0009009000090090", HAT: "4040404040404040"},
            {KICK: "9000900090009000", SNARE: "0009009000090090"},
        ),
        ("1...............", "1.....1.1.....1.", "1..1..1.1..1..1.", "1...1...1...1...", "1.......1......."),
        ("X...............", "x..x..x.x..x..x.", "..x...x...x...x.", "X.......X......."),
    ),
    "onedrop": Band(
        16,
        (
            {KICK: "0000000090000000", RIM: "0000000090000000", HAT: "9090909090909090"},
            {KICK: "0000000090000000", SNARE: "0000000090000000", HAT: "9060906090609060"},
            {KICK: "9000900090009000", RIM: "0000000090000000", HAT: "6090609060906090"},
            {KICK: "9000000090000000", SNARE: "0000000090000000", HAT: "9090909090909090", OPEN: "0000000000000040"},
            {KICK: "0000000090000000", RIM: "0000000090000000", HAT: "5070507050705070"},
            {KICK: "0000000090000000", SNARE: "0000000090000000", HAT: "5050505050505050", SHAKER: "0060006000600060"},
            {KICK: "0000000090000000", RIM: "0003000090030002"},
        ),
        ("1.....1.5...8.5.", "1...1.3.5.......", "1..1..5.8..5....", "1.......5.3.1...", "..1.1.5...3.5...",
         "1.....1.5...8.5.", "1...1...5...5.3.", "1.......1...5..."),
        ("..x...x...x...x.", "..x...x...x...x.", "..xx..xx..xx..xx"),
        (1, 1, 2, 0.5),
    ),
    "ska": Band(
        16,
        (
            {KICK: "9000000090000000", SNARE: "0000900000009000", HAT: "9090909090909090"},
            {KICK: "0000900000009000", SNARE: "0000900000009000", HAT: "9090909090909090"},
            {KICK: "9000900090009000", RIM: "0000900000009000", HAT: "0090009000900090"},
        ),
        ("1...3...5...6...", "1.1.3.3.5.5.6.5.", "1...5...8...5..."),
        ("..x...x...x...x.",),
    ),
    "shuffle": Band(
        12,
        (
            {KICK: "900000900000", SNARE: "000900000900", HAT: "909909909909"},
            {KICK: "900000900009", SNARE: "000900000900", RIDE: "909909909909"},
            {KICK: "900900900900", SNARE: "000900000900", HAT: "906906906906"},
            {KICK: "900000900009", SNARE: "002900002902", HAT: "909909909909"},
            {KICK: "900009900009", RIM: "000900000900", HAT: "999999999999"},
            {KICK: "900000900009", SNARE: "000900000900", HAT: "906906906906"},
            {KICK: "900900900900", SNARE: "000900000900", RIDE: "900906900906"},
        ),
        ("1.13.35.56.6", "1..3..5..6..", "1.15.56.65.5", "1..1..1..1..", "1.1.....5.57", "1..5..6..5..",
         "1.13.35.56.6", "1..3..5..8.."),
        ("x.xx.xx.xx.x", "X...........", "x..x..x..x..", "..x..x..x..x", "...x.....x.."),
    ),
    "jazz": Band(
        12,
        (
            {RIDE: "900906900906", PEDAL: "000900000900"},
            {RIDE: "900906900906", PEDAL: "000900000900", KICK: "300300300300", SNARE: "002000002003"},
            {RIDE: "900909900909", PEDAL: "000900000900", RIM: "000000000900"},
            {RIDE: "600909600909", PEDAL: "000900000900"},
            {RIDE: "900906900906", PEDAL: "000900000900", KICK: "000000000004", SNARE: "000003000300"},
        ),
        ("1..3..5..6..", "1..5..3..6..", "1..3..5..a..", "1..8..6..5..", "1..3..5..7..", "1..6..5..3..",
         "1..5..8..a.."),
        ("..x......x..", "x....x......", ".....x..x...", "..x..x......", "X...........", ".....x...x..", "x.......x...",
         "X....X......", "..x........x"),
        (1, 1, 2, 0.5),
        (32, 33, 35),
        (0, 1, 4, 16, 26),
        (0.97, 0.75, 0.5),
    ),
    "salsa": Band(
        16,
        (
            {CLAVES: "9000009000009000", CONGA_HIGH: "0000900000009090", CONGA_LOW: "0000000000900090",
             COWBELL: "9000906090009060"},
            {CLAVES: "0000900090009000", CONGA_MUTE: "9030903090309030", CONGA_HIGH: "0000009900000099"},
            {COWBELL: "9060906090609060", CONGA_LOW: "0000000000009090", BONGO_HIGH: "9353935393539353"},
            {KICK: "0000009000000090", SNARE: "0000000000003000", COWBELL: "9000909090009090"},
        ),
        ("......5.....a...", "1.....5.....a...", "......1.....5..."),
        ("x.x..x.x..x.x.x.", "..x.x.x..x.x.x.x", "x..x..x..x.x..x."),
        (1, 1, 2), (32, 33, 35), (0, 0, 0, 4, 11, 24),
    ),
    "samba": Band(
        16,
        (
            {KICK: "9009900990099009", HAT: "9090909090909090", TAMBOURINE: "9369936993699369"},
            {KICK: "3000900030009000", SHAKER: "9696969696969696", CONGA_HIGH: "0090009000900090"},
            {KICK: "9000009090000090", RIM: "9000009000900000", SHAKER: "9393939393939393"},
        ),
        ("1.....5.5.....1.", "1...5...1...5...", "1.....5.8.....5."),
        ("x.x..x.x..x.x...", "x..x..x...x..x..", "..x.x...x..x.x.."),
        (1, 1, 2), (32, 33, 35), (24, 24, 25, 26, 0),
    ),
    "afrobeat": Band(
        16,
        (
            {KICK: "9000009000900000", SNARE: "0000900100009020", HAT: "9090909090909090",
             CONGA_HIGH: "0030003300300033"},
            {KICK: "9000003000900300", RIM: "0003000000930000", HAT: "9393939393939393", SHAKER: "9090909090909090"},
            {COWBELL: "9090990909099090", KICK: "9000900090009000", CONGA_LOW: "0000009000000090"},
        ),
        ("1..1..5...7.8...", "1.1...1.5.7.....", "1......57.5.1..."),
        ("..x..x....x..x..", "x..x..x..x..x...", "..x...x...x...x."),
        (2, 4, 4),
    ),
    "cumbia": Band(
        16,
        (
            {KICK: "9000000090000000", SHAKER: "9099909990999099", COWBELL: "9000900090009000"},
            {KICK: "9000000090000000", CONGA_HIGH: "0090009000900090", SHAKER: "9099909990999099"},
        ),
        ("1...5...1...5...", "1.....5.1.....5.", "1...3.5.1...3.5."),
        ("..x...x...x...x.", "....x.......x..."),
        (1, 2), (32, 33, 38), (21, 23, 24, 0),
    ),
    "amen": Band(
        16,
        (
            {KICK: "9090000000990000", SNARE: "0000900402009004", RIDE: "9090909090909090"},
            {KICK: "9090000000900000", SNARE: "0000900402000090", RIDE: "9090909090909090"},
            {KICK: "0099000000900000", SNARE: "0400900402000090", RIDE: "9090909090909090"},
            {KICK: "9000000000900000", SNARE: "0000900402009004", HAT: "9090909090909090"},
            {KICK: "9000009000900000", SNARE: "0000900900009009", HAT: "9393939393939393"},
        ),
        ("1...............", "1.....1...8.....", "1.........5....."),
        ("X...............",),
        (2, 4),
        parts=(0.5, 0.35, 0.1),
    ),
    "rumble": Band(
        16,
        (
            {KICK: "9000900090009000", OPEN: "0090009000900090", HAT: "9999999999999999"},
            {KICK: "9000900090009000", OPEN: "0090009000900090"},
            {KICK: "9000900090009000", CLAP: "0000900000009000", HAT: "0090009000900090", RIDE: "0090009000900090"},
            {KICK: "9000900090009000", HAT: "0099009900990099"},
        ),
        ("..1...1...1...1.", ".111.111.111.111", "..11..11..11..11", "..1..1..1.1..1.."),
        ("..x...x...x...x.", "X...............", "..x..x..x.....x."),
        (2, 4, 4), (38, 39, 87), (81, 90, 50, 4),
        (0.95, 0.4, 0.15),
    ),
    "metronome": Band(
        16,
        (
            {RIM: "9000900090009000"}, {CLAVES: "9000900090009000"}, {HAT: "9000900090009000"},
            {COWBELL: "9000500050005000"}, {KICK: "9000900090009000"},
            {CLAVES: "9000000090000000", HAT: "9000900090009000"},
        ),
        ("1.......1.......", "1...............", "1.......5......."),
        ("X.......X.......", "X...............", "X...X...X...X...", "X.......X......."),
        (0.5, 0.5, 1, 2),
        chord_programs=(0, 4, 16, 48, 89, 90),
        parts=(0.4, 0.85, 0.15),
    ),
}  # fmt: skip

KEYS_PROGRAMS = (0, 1, 2, 4, 5, 6, 7, 11, 16, 18, 19)
GUITAR_PROGRAMS = (24, 25, 26, 27, 28, 29, 30, 46)
PAD_PROGRAMS = (48, 49, 50, 52, 88, 89, 90, 91, 94, 95)
LEAD_PROGRAMS = (40, 56, 60, 65, 66, 68, 71, 73, 74, 75, 80, 81, 82, 87, 104, 108)
BASS_PROGRAMS = (32, 33, 34, 35, 36, 38, 39)
FOLK_PROGRAMS = (21, 22, 40, 73, 72, 105, 109, 110, 25, 46, 15, 74)
KITS = (0, 8, 16, 24, 25, 32, 40)

#: What a song may be dressed in by an arranger, whatever its tempo.
DRESSES = (
    "rock", "pop", "ballad", "bossa", "latin", "swing", "house", "techno", "disco", "electro", "hiphop", "march",
    "funk",
)  # fmt: skip

ELECTRONIC = frozenset(
    {
        "rumble",
        "amen",
        "dembow",
        "house",
        "techno",
        "trance",
        "rave",
        "dnb",
        "breakbeat",
        "electro",
        "halftime",
        "arpeggio",
    }
)


def compose(rng: np.random.Generator, style: str | None = None, seconds: float = 24.0) -> Piece:
    """A piece of about `seconds` in a style drawn by its weight; a fifth of the material is short loops."""
    if style is None:
        names = list(TEMPI)
        weights = np.array([TEMPI[name][4] for name in names])
        style = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    mean, spread, low, high, _ = TEMPI[style]
    bpm = float(np.clip(rng.normal(mean, spread), low, high))
    if style in ELECTRONIC and rng.random() < 0.6:
        bpm = round(bpm)
    maker: dict[str, Callable[[np.random.Generator, str, float, float], Piece]] = dict.fromkeys(BANDS, _played_by)
    maker |= {
        "waltz": _waltz,
        "viennese": _waltz,
        "jig": _compound,
        "slip": _compound,
        "slow6": _compound,
        "five": _odd,
        "seven": _odd,
    }
    piece = maker.get(style, _common)(rng, style, bpm, seconds)
    piece.pump = style in {"house", "techno", "trance", "electro"} and rng.random() < 0.4
    return piece


def compose_beatless(rng: np.random.Generator, seconds: float = 20.0) -> Piece:
    """Sound without a beat: clouds of notes at random times, syllables of uneven length, or chords that only swell."""
    piece = Piece(style="beatless", bpm=60.0, beats_per_bar=4, beat_unit=4, bars=round(seconds / 4), bar_beats=4.0)
    piece.counted = False
    piece.programs = {
        4: int(rng.choice(LEAD_PROGRAMS + KEYS_PROGRAMS + PAD_PROGRAMS)),
        2: int(rng.choice(PAD_PROGRAMS)),
    }
    kind, at = rng.random(), float(rng.uniform(0, 1))
    root, scale = int(rng.integers(0, 12)), MAJOR
    while at < seconds - 1:
        if kind < 0.4:
            gap = float(rng.exponential(0.35)) + 0.03
            piece.notes.append(Note(at, gap + 0.2, 48 + int(rng.integers(0, 36)), int(rng.integers(40, 120)), 4))
        elif kind < 0.7:
            gap = float(rng.lognormal(np.log(0.19), 0.45)) + (float(rng.exponential(0.7)) if rng.random() < 0.12 else 0)
            piece.notes.append(Note(at, gap * 0.8, 50 + int(rng.integers(0, 8)), int(rng.integers(60, 110)), 4))
        else:
            gap = float(rng.uniform(1.5, 7))
            piece.notes += [
                Note(at, gap + 1, 48 + tone % 24, int(rng.integers(40, 90)), 2)
                for tone in _triad(root, scale, int(rng.integers(7)))
            ]
        at += gap
    return piece


def _common(rng: np.random.Generator, style: str, bpm: float, seconds: float) -> Piece:
    """A piece in four: some of drums, bass, chords, melody and arpeggio, or only one of them as a loop."""
    piece = Piece(style=style, bpm=bpm, beats_per_bar=4, beat_unit=4, bars=0, bar_beats=4.0)
    looped = rng.random() < (0.45 if style in ELECTRONIC or style == "percussion" else 0.12)
    piece.loop = looped
    pattern_bars = int(rng.choice([1, 2, 4])) if looped else 8
    total = max(1, round(seconds * bpm / 60 / 4))
    piece.bars = max(pattern_bars, total // pattern_bars * pattern_bars)
    parts = _parts(rng, style, looped)
    swing = 0.0
    if style == "swing":
        swing = 1 / 6
    elif style in {"hiphop", "funk", "house", "pop", "breakbeat", "march"} and rng.random() < 0.3:
        swing = float(rng.uniform(0.02, 0.08))  # of a beat, on the second sixteenths
    notes: list[Note] = []
    song = style == "song"
    if song:
        style = str(rng.choice(DRESSES))
    if "drums" in parts:
        notes += _drums(rng, style, pattern_bars, alone=parts == {"drums"})
        piece.programs[DRUM] = int(rng.choice(KITS))
    root, scale = int(rng.integers(0, 12)), (MAJOR if rng.random() < 0.55 else MINOR)
    piece.tonic, piece.minor = (root, scale is MINOR) if parts - {"drums"} else (None, False)
    progression = PROGRESSIONS[int(rng.integers(len(PROGRESSIONS)))]
    stretch = int(rng.choice([1, 1, 1, 2])) if style not in {"dnb", "rave", "punk", "trance"} else 2
    chords = [_triad(root, scale, progression[(bar // stretch) % 4]) for bar in range(pattern_bars)]
    comping, basses = CHARACTER.get(style, (("slow", "strum"), ("halves", "quarters")))
    dense = bpm < 85 or (song and bpm < 110 and rng.random() < 0.5)
    if "bass" in parts:
        piece.programs[1] = int(rng.choice(BASS_PROGRAMS))
        notes += _bass(rng, chords, str(rng.choice(basses)), walking=style == "swing")
    if "chords" in parts:
        piece.programs[2] = int(rng.choice(KEYS_PROGRAMS + GUITAR_PROGRAMS + PAD_PROGRAMS))
        notes += _comping(rng, chords, str(rng.choice(comping)))
    if "arpeggio" in parts:
        piece.programs[3] = int(rng.choice((*KEYS_PROGRAMS, 80, 81, 38, 46, 24, 12, 11)))
        notes += _arpeggio(rng, chords, fast=style in ELECTRONIC or dense)
    if "melody" in parts:
        piece.programs[4] = int(rng.choice(LEAD_PROGRAMS + KEYS_PROGRAMS))
        notes += _melody(rng, chords, root, scale, dense=dense)
    piece.notes = _swung(_repeated(rng, notes, pattern_bars, piece.bars, 4.0, exact=looped), swing)
    return piece


def _played_by(rng: np.random.Generator, style: str, bpm: float, seconds: float) -> Piece:
    """A piece of one of the `BANDS`: the bass names the chord where it changes, and the drums keep their part."""
    band = BANDS[style]
    piece = Piece(style=style, bpm=bpm, beats_per_bar=4, beat_unit=4, bars=0, bar_beats=4.0)
    blues = rng.random() < BLUES_SHARE.get(style, 0.0)
    bars = len(BLUES) if blues else 8
    piece.bars = max(4, round(seconds * bpm / 60 / 4))
    step = 4.0 / band.places
    root, scale = int(rng.integers(0, 12)), (MAJOR if blues or rng.random() < 0.5 else MINOR)
    progression = PROGRESSIONS[int(rng.integers(len(PROGRESSIONS)))]
    lasts = float(rng.choice(band.bars))
    per_bar = max(1, round(1 / lasts))
    sevenths = style == "jazz"
    chords = (
        [[tuple(root + MAJOR[degree] + rise for rise in (0, 4, 7, 10))] for degree in BLUES]
        if blues
        else [
            [
                _triad(root, scale, progression[int((bar + part / per_bar) / lasts) % 4], sevenths=sevenths)
                for part in range(per_bar)
            ]
            for bar in range(bars)
        ]
    )
    bass, comping, tune = (rng.random() < chance for chance in band.parts)
    notes: list[Note] = []
    if rng.random() < 0.93 or not (bass or comping):
        # Breaks turn through several bars; elsewhere the drums keep one, and now and then a part is silent for a while.
        rows = [dict(band.drums[int(rng.integers(len(band.drums)))]) for _ in range(4 if style == "amen" else 1)]
        for turn in range(bars // 4 if len(rows) == 1 else bars):
            length = 4 if len(rows) == 1 else 1
            part = dict(rows[turn % len(rows)])
            if len(part) > 2 and rng.random() < 0.15:
                part.pop(list(part)[int(rng.integers(len(part)))])
            stroke = _rows(rng, part, length, step, fill=style not in {"metronome", "rumble"} and rng.random() < 0.3)
            notes += [note._replace(start=note.start + turn * length * 4.0) for note in stroke]
        piece.programs[DRUM] = int(rng.choice(KITS))
    if bass:
        piece.programs[1] = int(rng.choice(band.bass_programs))
        notes += _bass_line(rng, band, chords, step)
    if comping:
        piece.programs[2] = int(rng.choice(band.chord_programs))
        played = _chord_part(rng, band, chords, step)
        if rng.random() < PUSHED.get(style, 0.0):
            played = [note._replace(start=note.start - 0.5) for note in played if note.start >= 0.5]
        notes += played
    if tune:
        piece.programs[4] = int(rng.choice(LEAD_PROGRAMS + KEYS_PROGRAMS))
        third = 1 / 3
        values = (third, 2 * third, 1.0, 1.0, 2.0) if band.places == 12 else None
        first = [chord[0] for chord in chords]
        notes += _melody(rng, first, root, scale, dense=bpm < 100, values=values)
    if bass or comping or tune:
        piece.tonic, piece.minor = root, scale is MINOR
    piece.notes = _repeated(rng, notes, bars, piece.bars, 4.0, exact=rng.random() < 0.3)
    return piece


def _bass_line(rng: np.random.Generator, band: Band, chords: list[list[tuple[int, ...]]], step: float) -> list[Note]:
    pattern = band.basses[int(rng.integers(len(band.basses)))]
    low = 28 if rng.random() < 0.7 else 36
    length = float(rng.choice([0.9, 1.6]))
    notes = []
    for bar, parts in enumerate(chords):
        for place, mark in enumerate(pattern):
            if mark == ".":
                continue
            chord = parts[place * len(parts) // band.places]
            coming = chords[(bar + 1) % len(chords)][0]
            rise = {"1": 0, "3": chord[1] - chord[0], "5": chord[2] - chord[0], "6": 9, "7": 10, "8": 12}.get(mark, 0)
            pitch = low + ((coming if mark == "a" else chord)[0] - low) % 12 + rise
            velocity = int(np.clip((102 if place == 0 else 88) + rng.normal(0, 8), 30, 127))
            notes.append(Note(bar * 4.0 + place * step, length * step, pitch, velocity, 1))
    return notes


def _chord_part(rng: np.random.Generator, band: Band, chords: list[list[tuple[int, ...]]], step: float) -> list[Note]:
    pattern = band.chords[int(rng.integers(len(band.chords)))]
    base = int(rng.choice([48, 55, 60]))
    notes = []
    for bar, parts in enumerate(chords):
        for place, mark in enumerate(pattern):
            if mark == ".":
                continue
            held = next((at for at in range(place + 1, len(pattern)) if pattern[at] != "."), len(pattern)) - place
            length = (held if mark == "X" else 1) * step * 0.9
            velocity = int(np.clip(78 + rng.normal(0, 8), 30, 120))
            notes += [
                Note(bar * 4.0 + place * step, length, base + (tone - base) % 12, velocity, 2)
                for tone in parts[place * len(parts) // band.places]
            ]
    return notes


def compose_sparse(rng: np.random.Generator, seconds: float = 24.0) -> Piece:
    """Strokes too rare to be a beat, or a player so free that nobody could count along."""
    piece = Piece(style="sparse", bpm=60.0, beats_per_bar=4, beat_unit=4, bars=round(seconds / 4), bar_beats=4.0)
    piece.counted = False
    piece.programs = {4: int(rng.choice((0, 0, 9, 10, 11, 12, 14, 14, 46, 112, 113))), DRUM: int(rng.choice(KITS))}
    if rng.random() < 0.55:
        gap = float(rng.uniform(1.9, 4.5))
        wander = float(rng.choice([0.0, 0.0, 0.02, 0.15]))
        voice, pitch = (
            (4, int(rng.integers(48, 84))) if rng.random() < 0.7 else (DRUM, int(rng.choice([36, 38, 49, 56])))
        )
        several = rng.random() < 0.3
        at = float(rng.uniform(0, gap))
        while at < seconds:
            tone = pitch + (int(rng.choice([0, 4, 7, 12])) if several and voice == 4 else 0)
            piece.notes.append(Note(at, gap, tone, int(rng.integers(60, 110)), voice))
            at += gap * float(np.exp(rng.normal(0, wander)))
        return piece
    beat, at, index = 60 / float(rng.uniform(50, 110)), float(rng.uniform(0, 1)), 0
    turn, depth = float(rng.uniform(3, 8)), float(rng.uniform(0.15, 0.35))
    root, scale = 48 + int(rng.integers(0, 12)), MAJOR
    while at < seconds:
        length = beat * (1 + depth * np.sin(index / turn) + float(rng.normal(0, 0.08)))
        piece.notes.append(Note(at, 2 * length, root - (12 if index % 4 == 0 else 0), 80, 4))
        for part in range(int(rng.integers(0, 3))):
            tone = root + 12 + scale[int(rng.integers(7))]
            piece.notes.append(Note(at + length * (part + 1) / 3, length, tone, int(rng.integers(45, 85)), 4))
        at += max(0.15, length)
        index += 1
    return piece


def _parts(rng: np.random.Generator, style: str, looped: bool) -> set[str]:
    kind = rng.random()
    if style == "percussion":
        return {"drums"}
    if style == "piano":
        return {"arpeggio", "melody"} if kind < 0.6 else {"chords", "melody", "bass"}
    if style == "arpeggio":
        parts = _some(rng, {"arpeggio"}, chords=0.5, bass=0.3)
    elif looped and kind < 0.7:
        parts = {"drums"} if kind < 0.45 else {str(rng.choice(["bass", "arpeggio", "chords"]))}
    elif looped:
        parts = _some(rng, {"drums", "bass"}, chords=0.5, arpeggio=0.4)
    elif style == "song":
        parts = _some(rng, {"melody"}, drums=0.8, bass=0.85, chords=0.8, arpeggio=0.4)
    elif kind < 0.2:
        parts = {"drums"} if kind < 0.1 else {"bass", "chords", "melody"}
    else:
        parts = _some(rng, {"drums", "bass"}, chords=0.8, melody=0.7, arpeggio=0.5 if style in ELECTRONIC else 0.35)
    return parts


def _some(rng: np.random.Generator, always: set[str], **chances: float) -> set[str]:
    return always | {part for part, chance in chances.items() if rng.random() < chance}


def _drums(rng: np.random.Generator, style: str, bars: int, *, alone: bool) -> list[Note]:
    if style == "swing":
        rows = {RIDE: "9000900690009006", PEDAL: "0000900000009000", KICK: "4000400040004000"}
    elif style == "trance":
        rows = dict(GROOVES[str(rng.choice(["techno", "house"]))][0])
    else:
        rows = dict(GROOVES[style][int(rng.integers(len(GROOVES[style])))])
    if alone and rng.random() < 0.35 and len(rows) > 1:
        kept = list(rows)[int(rng.integers(len(rows)))]  # a single drum, as sample packs have them
        rows = {kept: rows[kept]}
    elif len(rows) > 2 and rng.random() < 0.2:
        rows.pop(list(rows)[int(rng.integers(len(rows)))])
    return _rows(rng, rows, bars, 0.25, fill=not alone or rng.random() < 0.3)


def _rows(rng: np.random.Generator, rows: dict[int, str], bars: int, step: float, *, fill: bool) -> list[Note]:
    """Strokes of the rows over some bars; a stroke below 9 comes and goes, but alike in every other bar."""
    length = len(next(iter(rows.values())))
    variants = [_variant(rng, rows) for _ in range(2)]
    notes = []
    for bar in range(bars):
        chosen = variants[1 if bars > 1 and bar % 2 and rng.random() < 0.7 else 0]
        filling = fill and bars >= 4 and bar % 4 == 3 and rng.random() < 0.6
        for drum, marks in chosen.items():
            for place, mark in enumerate(marks):
                if mark and not (filling and place >= length * 3 // 4 and drum in {SNARE, HAT}):
                    velocity = int(np.clip(35 + mark * 9 + rng.normal(0, 6), 20, 127))
                    notes.append(Note((bar * length + place) * step, step, drum, velocity, DRUM))
        for place in range(length * 3 // 4, length) if filling else ():
            if rng.random() < 0.75:
                drum = int(rng.choice([SNARE, TOM_HIGH, TOM_MID, TOM_LOW]))
                notes.append(Note((bar * length + place) * step, step, drum, int(rng.integers(70, 115)), DRUM))
        if fill and bar == 0 and rng.random() < 0.5:
            notes.append(Note(0.0, 1.0, CRASH, 100, DRUM))
    return notes


def _variant(rng: np.random.Generator, rows: dict[int, str]) -> dict[int, list[int]]:
    """One way of playing the rows: weak strokes chosen, now and then a bass or snare drum stroke added."""
    variant = {}
    for drum, row in rows.items():
        marks = [int(mark) for mark in row]
        variant[drum] = [mark if mark and (mark >= 5 or rng.random() < mark / 6) else 0 for mark in marks]
        if rng.random() < 0.25 and drum in {KICK, SNARE}:
            place = int(rng.integers(len(row)))
            variant[drum][place] = variant[drum][place] or int(rng.integers(2, 7))
    return variant


def _triad(root: int, scale: tuple[int, ...], degree: int, *, sevenths: bool = False) -> tuple[int, ...]:
    steps = (0, 2, 4, 6) if sevenths else (0, 2, 4)
    return tuple(root + scale[(degree + step) % 7] + 12 * ((degree + step) // 7) for step in steps)


def _bass(
    rng: np.random.Generator, chords: list[tuple[int, ...]], kind: str, *, walking: bool, bar: float = 4.0
) -> list[Note]:
    places = BASSES[kind][int(rng.integers(len(BASSES[kind])))]
    low = 28 if rng.random() < 0.7 else 40
    contour = [0 if rng.random() < 0.6 else int(rng.choice([7, 12, -5, 3])) for _ in places]
    contour[0] = 0
    notes = []
    for index, chord in enumerate(chords):
        for place, rise in zip(places, contour, strict=True):
            shift = int(rng.choice([0, 4, 7, 9, 2])) if walking and place else rise
            pitch = low + (chord[0] + shift - low) % 12 + (12 if rise == 12 else 0)
            velocity = int(np.clip((100 if place % 4 == 0 else 85) + rng.normal(0, 8), 30, 127))
            notes.append(Note(index * bar + place / 4, 0.24 if kind == "sixteenths" else 0.45, pitch, velocity, 1))
    return notes


def _comping(rng: np.random.Generator, chords: list[tuple[int, ...]], kind: str, bar: float = 4.0) -> list[Note]:
    rhythm = COMPING[kind][int(rng.integers(len(COMPING[kind])))]
    base = int(rng.choice([48, 55, 60]))
    notes = []
    for index, chord in enumerate(chords):
        for place, length in rhythm:
            velocity = int(np.clip((85 if place % 8 == 0 else 72) + rng.normal(0, 8), 30, 120))
            notes += [
                Note(index * bar + place / 4, length / 4 * 0.92, base + (tone - base) % 12, velocity, 2)
                for tone in chord
            ]
    return notes


def _arpeggio(rng: np.random.Generator, chords: list[tuple[int, ...]], *, fast: bool, bar: float = 4.0) -> list[Note]:
    per_beat = 4 if fast and rng.random() < 0.75 else 2
    count = round(bar * per_beat)
    base = int(rng.choice([48, 55, 60, 67]))
    cycle = int(rng.choice([3, 4, 4, 6, 8, 8, 16]))
    order = rng.integers(0, 5, cycle)
    accent = int(rng.choice([cycle, per_beat, per_beat * 2]))
    rests = rng.random(count) < float(rng.choice([0, 0, 0.15, 0.3]))
    rests[0] = False
    notes = []
    for index, chord in enumerate(chords):
        for place in range(count):
            if rests[place]:
                continue
            tone = order[place % cycle]
            pitch = base + (chord[tone % 3] - base) % 12 + 12 * (int(tone) // 3)
            velocity = int(np.clip((100 if place % accent == 0 else 78) + rng.normal(0, 6), 30, 125))
            notes.append(Note(index * bar + place / per_beat, 0.9 / per_beat, pitch, velocity, 3))
    return notes


def _melody(
    rng: np.random.Generator,
    chords: list[tuple[int, ...]],
    root: int,
    scale: tuple[int, ...],
    *,
    dense: bool,
    bar: float = 4.0,
    values: tuple[float, ...] | None = None,
) -> list[Note]:
    """A line of chord notes on the beats and steps between; its rhythm repeats every second bar."""
    lengths = values or ((0.25, 0.5, 0.5, 0.75, 1.0, 1.5) if dense else (0.5, 0.5, 1.0, 1.0, 1.5, 2.0))
    rhythms = []
    for _ in range(2):
        places, at = [], 0.0
        while at < bar - 1e-6:
            length = min(float(rng.choice(lengths)), bar - at)
            # Syncopation is the exception: a long note rather starts on a beat.
            if length >= 1 and at % 0.5 and rng.random() < 0.7:
                length = 0.5 - at % 0.5 if not values else length
            places.append((at, length, rng.random() < 0.12))
            at += length
        rhythms.append(places)
    degree = 7
    notes = []
    for index, chord in enumerate(chords):
        for at, length, rest in rhythms[index % 2]:
            if rest:
                continue
            degree = int(np.clip(degree + rng.integers(-2, 3), 2, 14))
            pitch = 60 + root % 12 + scale[degree % 7] + 12 * (degree // 7) - 12
            if at % 1 == 0 and rng.random() < 0.6:
                tone = int(rng.choice(chord))
                pitch = pitch + (tone - pitch + 6) % 12 - 6
            velocity = int(np.clip((98 if at % 1 == 0 else 84) + rng.normal(0, 9), 30, 125))
            notes.append(Note(index * bar + at, length * 0.92, pitch, velocity, 4))
    return notes


def _waltz(rng: np.random.Generator, style: str, bpm: float, seconds: float) -> Piece:
    piece = Piece(style=style, bpm=bpm, beats_per_bar=3, beat_unit=4, bars=0, bar_beats=3.0, numerator=3)
    bars = 8
    piece.bars = max(bars, round(seconds * bpm / 60 / 3))
    root, scale = int(rng.integers(0, 12)), (MAJOR if rng.random() < 0.65 else MINOR)
    piece.tonic, piece.minor = root, scale is MINOR
    progression = PROGRESSIONS[int(rng.integers(len(PROGRESSIONS)))]
    chords = [_triad(root, scale, progression[bar % 4]) for bar in range(bars)]
    notes: list[Note] = []
    if rng.random() < 0.55:
        notes += _rows(rng, WALTZES[int(rng.integers(len(WALTZES)))], bars, 0.25, fill=rng.random() < 0.3)
        piece.programs[DRUM] = int(rng.choice(KITS))
    piece.programs |= {
        1: int(rng.choice(BASS_PROGRAMS)),
        2: int(rng.choice(KEYS_PROGRAMS + GUITAR_PROGRAMS)),
        4: int(rng.choice(LEAD_PROGRAMS + FOLK_PROGRAMS)),
    }
    oompah = rng.random() * (0.75 if style == "viennese" else 1.0)
    for index, chord in enumerate(chords):
        notes.append(Note(index * 3.0, 0.9 if oompah < 0.6 else 2.8, 36 + (chord[0] - 36) % 12, 92, 1))
        if oompah < 0.6:
            notes += [Note(index * 3.0 + beat, 0.6, 52 + (tone - 52) % 12, 70, 2) for beat in (1, 2) for tone in chord]
        elif oompah < 0.85:
            notes += [
                Note(index * 3.0 + place / 2, 0.5, 52 + (chord[(0, 1, 2, 1, 2, 1)[place]] - 52) % 12, 76, 2)
                for place in range(6)
            ]
        else:
            notes += [Note(index * 3.0, 2.9, 52 + (tone - 52) % 12, 74, 2) for tone in chord]
    values = (0.5, 0.5, 1.0, 1.0, 2.0) if bpm < 170 else (1.0, 1.0, 2.0, 0.5)
    if rng.random() < 0.85:
        notes += _melody(rng, chords, root, scale, dense=False, bar=3.0, values=values)
    return _finished(rng, piece, notes, bars)


def _compound(rng: np.random.Generator, style: str, bpm: float, seconds: float) -> Piece:
    """6/8, 9/8 and 12/8: the beat is three eighths."""
    per_bar = 3 if style == "slip" else (4 if style == "slow6" and rng.random() < 0.35 else 2)
    piece = Piece(
        style=style, bpm=bpm, beats_per_bar=per_bar, beat_unit=8, bars=0, bar_beats=per_bar, numerator=per_bar * 3
    )
    bars = 8
    piece.bars = max(bars, round(seconds * bpm / 60 / per_bar))
    bar = float(per_bar)
    root, scale = int(rng.integers(0, 12)), (MAJOR if rng.random() < 0.6 else MINOR)
    piece.tonic, piece.minor = root, scale is MINOR
    progression = PROGRESSIONS[int(rng.integers(len(PROGRESSIONS)))]
    chords = [_triad(root, scale, progression[index % 4]) for index in range(bars)]
    notes: list[Note] = []
    if rng.random() < (0.5 if style != "slow6" else 0.65):
        rows = JIGS[int(rng.integers(len(JIGS)))]
        if per_bar == 3:
            rows = {drum: row[:3] + row[3:] + row[3:] for drum, row in rows.items()}
        elif per_bar == 4:
            rows = {drum: row * 2 for drum, row in rows.items()}
        notes += _rows(rng, rows, bars, 1 / 3, fill=rng.random() < 0.3)
        piece.programs[DRUM] = int(rng.choice(KITS))
    folk = style != "slow6"
    piece.programs |= {
        1: int(rng.choice(BASS_PROGRAMS)),
        2: int(rng.choice(KEYS_PROGRAMS + GUITAR_PROGRAMS)),
        4: int(rng.choice(FOLK_PROGRAMS if folk else LEAD_PROGRAMS)),
    }
    notes += _in_threes(rng, chords, per_bar, slow=not folk)
    if not folk and rng.random() < 0.4:  # the drums come in later
        notes = [note for note in notes if note.voice != DRUM or note.start >= bars // 2 * bar]
    third = 1 / 3
    values = (third, third, third, third * 2, 1.0) if folk else (third, third * 2, 1.0, 1.0)
    notes += _melody(rng, chords, root, scale, dense=False, bar=bar, values=values)
    if folk and rng.random() < 0.7:  # running eighths, as most jigs have them
        notes = [note for note in notes if note.voice != 4]
        notes += _melody(rng, chords, root, scale, dense=False, bar=bar, values=(third,) * 5 + (third * 2,))
    if rng.random() < 0.15:
        notes = [note for note in notes if note.voice in {4, DRUM}] or notes
    return _finished(rng, piece, notes, bars)


def _in_threes(rng: np.random.Generator, chords: list[tuple[int, ...]], per_bar: int, *, slow: bool) -> list[Note]:
    """Bass and chords where beats are three eighths: after the beat, broken (up, or up and down again), or held."""
    accompaniment, notes = rng.random(), list[Note]()
    arched, sustained = rng.random() < 0.5, slow and rng.random() < 0.4
    for index, chord in enumerate(chords):
        for beat in range(per_bar):
            at = float(index * per_bar + beat)
            if not sustained or beat == 0:
                length = per_bar * 0.95 if sustained else 0.8
                notes.append(Note(at, length, 36 + (chord[0 if beat % 2 == 0 else 2] - 36) % 12, 90, 1))
            if accompaniment < 0.45:
                notes += [Note(at + 2 / 3, 0.3, 52 + (tone - 52) % 12, 66, 2) for tone in chord]
            elif accompaniment < 0.8:
                turn, up = ((2, 1, 0), 12) if arched and beat % 2 else ((0, 1, 2), 0)
                notes += [
                    Note(at + step / 3, 0.33, 52 + up + (chord[turn[step]] - 52) % 12, 80 if step == 0 else 68, 2)
                    for step in range(3)
                ]
            else:
                notes += [Note(at, 0.9, 52 + (tone - 52) % 12, 72, 2) for tone in chord]
    return notes


def _odd(rng: np.random.Generator, style: str, bpm: float, seconds: float) -> Piece:
    """5/4, and 7/8 counted in quarters of which the last is a half longer."""
    five = style == "five"
    bar = 5.0 if five else 3.5
    piece = Piece(
        style=style,
        bpm=bpm,
        beats_per_bar=5 if five else 7,
        beat_unit=4 if five else 8,
        bars=0,
        bar_beats=bar,
        numerator=5 if five else 7,
    )
    bars = 4
    piece.bars = max(bars, round(seconds * bpm / 60 / bar))
    root, scale = int(rng.integers(0, 12)), (MAJOR if rng.random() < 0.4 else MINOR)
    piece.tonic, piece.minor = root, scale is MINOR
    progression = PROGRESSIONS[int(rng.integers(len(PROGRESSIONS)))]
    chords = [_triad(root, scale, progression[index % 4]) for index in range(bars)]
    rows = (FIVES if five else SEVENS)[int(rng.integers(len(FIVES if five else SEVENS)))]
    notes: list[Note] = []
    if rng.random() < 0.8:
        notes += _rows(rng, rows, bars, 0.25, fill=rng.random() < 0.3)
        piece.programs[DRUM] = int(rng.choice(KITS))
    piece.programs |= {1: int(rng.choice(BASS_PROGRAMS)), 2: int(rng.choice(KEYS_PROGRAMS + GUITAR_PROGRAMS)), 4: 80}
    groups = (
        ((0, 3), (0, 1.5, 3, 4), (0, 2))[int(rng.integers(3))]
        if five
        else ((0, 1, 2), (0, 1.5, 2.5))[int(rng.integers(2))]
    )
    # Held chords come twice a bar, the second now and then a step away; the bass may leap in between.
    held, away, leap = rng.random() < 0.4, int(rng.choice([0, 0, 2, -2])), int(rng.choice([0, 0, 7, 5]))
    for index, chord in enumerate(chords):
        for place, at in enumerate(groups):
            rise = leap if place == len(groups) - 2 else 0
            notes.append(Note(index * bar + at, 0.45, 36 + (chord[0] + rise - 36) % 12, 95, 1))
            if not held:
                notes += [Note(index * bar + at, 0.6, 55 + (tone - 55) % 12, 78, 2) for tone in chord]
        for at, moved in ((0, 0), (groups[-1], away)) if held else ():
            notes += [Note(index * bar + at, 1.8, 55 + (tone + moved - 55) % 12, 78, 2) for tone in chord]
    if rng.random() < 0.6:
        notes += _melody(rng, chords, root, scale, dense=False, bar=bar, values=(0.5, 0.5, 1.0))
        piece.programs[4] = int(rng.choice(LEAD_PROGRAMS))
    return _finished(rng, piece, notes, bars)


def _finished(rng: np.random.Generator, piece: Piece, notes: list[Note], bars: int) -> Piece:
    """The piece with its pattern played over and over; three in ten are loops that never change, often drums alone."""
    piece.loop = rng.random() < 0.3
    if piece.loop:
        bars = int(rng.choice([1, 2, 4]))
        notes = [note for note in notes if note.start < bars * piece.bar_beats - 1e-6]
        kept = {DRUM} if rng.random() < 0.6 else {DRUM, 1}
        if piece.programs.get(DRUM) is not None and rng.random() < 0.7:
            notes = [note for note in notes if note.voice in kept]
        piece.bars = max(1, piece.bars // bars) * bars
    piece.notes = _repeated(rng, notes, bars, piece.bars, piece.bar_beats, exact=piece.loop)
    return piece


def _repeated(
    rng: np.random.Generator, notes: list[Note], pattern_bars: int, bars: int, bar: float, *, exact: bool
) -> list[Note]:
    """The pattern played over and over; unless it is an exact loop, parts come and go between the rounds."""
    rounds = -(-bars // pattern_bars)
    voices = sorted({note.voice for note in notes})
    everything = []
    for turn in range(rounds):
        silent: set[int] = set()
        if not exact and len(voices) > 2 and turn and rng.random() < 0.25:
            silent = {int(rng.choice(voices))}
        offset = turn * pattern_bars * bar
        everything += [
            note._replace(start=note.start + offset)
            for note in notes
            if note.voice not in silent and note.start + offset < bars * bar - 1e-6
        ]
    return everything


def _swung(notes: list[Note], swing: float) -> list[Note]:
    """The same notes with every second subdivision late: sixteenths a little, or eighths to the triplet."""
    if not swing:
        return notes
    if swing > 0.1:
        return [
            note._replace(start=note.start + swing) if round(note.start * 4) % 4 in {2, 3} else note for note in notes
        ]
    return [note._replace(start=note.start + swing) if round(note.start * 4) % 2 else note for note in notes]
