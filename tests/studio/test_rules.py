"""Which branches, tags and files the rules of a project mean."""

from __future__ import annotations

import time

import pytest

from domain.studio.globs import matches
from domain.studio.projects import AuNeedsMacos, BuildConfig, BuildRules, OnPush, OnTag, Paths, TooManyGlobs
from tests.spec import given
from tests.studio.examples import project

MEANT = (
    ("main", "main"),
    ("release/*", "release/1"),
    ("**", "a/b/c"),
    ("src/**", "src/dsp/gain.cpp"),
    ("**/dsp/*", "src/dsp/gain.cpp"),
    ("**/dsp/*", "dsp/gain.cpp"),
    ("**.cpp", "src/dsp/gain.cpp"),
    ("**.cpp", "gain.cpp"),
    ("v**", "v1/rc"),
    ("v[0-9].*", "v1.0"),
)
NOT_MEANT = (
    ("main", "main2"),
    ("*", "release/1"),
    ("release/*", "release"),
    ("src/*", "src/dsp/gain.cpp"),
    ("Main", "main"),
    ("", "main"),
    ("**.cpp", "gain.h"),
)


@pytest.mark.parametrize(("pattern", "name"), MEANT)
def test_a_glob_means_what_it_says(pattern: str, name: str) -> None:
    assert matches(name, [pattern])


@pytest.mark.parametrize(("pattern", "name"), NOT_MEANT)
def test_a_glob_means_no_more_than_it_says(pattern: str, name: str) -> None:
    assert not matches(name, [pattern])


def test_a_glob_that_is_made_to_take_long_does_not() -> None:
    begun = time.process_time()
    assert not matches("/".join("a" * 250), ["**/a" * 80 + "/b"])
    assert not matches("a" * 250, ["*a" * 100 + "b"])
    assert time.process_time() - begun < 5


def test_a_push_is_built_when_a_file_counts_that_it_changes() -> None:
    rule = OnPush(branches=("main", "feature/**"), paths=Paths(include=("src/**",), exclude=("**.md",)))
    assert rule.wants("main", ["README.md", "src/gain.cpp"])
    assert rule.wants("feature/a/b", None)
    assert not rule.wants("main", ["src/notes.md", "web/a.js"])
    assert not rule.wants("other", ["src/gain.cpp"])
    assert OnPush().wants("main", ["README.md"])


def test_rules_that_could_build_nothing_or_are_endless_are_refused() -> None:
    many = BuildRules(push=OnPush(branches=("b",) * 51))
    long = BuildRules(tag=OnTag(tags=("v" * 256,)))
    empty = BuildRules(push=OnPush(paths=Paths(include=("",))))
    au = BuildRules(push=OnPush(build_config=BuildConfig(formats=("au",))))
    create = type(project)
    for rules, why in ((many, TooManyGlobs), (long, TooManyGlobs), (empty, TooManyGlobs), (au, AuNeedsMacos)):
        wish = create(project_id="P", workspace_id="w1", name="x", platforms=("linux",), rules=rules)
        given().when(wish).refused(why)
