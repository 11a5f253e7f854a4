"""The optional recipe of a project, `ledgerline-build.toml`: what cannot be guessed of how it is built."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any

from adapters.runner.failures import BuildFailed

RECIPE = "ledgerline-build.toml"
RECIPE_BYTES_MAX = 64 * 1024
TOOLS = ("cmake", "meson", "waf", "make")


@dataclass(frozen=True)
class Recipe:
    """What a recipe says; the defaults are what holds without one.

    `build` is one of TOOLS, or the command lines of a build of its own. `network` is "prepare" where the prepare and
    configure steps need one. `sign` are command lines that are given the project's secrets, and nothing else is.
    """

    build: str | tuple[str, ...] = ""
    preset: str = ""
    targets: tuple[str, ...] = ()
    defines: dict[str, str] = field(default_factory=dict)
    make_args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    network: str = "none"
    artifacts: tuple[str, ...] = ()
    validate: str = "advisory"
    subdir: str = "."
    project_data: bool = False
    sign: tuple[str, ...] = ()


def read_recipe(source: Path) -> Recipe | None:
    """The recipe in a source tree, None where there is none; raises BuildFailed with `bad_recipe`."""
    path = source / RECIPE
    if path.is_symlink() or not path.is_file():
        return None
    if path.stat().st_size > RECIPE_BYTES_MAX:
        raise _bad(f"it is longer than {RECIPE_BYTES_MAX} bytes")
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem:  # what is no TOML, no text, or a number without end
        raise _bad(str(problem)) from None
    except RecursionError:
        raise _bad("it is nested too deeply") from None
    unknown = sorted(set(found) - {each.name for each in fields(Recipe)})
    if unknown:
        known = ", ".join(each.name for each in fields(Recipe))
        raise _bad(f"it says {', '.join(unknown)}; what may be said is {known}")
    return Recipe(**{name: CHECKS[name](name, value) for name, value in found.items()})


def _bad(why: str) -> BuildFailed:
    return BuildFailed("bad_recipe", f"{RECIPE} cannot be followed: {why}.")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or "\0" in value or len(value) > 4096:
        raise _bad(f"{name} must be a text")
    return value


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > 256:
        raise _bad(f"{name} must be a list of texts")
    return tuple(_text(f"every one of {name}", each) for each in value)


def _table(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > 256:
        raise _bad(f"{name} must be a table of texts")
    made = {}
    for key, each in value.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}", key):
            raise _bad(f"{name} names {key!r}, which is no name of a variable")
        if isinstance(each, bool):
            made[key] = "ON" if each else "OFF"
        else:
            made[key] = str(each) if isinstance(each, int) and abs(each) < 2**64 else _text(f"{name}.{key}", each)
    return made


def _build(name: str, value: Any) -> str | tuple[str, ...]:
    if isinstance(value, list) and value:
        return _texts(name, value)
    if value not in TOOLS:
        raise _bad(f"{name} must be one of {', '.join(TOOLS)}, or a list of command lines")
    return str(value)


def _one_of(*words: str) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        if value not in words:
            raise _bad(f"{name} must be one of {', '.join(words)}")
        return str(value)

    return check


def _option_free(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    """Names that a tool would take for one of its options are refused."""

    def checked(name: str, value: Any) -> Any:
        found = check(name, value)
        if any(each.startswith("-") for each in ((found,) if isinstance(found, str) else found)):
            raise _bad(f"{name} must not begin with a dash")
        return found

    return checked


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _bad(f"{name} must be true or false")
    return value


def _subdir(name: str, value: Any) -> str:
    path = PurePosixPath(_text(name, value))
    if path.is_absolute() or ".." in path.parts or "\\" in str(path) or ":" in str(path):
        raise _bad(f"{name} must be a folder inside the repository")
    return str(path)


CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "build": _build,
    "preset": _option_free(_text),
    "targets": _option_free(_texts),
    "defines": _table,
    "make_args": _texts,
    "env": _table,
    "packages": _option_free(_texts),
    "network": _one_of("none", "prepare"),
    "artifacts": _texts,
    "validate": _one_of("none", "advisory", "strict"),
    "subdir": _subdir,
    "project_data": _truth,
    "sign": _texts,
}
