"""Finds the plug-ins among what a build has left, and packs each so that it can be installed elsewhere."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import BinaryIO

from adapters.runner.failures import BuildFailed

FORMATS = ("vst3", "au", "standalone", "clap", "lv2")
#: What no plug-in is found below.
SKIPPED = {".git", "CMakeFiles", "_deps", "node_modules", ".waf", "meson-private", "meson-info", "Testing"}
#: Programs that a build makes for itself.
HELPER = re.compile(
    r"(?i)(^|[-_.])(tests?|generator|ttl[-_]?generator|helper|juceaide|bench(mark)?|example)s?($|[-_.])"
)
PLUGIN = re.compile(r"lv2:Plugin\b|<http://lv2plug\.in/ns/lv2core#Plugin>")
BINARY = re.compile(r"lv2:binary\s*<([^>/\\]{1,200}?)(?:\.so|\.dll|\.dylib)>")
#: What one part of a path is called: text, and nothing that another system takes for a way out of its folder.
NAME = re.compile(r"[^\x00-\x1f\x7f\\\ud800-\udfff]+")
#: What may be in a name here and not on Windows.
FORBIDDEN = re.compile(r'^[. ]|[:*?"<>|]')
ENTRIES_MAX = 200_000
BUNDLE_FILES_MAX = 50_000
BUNDLE_BYTES_MAX = 2 << 30
#: 1 January 1980, the first moment that a zip file can tell: the same bundle is the same bytes.
EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Found:
    """One plug-in in one format: where it is, and what it is called when it has been packed."""

    format: str
    name: str
    path: Path
    file_name: str

    @property
    def is_bundle(self) -> bool:
        """Whether it is a folder, and so comes as a zip file."""
        return self.path.is_dir()


def collect(
    roots: Sequence[Path], patterns: Sequence[str] = (), wanted: Callable[[Found], bool] = lambda _: True
) -> list[Found]:
    """Every plug-in below these folders that is wanted, the same one only from the first in which it is.

    `patterns` (globs, relative to a root) say which paths count; none: all.
    """
    found: list[Found] = []
    programs: list[Found] = []
    for root in roots:
        here: list[Found] = []
        for each in _candidates(root):
            if patterns and not any(fnmatch(each.path.relative_to(root).as_posix(), pattern) for pattern in patterns):
                continue
            if not wanted(each):
                continue
            (programs if each.format == "standalone" else here).append(each)
        known = {(each.format, each.name) for each in found}
        found += _apart([each for each in here if (each.format, each.name) not in known])
    names = {each.name.casefold() for each in found}
    standalone: dict[str, Found] = {}
    for each in programs:
        if each.name.casefold() in names or each.path.parent.name == "Standalone" or patterns:
            standalone.setdefault(each.name, each)
    return [*found, *standalone.values()]


def _apart(found: list[Found]) -> list[Found]:
    """The same in one root under one name: once where it is the same to the byte, otherwise numbered."""
    kept: list[Found] = []
    digests: dict[tuple[str, str], list[str]] = {}
    for each in sorted(found, key=lambda one: (len(one.path.parts), str(one.path))):
        known = digests.setdefault((each.format, each.name), [])
        digest = _digest(each.path)
        if digest in known:
            continue
        known.append(digest)
        if len(known) > 1:
            numbered = f"{each.name}-{len(known)}{each.file_name.removeprefix(each.name)}"
            kept.append(replace(each, file_name=numbered))
        else:
            kept.append(each)
    return kept


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    for each in [path] if path.is_file() else sorted(_below(path)):
        if each.is_file() and not each.is_symlink():
            digest.update(os.fsencode(each.relative_to(path.parent).as_posix()))
            with each.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder, followlinks=False):
        folders.sort()
        for name in sorted((*folders, *files)):
            yield Path(place, name)


def _candidates(root: Path) -> Iterator[Found]:
    seen, open_ends = 0, [root]
    while open_ends:
        folder = open_ends.pop()
        try:
            entries = sorted(filter(_is_named, os.scandir(folder)), key=lambda each: each.name)
        except OSError:
            continue
        for entry in entries:
            seen += 1
            if seen > ENTRIES_MAX:
                return
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                if entry.name in SKIPPED or entry.name.startswith("CompilerId"):
                    continue
                bundle = _bundle(path)
                if bundle is not None:
                    yield bundle
                else:
                    open_ends.append(path)
            elif entry.is_file(follow_symlinks=False):
                single = _single(path)
                if single is not None:
                    yield single


def _is_named(entry: os.DirEntry[str]) -> bool:
    return bool(NAME.fullmatch(entry.name))


def _bundle(path: Path) -> Found | None:
    """The plug-in that a folder is; None when it is none."""
    suffix = path.suffix.casefold()
    if suffix == ".vst3" and any((*path.glob("Contents/*-linux/*.so"), *path.glob("Contents/*-win/*.vst3"))):
        inside = (*path.glob("Contents/*-linux/*.so"), *path.glob("Contents/*-win/*.vst3"))
        return Found("vst3", path.stem, path, path.name) if any(map(_is_library, inside)) else None
    if suffix in (".vst3", ".clap", ".component", ".app") and (path / "Contents" / "MacOS").is_dir():
        kind = {".component": "au", ".app": "standalone"}.get(suffix, suffix[1:])
        return Found(kind, path.stem, path, path.name)
    return _lv2(path)


def _lv2(path: Path) -> Found | None:
    manifest = path / "manifest.ttl"
    if manifest.is_symlink() or not manifest.is_file() or manifest.stat().st_size > 4 << 20:
        return None
    text = manifest.read_text(encoding="utf-8", errors="replace")
    if not PLUGIN.search(text) or not any(_is_library(each) for each in path.iterdir()):
        return None
    # A bundle that was built may lie in a folder called `build`: then its binary says what it is called.
    binary = BINARY.search(text)
    name = path.stem if path.suffix == ".lv2" else (binary[1] if binary else path.name)
    return Found("lv2", name, path, f"{name}.lv2")


def _single(path: Path) -> Found | None:
    """The plug-in or program that a file is; None when it is neither."""
    suffix = path.suffix.casefold()
    if suffix == ".clap" and _is_library(path):
        return Found("clap", path.stem, path, path.name)
    if suffix == ".vst3" and head(path)[:2] == b"MZ":
        return Found("vst3", path.stem, path, path.name)
    if suffix in ("", ".exe") and not HELPER.search(path.stem) and _is_program(path):
        return Found("standalone", path.stem, path, path.name)
    return None


def head(path: Path, size: int = 64) -> bytes:
    """How a file begins; nothing where it is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        return file.read(size) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""


def _is_library(path: Path) -> bool:
    """Whether this is a shared object of this machine's kind: ELF's ET_DYN, PE, or Mach-O."""
    if path.is_symlink() or path.suffix not in (".so", ".clap", ".dll", ".vst3", ".dylib"):
        return False
    begins = head(path)
    elf = begins[:4] == b"\x7fELF" and int.from_bytes(begins[16:18], "little" if begins[5] == 1 else "big") == 3
    return elf or begins[:2] == b"MZ" or begins[:4] in (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")


def _is_program(path: Path) -> bool:
    """Whether this can be started: executable ELF with an interpreter or of type ET_EXEC, or PE."""
    begins = head(path, 4096)
    if path.suffix == ".exe":
        return begins[:2] == b"MZ"
    if begins[:4] != b"\x7fELF" or begins[4] != 2 or not path.stat().st_mode & 0o111:
        return False

    def number(at: int, size: int) -> int:
        return int.from_bytes(begins[at : at + size], "little" if begins[5] == 1 else "big")

    if number(16, 2) == 2:
        return True
    start, size, count = number(32, 8), number(54, 2), number(56, 2)
    return any(number(start + n * size, 4) == 3 for n in range(min(count, 64)))


def unique(found: list[Found]) -> list[Found]:
    """Every file name once, and one that every system takes: a standalone called like a bundle in another format keeps
    its own."""
    kept, names = [], set()
    for each in found:
        plain, bare = (FORBIDDEN.sub("-", text) for text in (each.file_name, each.name))
        name, number = plain, 2
        while name in names:
            name, number = f"{bare}-{number}{plain.removeprefix(bare)}", number + 1
        names.add(name)
        kept.append(replace(each, file_name=name))
    return kept


def pack(found: Found, target: Path) -> None:
    """Write a plug-in into `target`: a file as it is, a bundle as a zip file with its top folder.

    Executable bits and links inside the bundle stay; raises BuildFailed with `artifact_refused` for a link that leaves
    it, for what is neither file nor folder, and for what is too large.
    """
    if not found.is_bundle:
        with _opened(found.path) as source, target.open("wb") as out:
            while piece := source.read(1 << 20):
                out.write(piece)
        return
    top = found.path
    total = count = 0
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for each in _below(top):
            name = f"{found.file_name}/{each.relative_to(top).as_posix()}"
            if not NAME.fullmatch(each.name):
                raise _refused(found, f"{each.name!a} is no name of a file on other systems")
            status = each.lstat()
            count += 1
            total += status.st_size
            if count > BUNDLE_FILES_MAX or total > BUNDLE_BYTES_MAX:
                raise _refused(found, "it is too large")
            if stat.S_ISLNK(status.st_mode):
                entry = zipfile.ZipInfo(name, EPOCH)
                entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
                archive.writestr(entry, _inner(found, each))
            elif stat.S_ISDIR(status.st_mode):
                entry = zipfile.ZipInfo(name + "/", EPOCH)
                entry.create_system, entry.external_attr = 3, (stat.S_IFDIR | 0o755) << 16 | 0x10
                archive.writestr(entry, b"")
            elif stat.S_ISREG(status.st_mode):
                entry = zipfile.ZipInfo(name, EPOCH)
                mode = 0o755 if status.st_mode & 0o111 else 0o644
                entry.create_system, entry.external_attr = 3, (stat.S_IFREG | mode) << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                with _opened(each) as source, archive.open(entry, "w") as out:
                    while piece := source.read(1 << 20):
                        out.write(piece)
            else:
                raise _refused(found, f"{each.name} is neither a file nor a folder")


def _opened(path: Path) -> BinaryIO:
    """A file for reading, and never what a link leads to."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    return os.fdopen(descriptor, "rb")


def _inner(found: Found, link: Path) -> str:
    """Where a link leads, when that is inside the bundle."""
    leads = link.readlink()
    inside = link.resolve().is_relative_to(found.path.resolve())
    if leads.is_absolute() or not inside:
        raise _refused(found, f"the link {link.name} leads out of it")
    return leads.as_posix()


def _refused(found: Found, why: str) -> BuildFailed:
    return BuildFailed("artifact_refused", f"{found.file_name} cannot be packed: {why}.")
