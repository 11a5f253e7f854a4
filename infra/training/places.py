"""Trains the network that tells where in a pattern the beats lie by how long what is struck lasts.

    python -m infra.training.places make OUT --kind drawn --first 70000 --count 880 --font A.sf2 [--abc FOLDER ...]
    python -m infra.training.places make OUT --kind floor --first 71000 --count 160 --font A.sf2
    python -m infra.training.places make OUT --kind club --first 60000 --count 720
    python -m infra.training.places fit OUT ... [--dry]

`make` keeps of every piece what the ears keep, and its truth: pieces of all kinds, those of the composer with a bass
drum on every beat, and `infra.training.club`. `fit` prints which share of places is right of pieces that the fit has
not seen, and writes `phase_lasting.npz`. Each piece is learned from as a whole, by halves, and by some seconds of it.
"""

from __future__ import annotations

import argparse
import pickle
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters.ears.beats import PARTS, folded, places
from adapters.ears.lasting import lasting_rotations
from adapters.ears.network import WEIGHTS, Network
from adapters.ears.rhythm import row_at
from adapters.ears.silence import Span, sounding
from adapters.ears.spectrum import CHORD_RATE, FRAME_RATE
from adapters.ears.tempo import pulse
from infra.training.bars import Known, known_in, known_of
from infra.training.club import club_piece
from infra.training.composer import compose
from infra.training.fit import fit_choice, save, vote
from infra.training.material import SHARD, Sources, add_sources, drawn
from infra.training.performer import Performance, perform
from infra.training.rhythm import place_of

Array = NDArray[np.float32]

#: Styles of the composer with a bass drum on every beat.
FLOOR = ("house", "techno", "trance", "rave", "electro", "rumble", "rumble", "disco")
FOLDS, VOTERS = 3, 3
#: Seconds of the short excerpt of each piece.
SHORT = 8.0, 14.0


class Example(NamedTuple):
    """A pattern as it looks from each of its places, and which of the first PARTS is where people tap."""

    style: str
    turned: Array
    place: int


def make(out: Path, kind: str, sources: Sources, first: int, count: int) -> None:
    """Write shards of `SHARD` pieces; shard n depends on its kind and the seed n alone, and what is there is kept."""
    out.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + -(-count // SHARD)):
        path, rng = out / f"{number}.pkl", np.random.default_rng(number)
        if path.exists():
            continue
        made: list[Known] = []
        played = 0
        while played < SHARD:
            try:
                performance = _performed(rng, kind, sources, played)
            except (subprocess.SubprocessError, OSError) as fault:
                print(fault, file=sys.stderr)
                continue
            if performance is None:
                continue
            played += 1
            if performance.piece.counted:
                made.append(known_of(performance))
        path.write_bytes(pickle.dumps(made, 5))
        print(path, flush=True)


def _performed(rng: np.random.Generator, kind: str, sources: Sources, number: int) -> Performance | None:
    """The next piece of a kind; None where a tune cannot be read."""
    if kind == "club":
        return club_piece(rng, float(rng.uniform(14, 36)))
    if kind == "floor":
        style = FLOOR[number % len(FLOOR)]
        return perform(compose(rng, style, float(rng.uniform(14, 36))), rng, sources.fonts)
    piece = drawn(rng, sources.tunes, sources.scores)
    return None if piece is None else perform(piece, rng, sources.fonts)


def excerpts(known: Known) -> Iterator[Known]:
    """The piece itself, its halves, and some seconds of it, with what of the truth lies within."""
    yield known
    count = len(known.trace.pitch)
    spans = [Span(0, count // 2), Span(count // 2, count)]
    rng = np.random.default_rng(count)
    length = round(float(rng.uniform(*SHORT)) * CHORD_RATE)
    if count > length + 5:
        first = int(rng.integers(0, count - length))
        spans.append(Span(first, first + length))
    for span in spans:
        later = known.beats - span.seconds, known.downbeats - span.seconds
        beats, downbeats = (times[times >= 0] for times in later)
        yield known._replace(trace=known.trace.within(span), beats=beats, downbeats=downbeats)


def example_of(known: Known) -> Example | None:
    """What is followed at the true tempo; None where it keeps no place beside the true beats, or is too little."""
    span = sounding(known.trace.rms, len(known.trace.pitch))
    trace = known.trace.within(span)
    if known.numerator == 7 or len(known.beats) < 6 or len(trace.pitch) < 2:
        return None
    heard = pulse(trace)
    beats = row_at(heard, 60 / known.bpm).beats
    true = (known.beats - span.seconds) * FRAME_RATE
    true = true[(true >= 0) & (true < len(heard.curve) - 4)]
    place = place_of(beats, true) if len(beats) >= 8 else None
    if place is None:
        return None
    return Example(known.style, lasting_rotations(folded(heard.signals, beats), trace, beats), place)


def network_of(examples: Sequence[Example], voters: int) -> Network:
    """Networks that choose the place, as one that votes."""
    measured = np.stack([one.turned for one in examples])
    right = np.zeros(measured.shape[:2], np.float32)
    for row, one in zip(right, examples, strict=True):
        row[[one.place, one.place + PARTS]] = 0.5
    present = np.ones(right.shape, np.bool_)
    return vote([fit_choice(measured, present, right, seed=seed, rounds=25, hidden=(48, 24)) for seed in range(voters)])


def fit(folders: Sequence[Path], *, dry: bool) -> None:
    """Print what is right of whole pieces in three folds, and fit to everything."""
    known = known_in(folders)
    made = [[example_of(part) for part in excerpts(one)] for one in known]
    fold = np.random.default_rng(5).permutation(len(made)) % FOLDS
    hits: dict[str, list[bool]] = defaultdict(list)
    for out in range(FOLDS):
        learned = [one for parts, at in zip(made, fold, strict=True) if at != out for one in parts if one is not None]
        network = network_of(learned, 1)
        for parts, at in zip(made, fold, strict=True):
            if at == out and parts[0] is not None:
                right = int(np.argmax(places(network, parts[0].turned))) == parts[0].place
                for group in ("all", parts[0].style):
                    hits[group].append(right)
    print(", ".join(f"{style} {np.mean(some):.3f} ({len(some)})" for style, some in sorted(hits.items())))
    if not dry:
        everything = [one for parts in made for one in parts if one is not None]
        save(network_of(everything, VOTERS), WEIGHTS / "phase_lasting.npz")
        print(len(known), "pieces,", len(everything), "excerpts")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("make", "fit"))
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--kind", choices=("drawn", "floor", "club"), default="drawn")
    parser.add_argument("--dry", action="store_true", help="print what is right only")
    add_sources(parser)
    options = parser.parse_args()
    if options.task == "make":
        make(options.folder[0], options.kind, Sources.of(options), options.first, options.count)
    else:
        fit(options.folder, dry=options.dry)


if __name__ == "__main__":
    main()
