"""How a project is built, without building it: which build system counts, and what its commands are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from adapters.runner.failures import BuildFailed
from adapters.runner.plans import Wish, detect, plan
from adapters.runner.recipes import Recipe
from adapters.runner.sandbox import INSIDE

WISH = Wish("Tiny", "1.2.3", 7, {"enableActivationKeys": True, "myOwnFlag": False, "a-b": True}, jobs=3)
#: Files that say how a project is built, each before what it counts more than.
MARKS = (("CMakeLists.txt", "cmake"), ("meson.build", "meson"), ("waf", "waf"), ("Makefile", "make"))


def commands(tool: str, recipe: Recipe | None = None, wish: Wish = WISH) -> list[str]:
    return [" ".join(step.argv) for step in plan(tool, recipe or Recipe(), wish, INSIDE)]


def test_the_first_build_system_in_the_documented_order_counts(tmp_path: Path) -> None:
    (tmp_path / "wscript").touch()
    for name, tool in reversed(MARKS):
        (tmp_path / name).touch()
        assert detect(tmp_path)[0] == tool
    (tmp_path / "CMakePresets.json").touch()
    assert detect(tmp_path)[0] == "cmake"
    (tmp_path / "ledgerline-build.toml").write_text('build = "make"\n')
    assert detect(tmp_path)[0] == "make"


def test_waf_without_its_script_and_folders_of_these_names_are_no_build_systems(tmp_path: Path) -> None:
    (tmp_path / "waf").touch()
    (tmp_path / "Makefile").mkdir()
    with pytest.raises(BuildFailed) as refusal:
        detect(tmp_path)
    assert refusal.value.code == "no_build_system"


def test_a_preset_of_cmake_is_used_where_the_recipe_names_one_and_nowhere_else() -> None:
    assert commands("cmake")[0].startswith("cmake -G Ninja -S . -B /work/build ")
    named = commands("cmake", Recipe(preset="release"))[0]
    assert named.startswith("cmake --preset release -S . -B /work/build ")
    assert "-G" not in named.split()


def test_version_flags_and_kind_of_build_are_definitions_of_cmake_which_a_recipe_overrides() -> None:
    said = commands("cmake", Recipe(defines={"BEATCONNECT_VERSION": "mine"}))[0].split()
    for expected in (
        "-DCMAKE_BUILD_TYPE=Release", "-DBEATCONNECT_VERSION=mine", "-DLEDGERLINE_VERSION=1.2.3",
        "-DLEDGERLINE_BUILD_NUMBER=7", "-DBEATCONNECT_ENABLE_ACTIVATION=ON", "-DBEATCONNECT_MY_OWN_FLAG=OFF",
    ):  # fmt: skip
        assert expected in said
    assert "a-b" not in str(said).lower()
    debug = replace(WISH, flags={"enableDebugMode": True})
    assert "-DCMAKE_BUILD_TYPE=Debug" in commands("cmake", wish=debug)[0].split()
    assert "--buildtype=debug" in commands("meson", wish=debug)[0].split()
    assert "DEBUG=true" in commands("make", wish=debug)[0].split()


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        ("cmake", ["cmake --build /work/build --config Release --parallel 3 --target a b", "cmake --install /work"]),
        ("meson", ["meson compile -C /work/build -j 3 a b", "meson install -C /work/build --no-rebuild"]),
        ("waf", ["python3 ./waf build -j3 --targets=a,b", "python3 ./waf install --destdir=/work/stage"]),
        ("make", ["make -j3 a b", "make install PREFIX=/usr DESTDIR=/work/stage"]),
    ],
)  # fmt: skip
def test_targets_are_built_and_installed_into_the_stage(tool: str, expected: list[str]) -> None:
    *_, build, install = plan(tool, Recipe(targets=("a", "b")), WISH, INSIDE)
    assert " ".join(build.argv) == expected[0]
    assert " ".join(install.argv).startswith(expected[1])
    assert (install.optional, install.env["DESTDIR"]) == (True, "/work/stage")
    assert build.env["CCACHE_DIR"] == "/cache/ccache"
    assert (build.env["LEDGERLINE_VERSION"], build.env["BUILD_NUMBER"]) == ("1.2.3", "7")


@pytest.mark.parametrize("tool", ["cmake", "meson", "waf"])
def test_a_recipe_lets_the_configuring_reach_others_and_never_the_building(tool: str) -> None:
    for network in ("none", "prepare"):
        configure, *others = plan(tool, Recipe(network=network), WISH, INSIDE)
        assert configure.network == (network == "prepare")
        assert ("--wrap-mode=nodownload" in configure.argv) == (tool == "meson" and network == "none")
        assert not any(step.network for step in others)


def test_a_folder_of_a_larger_repository_and_its_variables_are_those_of_every_step() -> None:
    for step in plan("make", Recipe(subdir="plugins/gain", env={"CC": "clang"}), WISH, INSIDE):
        assert step.folder == PurePosixPath("/src/plugins/gain")
        assert step.env["CC"] == "clang"
