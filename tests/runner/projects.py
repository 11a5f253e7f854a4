"""Small real projects that build in about a second, each in a git repository."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

CLAP = r"""
#include <cstdint>
#include <cstring>
#ifndef LEDGERLINE_VERSION
#define LEDGERLINE_VERSION "none"
#endif
struct Version { uint32_t major, minor, revision; };
struct Descriptor { Version version; const char *id, *name, *vendor, *url, *manual, *support, *release, *text;
                    const char *const *features; };
static const char *const features[] = {"audio-effect", nullptr};
static const Descriptor descriptor = {{1, 1, 8}, "org.example.tiny", "Tiny", "", "", "", "", LEDGERLINE_VERSION, "",
                                      features};
struct Factory { uint32_t (*count)(const Factory *); const Descriptor *(*get)(const Factory *, uint32_t);
                 const void *(*create)(const Factory *, const void *, const char *); };
static const Factory factory = {[](const Factory *) -> uint32_t { return 1; },
                                [](const Factory *, uint32_t) { return &descriptor; },
                                [](const Factory *, const void *, const char *) -> const void * { return nullptr; }};
struct Entry { Version version; bool (*init)(const char *); void (*deinit)(); const void *(*get)(const char *); };
extern "C" __attribute__((visibility("default"))) const Entry clap_entry;
extern "C" const Entry clap_entry = {{1, 1, 8}, [](const char *) { return true; }, [] {},
                                     [](const char *id) -> const void * {
                                         return std::strcmp(id, "clap.plugin-factory") ? nullptr : &factory; }};
"""
LV2 = r"""
#include <cstdint>
struct Descriptor { const char *uri; void *(*a)(const Descriptor *, double, const char *, const void *const *);
                    void (*b)(void *, uint32_t, void *); void (*c)(void *); void (*d)(void *, uint32_t);
                    void (*e)(void *); void (*f)(void *); const void *(*g)(const char *); };
static const Descriptor descriptor = {"urn:example:tiny",
    [](const Descriptor *, double, const char *, const void *const *) -> void * { static int it; return &it; },
    [](void *, uint32_t, void *) {}, nullptr, [](void *, uint32_t) {}, nullptr, [](void *) {}, nullptr};
extern "C" __attribute__((visibility("default"))) const Descriptor *lv2_descriptor(uint32_t n) {
    return n ? nullptr : &descriptor; }
"""
MANIFEST = """@prefix lv2: <http://lv2plug.in/ns/lv2core#> .
@prefix doap: <http://usefulinc.com/ns/doap#> .
<urn:example:tiny> a lv2:Plugin ; lv2:binary <tiny.so> ; doap:name "Tiny" .
"""
CMAKE = """cmake_minimum_required(VERSION 3.16)
project(tiny LANGUAGES CXX)
add_library(tiny MODULE tiny.cpp)
set_target_properties(tiny PROPERTIES PREFIX "" SUFFIX ".clap" OUTPUT_NAME Tiny)
target_compile_definitions(tiny PRIVATE LEDGERLINE_VERSION="${LEDGERLINE_VERSION}")
install(TARGETS tiny LIBRARY DESTINATION lib/clap)
"""
MAKEFILE = """all: tiny.lv2/tiny.so
tiny.lv2/tiny.so: lv2.cpp manifest.ttl
\tmkdir -p tiny.lv2
\t$(CXX) -shared -fPIC -o $@ lv2.cpp
\tcp manifest.ttl tiny.lv2/
"""
MESON = """project('tiny', 'cpp')
shared_module('tiny', 'lv2.cpp', name_prefix: '', install: true, install_dir: get_option('libdir') / 'lv2' / 'tiny.lv2')
install_data('manifest.ttl', install_dir: get_option('libdir') / 'lv2' / 'tiny.lv2')
"""

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


def git(folder: Path, *arguments: str) -> str:
    """What git prints in a folder."""
    command = ["git", "-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main", *arguments]
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, check=True, capture_output=True, text=True
    ).stdout.strip()


def repository(folder: Path, files: dict[str, str]) -> Path:
    """A repository with these files in its first commit."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet")
    commit(folder, files)
    return folder


def commit(folder: Path, files: dict[str, str]) -> str:
    """One more commit; its hash."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "More")
    return git(folder, "rev-parse", "HEAD")


def clap_with_cmake() -> dict[str, str]:
    """A CLAP plug-in that CMake builds."""
    return {"CMakeLists.txt": CMAKE, "tiny.cpp": CLAP}


def clap_with_make() -> dict[str, str]:
    """The same by a Makefile, which takes half the time."""
    return {"Makefile": "Tiny.clap: tiny.cpp\n\t$(CXX) -shared -fPIC -o $@ tiny.cpp\n", "tiny.cpp": CLAP}


def lv2_with_make() -> dict[str, str]:
    """An LV2 plug-in that a Makefile builds into its own source tree, with no install target."""
    return {"Makefile": MAKEFILE, "lv2.cpp": LV2, "manifest.ttl": MANIFEST}


def web_interface(registry: str, integrity: str) -> dict[str, str]:
    """`web-ui/` as Vite makes it, built into Resources/WebUI, with one package that a lock pins; and an LV2 plug-in
    that takes it into its bundle.
    """
    files = lv2_with_make()
    copied = files["Makefile"] + "\tcp -r Resources/WebUI tiny.lv2/ui\n"
    package = {
        "name": "tiny-ui", "version": "1.0.0", "private": True,
        "scripts": {"build": "tiny-pack ../Resources/WebUI"}, "devDependencies": {"tiny-pack": "^1.0.0"},
    }  # fmt: skip
    pinned = {
        "version": "1.0.0", "resolved": "https://registry.npmjs.org/tiny-pack/-/tiny-pack-1.0.0.tgz",
        "integrity": integrity, "dev": True, "bin": {"tiny-pack": "pack.js"},
    }  # fmt: skip
    lock = {
        "name": "tiny-ui", "version": "1.0.0", "lockfileVersion": 3, "requires": True,
        "packages": {
            "": {"name": "tiny-ui", "version": "1.0.0", "devDependencies": {"tiny-pack": "^1.0.0"}},
            "node_modules/tiny-pack": pinned,
        },
    }  # fmt: skip
    return files | {
        "Makefile": copied,
        "ledgerline-build.toml": 'network = "prepare"\n',
        "web-ui/.npmrc": f"registry={registry}\nfetch-retries=0\n",
        "web-ui/package.json": json.dumps(package),
        "web-ui/package-lock.json": json.dumps(lock),
    }


def lv2_with_meson() -> dict[str, str]:
    """An LV2 plug-in that Meson builds and installs."""
    return {"meson.build": MESON, "lv2.cpp": LV2, "manifest.ttl": MANIFEST}
