"""How a project is built: which build system it has, and the steps that follow from that."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from adapters.runner.failures import BuildFailed
from adapters.runner.recipes import Recipe, read_recipe

#: Looked for in this order, below the recipe.
MARKS = (("CMakeLists.txt", "cmake"), ("meson.build", "meson"), ("waf", "waf"), ("Makefile", "make"))
LOOKED_FOR = "ledgerline-build.toml, CMakeLists.txt, meson.build, waf with wscript, Makefile"
PREFIX = "/usr"
#: Of compilers' results the least used go first, long before the whole cache is too large and goes at once.
CCACHE_SIZE_MAX = "2G"

#: Flags of a build by the name that CMake knows them by.
FLAG_DEFINITIONS = {
    "enableActivationKeys": "BEATCONNECT_ENABLE_ACTIVATION",
    "enableCreatorMode": "BEATCONNECT_ENABLE_CREATOR_MODE",
    "enableDebugMode": "BEATCONNECT_ENABLE_DEBUG_MODE",
}
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True)
class Places:
    """Where things are for the build, as it sees them itself."""

    source: PurePosixPath
    build: PurePosixPath
    stage: PurePosixPath
    home: PurePosixPath
    cache: PurePosixPath


@dataclass(frozen=True)
class Step:
    """One command. An `optional` one may fail; `network` says whether it may reach other machines; `reads` are folders
    of this machine that it needs besides.
    """

    name: str
    argv: tuple[str, ...]
    folder: PurePosixPath
    env: Mapping[str, str] = field(default_factory=dict)
    optional: bool = False
    network: bool = False
    reads: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wish:
    """What a build was asked to be."""

    name: str
    version: str
    build_number: int
    flags: Mapping[str, Any] = field(default_factory=dict)
    jobs: int = 2
    ccache: bool = False

    @property
    def debug(self) -> bool:
        """Whether it is to be built for debugging."""
        return bool(self.flags.get("enableDebugMode"))


def detect(source: Path) -> tuple[str, Recipe]:
    """The build system of a source tree and its recipe; raises BuildFailed with `no_build_system`."""
    recipe = read_recipe(source) or Recipe()
    folder = source / recipe.subdir
    if not folder.resolve().is_relative_to(source.resolve()) or not folder.is_dir():
        raise BuildFailed("bad_recipe", f"The recipe names the folder {recipe.subdir}, which the repository lacks.")
    if isinstance(recipe.build, tuple):
        return "commands", recipe
    if recipe.build:
        return recipe.build, recipe
    for mark, tool in MARKS:
        if (folder / mark).is_file() and (tool != "waf" or (folder / "wscript").is_file()):
            return tool, recipe
    raise BuildFailed("no_build_system", f"Nothing here says how it is built. Looked for: {LOOKED_FOR}.")


def plan(tool: str, recipe: Recipe, wish: Wish, places: Places) -> list[Step]:
    """The steps from source to staged plug-ins."""
    folder = places.source / recipe.subdir
    steps = {"cmake": _cmake, "meson": _meson, "waf": _waf, "make": _make, "commands": _commands}[tool](
        recipe, wish, places, folder
    )
    shared = environment(wish, places) | recipe.env
    return [replace(step, env=shared | dict(step.env)) for step in steps]


def environment(wish: Wish, places: Places) -> dict[str, str]:
    """What every step finds in its environment."""
    version = wish.version
    return {
        "VERSION_NUMBER": version,
        "BUILD_VERSION": version,
        "BUILD_NUMBER": str(wish.build_number),
        "LEDGERLINE_VERSION": version,
        "LEDGERLINE_BUILD_NUMBER": str(wish.build_number),
        "SOURCE_DATE_EPOCH": "315532800",
        "CCACHE_DIR": str(places.cache / "ccache"),
        "CCACHE_BASEDIR": str(places.source),
        "CCACHE_NOHASHDIR": "1",
        "CCACHE_MAXSIZE": CCACHE_SIZE_MAX,
        "CI": "true",
    }


def definitions(wish: Wish) -> dict[str, str]:
    """What CMake and Meson are told of the version and the flags."""
    found = {
        "BEATCONNECT_VERSION": wish.version,
        "BEATCONNECT_BUILD_NUMBER": str(wish.build_number),
        "LEDGERLINE_VERSION": wish.version,
        "LEDGERLINE_BUILD_NUMBER": str(wish.build_number),
    }
    for flag, value in wish.flags.items():
        if isinstance(value, bool) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", flag):
            name = FLAG_DEFINITIONS.get(flag, "BEATCONNECT_" + _WORD.sub("_", flag).upper())
            found[name] = "ON" if value else "OFF"
    return found


def _cmake(recipe: Recipe, wish: Wish, places: Places, folder: PurePosixPath) -> list[Step]:
    build = str(places.build)
    kind = "Debug" if wish.debug else "Release"
    network = recipe.network == "prepare"
    launcher = {f"CMAKE_{language}_COMPILER_LAUNCHER": "ccache" for language in ("C", "CXX")} if wish.ccache else {}
    defines = {
        "CMAKE_BUILD_TYPE": kind,
        "CMAKE_INSTALL_PREFIX": PREFIX,
        **launcher,
        **definitions(wish),
        **recipe.defines,
    }
    preset = ("--preset", recipe.preset) if recipe.preset else ("-G", "Ninja")
    configure = (
        "cmake",
        *preset,
        "-S",
        ".",
        "-B",
        build,
        *(f"-D{name}={value}" for name, value in defines.items()),
        "--no-warn-unused-cli",
    )
    make = ("cmake", "--build", build, "--config", kind, "--parallel", str(wish.jobs))
    targets = ("--target", *recipe.targets) if recipe.targets else ()
    return [
        Step("configuring", configure, folder, network=network),
        Step("building", (*make, *targets), folder),
        _install(("cmake", "--install", build, "--config", kind), folder, places),
    ]


def _meson(recipe: Recipe, wish: Wish, places: Places, folder: PurePosixPath) -> list[Step]:
    build = str(places.build)
    options = (f"-D{name}={value}" for name, value in recipe.defines.items())
    kind = f"--buildtype={'debug' if wish.debug else 'release'}"
    network = recipe.network == "prepare"
    wraps = f"--wrap-mode={'default' if network else 'nodownload'}"
    setup = ("meson", "setup", build, ".", f"--prefix={PREFIX}", kind, wraps, *options)
    return [
        Step("configuring", setup, folder, network=network),
        Step("building", ("meson", "compile", "-C", build, "-j", str(wish.jobs), *recipe.targets), folder),
        _install(("meson", "install", "-C", build, "--no-rebuild"), folder, places),
    ]


def _waf(recipe: Recipe, wish: Wish, places: Places, folder: PurePosixPath) -> list[Step]:
    waf = ("python3", "./waf")
    options = (f"--{name}={value}" if value else f"--{name}" for name, value in recipe.defines.items())
    configure = (*waf, "configure", f"--prefix={PREFIX}", *(("--debug",) if wish.debug else ()), *options)
    targets = (f"--targets={','.join(recipe.targets)}",) if recipe.targets else ()
    return [
        Step("configuring", configure, folder, network=recipe.network == "prepare"),
        Step("building", (*waf, "build", f"-j{wish.jobs}", *targets), folder),
        _install((*waf, "install", f"--destdir={places.stage}"), folder, places),
    ]


def _make(recipe: Recipe, wish: Wish, places: Places, folder: PurePosixPath) -> list[Step]:
    # Compilers are found through the links of ccache, which come first on the path.
    said = (f"{name}={value}" for name, value in recipe.defines.items())
    arguments = (*recipe.make_args, *said, *(("DEBUG=true",) if wish.debug else ()))
    make = ("make", f"-j{wish.jobs}", *arguments)
    return [
        Step("building", (*make, *recipe.targets), folder),
        _install(("make", "install", *arguments, f"PREFIX={PREFIX}", f"DESTDIR={places.stage}"), folder, places),
    ]


def _commands(recipe: Recipe, wish: Wish, places: Places, folder: PurePosixPath) -> list[Step]:  # noqa: ARG001
    where = {"BUILD_DIR": str(places.build), "DESTDIR": str(places.stage)}
    return [Step("building", ("/bin/sh", "-ec", line), folder, where) for line in recipe.build]


def _install(argv: tuple[str, ...], folder: PurePosixPath, places: Places) -> Step:
    return Step("installing", argv, folder, {"DESTDIR": str(places.stage)}, optional=True)


def web_interfaces(source: Path, recipe: Recipe) -> list[str]:
    """The folders of a plug-in's interface that npm builds, by name."""
    return [name for name in ("web-ui", "web") if (source / recipe.subdir / name / "package.json").is_file()]


def preparation(source: Path, recipe: Recipe, places: Places) -> list[Step]:
    """What is built of the web before the plug-in is, where the recipe allows a network for it.

    Exactly what a lock file names is installed, from the cache of earlier builds where that has it: packages that a
    registry no longer gives, or that nobody reaches just now, do not keep a plug-in from being built again.
    """
    if recipe.network != "prepare":
        return []
    steps = []
    for name in web_interfaces(source, recipe):
        folder = places.source / recipe.subdir / name
        env = {
            "npm_config_cache": str(places.cache / "npm"),
            "npm_config_update_notifier": "false",
            "npm_config_audit": "false",
            "npm_config_fund": "false",
        }
        locks = ("package-lock.json", "npm-shrinkwrap.json")
        locked = any((source / recipe.subdir / name / lock).is_file() for lock in locks)
        steps += [
            Step("preparing", ("npm", "ci" if locked else "install"), folder, env, network=True),
            Step("preparing", ("npm", "run", "build"), folder, env, network=True),
        ]
    return steps


def write_project_data(source: Path, recipe: Recipe, facts: Mapping[str, str], wish: Wish) -> bool:
    """Write `resources/project_data.json` where the project has such a folder, or asks for it; whether it was."""
    folder = source / recipe.subdir / "resources"
    if folder.is_symlink() or not (recipe.project_data or folder.is_dir()):
        return False
    folder.mkdir(exist_ok=True)
    path = folder / "project_data.json"
    path.unlink(missing_ok=True)
    data = {
        "pluginId": facts.get("project_id", ""),
        "apiBaseUrl": facts.get("api_base_url", ""),
        "supabasePublishableKey": facts.get("publishable_key", ""),
        "version": wish.version,
        "buildNumber": wish.build_number,
        "flags": dict(wish.flags),
        "_meta": {"name": wish.name},
    }
    with path.open("x", encoding="utf-8") as file:
        json.dump(data, file, indent=2)
    return True
