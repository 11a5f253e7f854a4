"""Makes the material for training: composed, folk and classical pieces, played, heard by the ears, and put on disk.

    python -m infra.training.material OUT --count 3000 --abc FOLDER --scores scores.pkl --font A.sf2 --font B.sf2

Needs `fluidsynth` and `abc2midi` and General MIDI sound fonts (FluidR3, MIT; TimGM6mb, GPL-2+: only what they sound
like is learned from, nothing of them is shipped).
"""

from __future__ import annotations

import argparse
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from adapters.ears.spectrum import Listener
from infra.training.composer import Piece, compose, compose_beatless, compose_sparse
from infra.training.corpus import folk_piece, score_piece, tunes_of
from infra.training.performer import RATE, perform

SHARD = 20


class Sources(NamedTuple):
    """What pieces are made from: tunes as ABC text, scores as notes, and sound fonts."""

    tunes: list[str]
    scores: list[Any]
    fonts: list[Path]

    @classmethod
    def of(cls, options: argparse.Namespace) -> Self:
        """The sources that a command line names."""
        return cls(
            tunes_of(sorted(file for folder in options.abc for file in folder.glob("*.abc"))),
            pickle.loads(options.scores.read_bytes()) if options.scores else [],  # noqa: S301 - our own file
            options.font,
        )


def add_sources(parser: argparse.ArgumentParser) -> None:
    """The options that name the sources and how much is made of them."""
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--abc", type=Path, nargs="*", default=[])
    parser.add_argument("--scores", type=Path)
    parser.add_argument("--font", type=Path, action="append", required=True)


def main() -> None:
    """Write shards of `SHARD` heard pieces until `--count` is reached; shard n depends on the seed n alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    add_sources(parser)
    parser.add_argument("--beatless", action="store_true", help="only sound in which there is no beat to find")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    sources = Sources.of(options)
    for shard in range(options.first, options.first + -(-options.count // SHARD)):
        path = options.out / f"{shard:04d}.pkl"
        if not path.exists():
            path.write_bytes(pickle.dumps(list(shard_of(sources, shard, beatless=options.beatless))))
            print(path, flush=True)


def shard_of(sources: Sources, number: int, *, beatless: bool = False) -> Iterator[dict[str, Any]]:
    """The heard pieces of one shard, which depends on its number alone."""
    rng = np.random.default_rng(number)
    count = 0
    while count < SHARD:
        if beatless:
            seconds = float(rng.choice([2, 5, 10, 20, 30]))
            piece: Piece | None = compose_sparse(rng, seconds) if rng.random() < 0.3 else compose_beatless(rng, seconds)
        else:
            piece = drawn(rng, sources.tunes, sources.scores)
        if piece is None:
            continue
        try:
            heard = heard_piece(piece, rng, sources.fonts)
        except (subprocess.SubprocessError, OSError) as fault:
            print(f"{piece.style}: {fault}", file=sys.stderr)
            continue
        count += 1
        yield heard


def drawn(rng: np.random.Generator, tunes: list[str], scores: list[Any]) -> Piece | None:
    """A piece of any kind; None where a tune or a score cannot be read."""
    kind = rng.random()
    seconds = float(rng.uniform(12, 36))
    if kind < 0.16 and tunes:
        return folk_piece(tunes[int(rng.integers(len(tunes)))], rng, seconds)
    if kind < 0.28 and scores:
        _, metre, notes = scores[int(rng.integers(len(scores)))]
        return score_piece(notes, metre, rng, seconds)
    if kind > 0.94:
        return compose_beatless(rng, seconds)
    if kind > 0.91:
        return compose_sparse(rng, seconds)
    return compose(rng, seconds=seconds)


def heard_piece(piece: Piece, rng: np.random.Generator, fonts: list[Path]) -> dict[str, Any]:
    """The piece as it is played and heard, with its truth."""
    performance = perform(piece, rng, fonts)
    listener = Listener()
    for start in range(0, len(performance.sound), RATE):
        listener.feed(performance.sound[start : start + RATE])
    spectra = listener.finish()
    return {
        "style": piece.style,
        "bpm": performance.bpm if piece.counted else 0.0,
        "loop": piece.loop,
        "numerator": piece.numerator,
        "beat_unit": piece.beat_unit,
        "beats_per_bar": piece.beats_per_bar,
        "bar_beats": piece.bar_beats,
        "programs": dict(piece.programs),
        "beats": performance.beats if piece.counted else np.zeros(0),
        "downbeats": performance.downbeats if piece.counted else np.zeros(0),
        "seconds": spectra.seconds,
        "taps": listener.taps(),
        "levels": spectra.levels,
        "tonal": spectra.tonal.astype(np.float16),
    }


if __name__ == "__main__":
    main()
