"""Takes note lists from the scores of music21's corpus (public domain), once, as material for training.

    python -m infra.training.scores OUT.pkl

music21 is needed for this step alone: `pip install music21`.
"""

from __future__ import annotations

import importlib
import pickle
import random
import sys
from pathlib import Path
from typing import Any

COMPOSERS = (
    "mozart", "haydn", "beethoven", "bach", "handel", "schubert", "schumann_clara", "schumann_robert", "chopin",
    "weber", "corelli", "joplin", "beach", "cpebach", "verdi",
)  # fmt: skip
#: Scores of one composer at most.
SCORES_MAX = 45

#: A score: where it is from, its time signature, and (start, length, pitch) in quarters from the first full bar on.
Score = tuple[str, str, list[tuple[float, float, int]]]


def main() -> None:
    """Write the scores that keep one metre throughout."""
    music21: Any = importlib.import_module("music21")
    choice = random.Random(0)  # noqa: S311 - a selection of scores, no secret
    scores = []
    for composer in COMPOSERS:
        paths = list(music21.corpus.getComposer(composer))
        choice.shuffle(paths)
        for path in paths[:SCORES_MAX]:
            try:
                score = _score(music21, path)
            except (music21.exceptions21.Music21Exception, ValueError, IndexError, AttributeError) as fault:
                print(f"{path}: {fault}", file=sys.stderr)
                continue
            if score is not None:
                scores.append(score)
    Path(sys.argv[1]).write_bytes(pickle.dumps(scores))
    print(len(scores), "scores")


def _score(music21: Any, path: Any) -> Score | None:
    parsed = music21.converter.parse(path)
    if not hasattr(parsed, "parts"):
        return None
    part = parsed.parts[0]
    metres = {metre.ratioString for metre in part.recurse().getElementsByClass("TimeSignature")}
    measures = list(part.getElementsByClass(music21.stream.Measure))
    if len(metres) != 1 or not measures:
        return None
    bar = measures[min(1, len(measures) - 1)].barDuration.quarterLength
    upbeat = measures[1].offset if len(measures) > 1 and measures[0].duration.quarterLength < bar - 0.01 else 0
    notes = [
        (float(note.offset) - float(upbeat), float(note.quarterLength), pitch.midi)
        for note in parsed.flatten().notes
        for pitch in note.pitches
    ]
    return Path(path).name, metres.pop(), sorted(note for note in notes if note[0] >= 0 and note[1] > 0)


if __name__ == "__main__":
    main()
