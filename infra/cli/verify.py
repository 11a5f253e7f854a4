"""`ledgerline verify` and `repair`: whether everything that is kept is what it should be, and mending what can be."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import to_builtins

from infra.cli import as_json, command, data_dir
from infra.cli.progress import bars
from infra.cli.roles import runner
from infra.running import settings_for

if TYPE_CHECKING:
    from adapters.operators.findings import Part
    from adapters.operators.sealed_log import Witness
    from adapters.operators.verifying import Verified
    from infra.settings import Settings

#: The parts as they are called at the command line; the order is that in which they are looked at.
PARTS: dict[str, Part] = {
    "log": "log", "read-models": "read_models", "objects": "objects", "stream": "stream", "published": "published",
}  # fmt: skip
MENDED = ("read-models", "stream", "published")


def _only(among: Sequence[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option("--only", multiple=True, type=click.Choice(among), help="Only this part; may be repeated.")


@command("verify")
@_only(tuple(PARTS))
@click.option(
    "--witness",
    "witnesses",
    multiple=True,
    metavar="NUMBER:DIGEST",
    help="A seal that was noted elsewhere (`log.sealed` in our logs); may be repeated.",
)
@click.option("--public-key", metavar="HEX", help="Whose signature under seals counts; ours by the secret key.")
@as_json
@data_dir
def verify(
    only: tuple[str, ...], witnesses: tuple[str, ...], public_key: str | None, as_json: bool, data_dir: Path | None
) -> int:
    """Look at everything that is kept, while the service runs or not, and name what is not as it should be.

    The log is compared with its seals, the read models with a fold of the log, the objects and both streams of
    JetStream with what the log says of them. The exit status is 1 where anything is found.
    """
    noted = [_witness(each) for each in witnesses]
    key = None if public_key is None else _octets(public_key)
    settings = settings_for("verify", data_dir=data_dir)
    found = _verified(settings, [PARTS[each] for each in only or PARTS], key, noted, as_json)
    return 1 if any(each.findings for each in found) else 0


@command("repair")
@_only(MENDED)
@as_json
@data_dir
def repair(only: tuple[str, ...], as_json: bool, data_dir: Path | None) -> int:
    """Mend read models and JetStream where they are not what the log says, and say what was done.

    Read models are folded again beside the old ones, by a running `project`; a stream is deleted, and a running
    `relay` fills it again, subscribers going on where they were. The log itself and objects cannot be mended: restore
    them from a backup. The exit status is 1 where something is still wrong afterwards.
    """
    from infra import processes

    settings = settings_for("repair", data_dir=data_dir)
    parts = [PARTS[each] for each in only or MENDED]
    found = {each.part: each for each in _verified(settings, parts, None, (), as_json)}
    mended: list[Part] = []
    if "read_models" in found and (names := _different(found["read_models"])):
        with runner() as loop:
            loop.run(processes.replay(settings, names))
        for name in names:
            _say({"mended": "read_models", "subject": name}, f"Folded {name} again.", as_json)
        mended.append("read_models")
    for part in ("stream", "published"):
        if part in found and found[part].findings:
            with runner() as loop:
                loop.run(_refill(settings, part))
            _say({"mended": part}, f"Deleted what JetStream held ({part}); the relay fills it again.", as_json)
            mended.append(part)
    if not mended:
        _say({"mended": None}, "There is nothing to mend.", as_json)
        return 0
    return 1 if any(each.findings for each in _verified(settings, mended, None, (), as_json)) else 0


def _different(found: Verified) -> list[str]:
    return sorted({each.subject for each in found.findings if each.subject is not None})


async def _refill(settings: Settings, part: Part) -> None:
    from nats.js.errors import NotFoundError

    from adapters.stream.bus import Bus
    from adapters.subscribing.publishing import stream_name
    from infra.container import container

    async with container(settings) as here:
        bus = await here.get(Bus)
        try:
            await bus.client.jetstream().delete_stream(bus.stream if part == "stream" else stream_name(bus))
        except NotFoundError:
            return


def _verified(
    settings: Settings, parts: Sequence[Part], key: bytes | None, witnesses: Sequence[Witness], as_json: bool
) -> list[Verified]:
    """Look at parts, and show what was found in each as soon as it is known."""
    from adapters.operators.verifying import verify as looked_at
    from infra.container import container

    found: list[Verified] = []

    async def look() -> None:
        with bars(hidden=as_json) as tell:
            async with container(settings) as here:
                async for each in looked_at(here, parts, key=key, witnesses=witnesses, progress=tell):
                    found.append(each)
                    _show(each, as_json)

    with runner() as loop:
        loop.run(look())
    return found


def _show(verified: Verified, as_json: bool) -> None:
    for each in verified.findings:
        _say(to_builtins(each), f"{click.style(each.kind, fg='red')}: {each.message}", as_json)
    what = ", ".join(
        f"{name.replace('_', ' ')} {', '.join(value) if isinstance(value, list) else value}"
        for name, value in verified.looked_at.items()
        if value or value == 0
    )
    how = click.style(f"{len(verified.findings)} found", fg="red") if verified.findings else "in order"
    _say(
        {"part": verified.part, **verified.looked_at, "found": len(verified.findings)},
        f"{verified.part.replace('_', ' '):<13}{how} ({what})",
        as_json,
    )


def _say(told: dict[str, Any], text: str, as_json: bool) -> None:
    click.echo(json.dumps(told) if as_json else text)


def _octets(text: str) -> bytes:
    try:
        octets = bytes.fromhex(text)
    except ValueError:
        octets = b""
    if len(octets) != 32:
        raise click.UsageError("--public-key takes 32 bytes in hex, as `ledgerline log key` shows them.")
    return octets


def _witness(text: str) -> Witness:
    from adapters.operators.sealed_log import Witness

    number, _, digest = text.partition(":")
    if not number.isdecimal() or len(digest) != 64:
        raise click.UsageError(f"{text!r} is no witness. Write NUMBER:DIGEST, as our log says it.")
    return Witness(int(number), digest.lower())
