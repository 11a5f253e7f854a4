"""`ledgerline generate`: a beat of our own, without a server."""

from __future__ import annotations

from pathlib import Path

import click

from infra.cli import LISTEN, Amount, as_json, command

a_file = click.Path(path_type=Path, dir_okay=False)


@command("generate", heading=LISTEN)
@click.argument("category", required=False)
@click.option("--out", type=a_file, metavar="FILE", help="Where the beat goes: .wav, .mp3 or .flac.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Another number, another beat (0).")
@click.option("--take", type=click.IntRange(1, 2), default=1, help="The second one has another hook and order (1).")
@click.option("--bpm", type=int, help="Beats per minute, instead of one that is usual.")
@click.option("--key", help='Such as "C Major" or "F# Minor".')
@click.option("--seconds", type=Amount(0), default=180.0, help="About how long (180).")
@click.option("--stems", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write the stems there.")
@click.option("--midi", type=a_file, metavar="FILE", help="Write the score as a MIDI file.")
@click.option("--score", type=a_file, metavar="FILE", help="Write the score as JSON.")
@click.option("--cover", type=a_file, metavar="FILE", help="Write the cover as a PNG.")
@click.option("--preview", type=a_file, metavar="FILE", help="Write 30 seconds of the hook as an MP3.")
@click.option("--list", "listing", is_flag=True, help="Show the categories.")
@as_json
def generate(
    category: str | None,
    out: Path | None,
    seed: int,
    take: int,
    bpm: int | None,
    key: str | None,
    seconds: float,
    stems: Path | None,
    midi: Path | None,
    score: Path | None,
    cover: Path | None,
    preview: Path | None,
    listing: bool,
    as_json: bool,
) -> int:
    """Make a beat of a category, such as "LoFi - Melodic/Calm"."""
    from infra import generate as band

    if listing:
        return band.show_categories(as_json=as_json)
    if category is None or out is None:
        raise click.UsageError("Name a category and where the beat goes: --out beat.wav")
    request = band.Request(category, out, seed, take, bpm, key, seconds, stems, midi, score, cover, preview)
    return band.run(request, as_json=as_json)
